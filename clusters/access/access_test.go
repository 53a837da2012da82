package access_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters/access"
	"github.com/muster-gitops/muster/clusters/recipient"
)

// encrypted is a file for these age recipients.
func encrypted(recipients ...string) string {
	return "a: ENC[x]\nsops:\n  age:\n  - recipient: " + strings.Join(recipients, "\n  - recipient: ") + "\n  mac: x\n"
}

func read(t *testing.T, files map[string]string, at string) *access.Report {
	t.Helper()
	report, err := access.Read(t.Context(), repository(files), at, recipient.Names{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func repository(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// table is a report as text, one recipient a line: name, files, listed, extra, missing, places.
func table(r *access.Report) string {
	var lines []string
	for _, x := range r.Recipients {
		lines = append(lines, fmt.Sprintf("%s %s opens %v listed %d extra %v missing %v at %v", x.ID, x.Name, x.Opens, x.Listed, x.Extra, x.Missing, x.Places))
	}
	return strings.Join(lines, "\n")
}

const rules = "creation_rules:\n- path_regex: ^clusters/\n  age:\n  - age1a # alice\n  - age1c # carol\n- path_regex: ^none\n"

func TestRead(t *testing.T) {
	report := read(t, map[string]string{
		".sops.yaml":         rules,
		"clusters/eu.yaml":   encrypted("age1a", "age1c"),
		"clusters/us.yaml":   encrypted("age1a", "age1b"),
		"clusters/list.yaml": "kind: Plain\n",
		"clusters/.git/x":    encrypted("age1never"),
		"none.yaml":          encrypted("age1b"),
		"other/x.kubeconfig": "a=ENC[x]\nsops_mac=x\nsops_version=3\nsops_age__list_0__map_recipient=age1d\n",
	}, ".")
	want := `age1a alice opens [{clusters/eu.yaml 0 0} {clusters/us.yaml 0 0}] listed 2 extra [] missing [] at [.sops.yaml:4]
age1c carol opens [{clusters/eu.yaml 0 0}] listed 1 extra [] missing [clusters/us.yaml] at [.sops.yaml:5]
age1b  opens [{clusters/us.yaml 0 0} {none.yaml 0 0}] listed 0 extra [clusters/us.yaml] missing [] at []
age1d  opens [{other/x.kubeconfig 0 0}] listed 0 extra [] missing [] at []`
	if got := table(report); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var files []string
	for _, f := range report.Files {
		files = append(files, fmt.Sprintf("%s %s %t", f.Path, f.Rule, f.Differs()))
	}
	if got, want := strings.Join(files, ", "), "clusters/eu.yaml .sops.yaml:2 false, clusters/us.yaml .sops.yaml:2 true, none.yaml  false, other/x.kubeconfig  false"; got != want {
		t.Errorf("files: got %s, want %s", got, want)
	}
	if len(report.Problems)+len(report.TooLarge) > 0 {
		t.Errorf("problems: %v, %v", report.Problems, report.TooLarge)
	}
}

func TestReadOneFile(t *testing.T) {
	report := read(t, map[string]string{".sops.yaml": rules, "clusters/eu.yaml": encrypted("age1a"), "clusters/us.yaml": encrypted("age1b")}, "clusters/eu.yaml")
	if len(report.Files) != 1 || report.Files[0].Path != "clusters/eu.yaml" {
		t.Errorf("files: %v", report.Files)
	}
	_, err := access.Read(t.Context(), repository(nil), "missing", recipient.Names{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing path: %v", err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := access.Read(stopped, repository(map[string]string{"a": "b"}), ".", recipient.Names{}); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

// TestGroups: a recipient of one key group may open only together with others.
func TestGroups(t *testing.T) {
	groups := func(threshold string) string {
		return "a: ENC[x]\nsops:\n  mac: x\n  key_groups: [{age: [{recipient: age1a}]}, {age: [{recipient: age1a}, {recipient: age1b}]}, {age: [{recipient: age1c}]}]\n" + threshold
	}
	for _, test := range []struct{ reason, file, want string }{
		{"without a threshold, all groups", groups(""), "[{x.yaml 1 1}] [{x.yaml 2 2}] [{x.yaml 2 2}]"},
		{"two of three; one recipient is in two of them", groups("  shamir_threshold: 2\n"), "[{x.yaml 0 0}] [{x.yaml 1 2}] [{x.yaml 1 2}]"},
		{"any of three", groups("  shamir_threshold: 1\n"), "[{x.yaml 0 0}] [{x.yaml 0 0}] [{x.yaml 0 0}]"},
	} {
		var got []string
		for _, x := range read(t, map[string]string{"x.yaml": test.file}, ".").Recipients {
			got = append(got, fmt.Sprint(x.Opens))
		}
		if text := strings.Join(got, " "); text != test.want {
			t.Errorf("%s: got %s, want %s", test.reason, text, test.want)
		}
	}
}

func TestBadInput(t *testing.T) {
	many := make([]string, 3000)
	for i := range many {
		many[i] = fmt.Sprint("age1", i)
	}
	for _, test := range []struct {
		reason string
		files  map[string]string
		want   string // files, differing, recipients, problems, too large
	}{
		{"no recipients", map[string]string{"x.yaml": "a: ENC[x]\nsops:\n  mac: x\n"}, "1 1 0 [] []"},
		{"a block that is broken", map[string]string{"x.yaml": "a: ENC[x]\nsops:\n  age: {a: b}\n  mac: x\n"}, "1 1 0 [] []"},
		{"not YAML any more", map[string]string{"x.yaml": "a: [\nsops:\n  mac: x\n"}, "1 1 0 [] []"},
		{"not UTF-8", map[string]string{"x.yaml": "a: \xff\nsops:\n  age: [{recipient: age1a}]\n"}, "1 1 0 [] []"},
		{"a page about sops", map[string]string{"README.md": "# Files\n\n```yaml\nsops:\n  mac: x\n```\n: x\n"}, "0 0 0 [] []"},
		{"the second document", map[string]string{"x.yaml": "a: b\n---\n- list\n---\n" + encrypted("age1a")}, "1 0 1 [] []"},
		{"a private key in place of a recipient", map[string]string{"x.yaml": encrypted("AGE-SECRET-KEY-1CANARY")}, "1 0 1 [] []"},
		{"a long list", map[string]string{"x.yaml": encrypted(many...)}, "1 0 3000 [] []"},
		{"too large", map[string]string{"x.yaml": encrypted("age1a") + strings.Repeat("#\n", 3<<20)}, "0 0 0 [] [x.yaml]"},
		{"too many values", map[string]string{"x.yaml": encrypted("age1a") + "b: [" + strings.Repeat("[],", 300_000) + "]\n"}, "0 0 0 [] [x.yaml]"},
		{"a .sops.yaml that is broken", map[string]string{".sops.yaml": "creation_rules:\n- path_regex: '('\n", "x.yaml": encrypted("age1a"), "y.yaml": encrypted("age1a")},
			"2 0 1 [{.sops.yaml 2 path_regex is not a regular expression}] []"},
	} {
		r := read(t, test.files, ".")
		differing := slices.DeleteFunc(slices.Clone(r.Files), func(f access.File) bool { return !f.Differs() })
		if got := fmt.Sprint(len(r.Files), len(differing), len(r.Recipients), r.Problems, r.TooLarge); got != test.want {
			t.Errorf("%s: got %s, want %s", test.reason, got, test.want)
		}
	}
}

// TestLinks: what a symbolic link leads to is read where it is, or not at all.
func TestLinks(t *testing.T) {
	fsys := repository(map[string]string{"x.yaml": encrypted("age1a")})
	fsys["link.yaml"] = &fstest.MapFile{Data: []byte("x.yaml"), Mode: fs.ModeSymlink | 0o777}
	report, err := access.Read(t.Context(), fsys, ".", recipient.Names{})
	if err != nil || len(report.Files) != 1 {
		t.Errorf("%v, %v", report.Files, err)
	}
}

func TestFind(t *testing.T) {
	const fp, long = "0123456789ABCDEF0123456789ABCDEF01234567", "age1pq1abcdefghijklmnop"
	report := read(t, map[string]string{
		".sops.yaml":   "creation_rules:\n- age:\n  - age1a # Alice\n  - age1laptop # Alice\n  - " + long + "\n  pgp:\n  - 89ABCDEF01234567 # bob\n",
		"x.yaml":       encrypted("age1a", "age1laptop", long) + "  pgp: [{fp: " + fp + "}]\n",
		"y.yaml":       encrypted("age1a"),
		"z/y.yaml":     encrypted("age1a"),
		"z/.sops.yaml": "creation_rules:\n- age: age1a",
	}, ".")
	for _, test := range []struct{ reason, query, want string }{
		{"a name, of two recipients", "alice", "age1a age1laptop"},
		{"a recipient", "age1a", "age1a"},
		{"the name of a fingerprint whose end is in the rule", "bob", "PGP " + fp},
		{"the end of a fingerprint", "89ab cdef 0123 4567", "PGP " + fp},
		{"a recipient as it is printed", "age1pq1abcdefgh…", long},
		{"too short", "age1pq1", ""},
		{"no such recipient", "dave", ""},
		{"nothing", "", ""},
	} {
		var got []string
		for _, x := range report.Find(test.query) {
			got = append(got, x.ID)
		}
		if text := strings.Join(got, " "); text != test.want {
			t.Errorf("%s: got %q, want %q", test.reason, text, test.want)
		}
	}
	part := report.Only(report.Find("bob"))
	if got, want := table(part), "PGP "+fp+" bob opens [{x.yaml 0 0}] listed 1 extra [] missing [y.yaml] at [.sops.yaml:7]"; got != want || len(part.Files) != 2 {
		t.Errorf("only bob: got %s and %v, want %s", got, part.Files, want)
	}
}

// TestPlaces: each line of a .sops.yaml is listed once, however many files it is for.
func TestPlaces(t *testing.T) {
	report := read(t, map[string]string{
		".sops.yaml": "creation_rules:\n- path_regex: ^x\n  age: age1a\n- age: age1a\n",
		"x.yaml":     encrypted("age1a"), "y.yaml": encrypted("age1a"), "z.yaml": encrypted("age1a"),
	}, ".")
	if got := fmt.Sprint(report.Recipients[0].Places); got != "[.sops.yaml:3 .sops.yaml:4]" {
		t.Errorf("got %s", got)
	}
}

// TestNames: a name that is given is stronger than one in a comment.
func TestNames(t *testing.T) {
	var names recipient.Names
	names.Add("age1a", "Alice Smith")
	report, err := access.Read(t.Context(), repository(map[string]string{".sops.yaml": rules, "clusters/eu.yaml": encrypted("age1a", "age1c")}), ".", names)
	if err != nil || report.Recipients[0].Name != "Alice Smith" || report.Recipients[1].Name != "carol" {
		t.Errorf("%v, %v", report.Recipients, err)
	}
}
