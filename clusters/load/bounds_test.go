package load_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
)

// TestIgnoreFileIsBounded: every pattern is matched with every path, so their product is limited.
func TestIgnoreFileIsBounded(t *testing.T) {
	const cluster = "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: eu}\nspec: {kubeconfigSecretRef: {name: eu}}\n"
	lines := func(n int, pattern string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, pattern+"\n", i)
		}
		return b.String()
	}
	for _, row := range []struct {
		reason  string
		ignore  string
		files   int
		stopped bool
	}{
		{"a long list", lines(999, "old-%d.yaml"), 100, false},
		{"some patterns over many files", lines(40, "build-%d/"), 20_000, false},
		{"50,000 patterns", lines(50_000, "old-%d.yaml"), 1, true},
		{"1,001 patterns", lines(1001, "%d"), 1, true},
		{"a pattern of a megabyte", strings.Repeat("*a", 1<<19), 1, true},
		{"a thousand patterns over many files", lines(1000, "*a*b*c*d*e*f*g*h*%d"), 40_000, true},
	} {
		fsys := fstest.MapFS{load.IgnoreFile: {Data: []byte(row.ignore)}, "eu.yaml": {Data: []byte(cluster)}}
		for i := range row.files {
			fsys[fmt.Sprintf("notes/%d/%s.txt", i%100, strings.Repeat("abcdefgh", 10)+fmt.Sprint(i))] = &fstest.MapFile{}
		}
		started := time.Now()
		tree, err := load.Load(t.Context(), fsys, ".", load.Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v", row.reason, time.Since(started).Round(time.Millisecond))
		if tree.Stopped != row.stopped || row.stopped && !hasCode(tree.Findings, load.CodeSize) {
			t.Errorf("%s: stopped %t, %v", row.reason, tree.Stopped, tree.Findings)
		}
	}
}

func hasCode(findings []finding.Finding, code finding.Code) bool {
	for _, f := range findings {
		if f.Code == code {
			return true
		}
	}
	return false
}

// TestFilesAreBounded: files that would take later libraries much time or memory are refused.
func TestFilesAreBounded(t *testing.T) {
	named := func(name string) string { return strings.Replace(cluster, "NAME", name, 1) }
	nested := func(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }
	values := func(n int) string { return "[x" + strings.Repeat(", x", n-1) + "]" }
	patch := func(target string) string {
		return "patches:\n- target: {" + target + "}\n  patch: '[{\"op\": \"add\", \"path\": \"/spec/x\", \"value\": 1}]'\n"
	}
	long := strings.Repeat("x*", 513)
	const sealed = "\nsops: {mac: x}\n"
	for _, row := range []struct {
		reason string
		files  map[string]string
		want   string
	}{
		{"90 levels", map[string]string{"a.yaml": named("a") + "x: " + nested(90)}, ""},
		{"100 levels below a field", map[string]string{"a.yaml": named("a") + "x: " + nested(100)}, "f/a.yaml:1"},
		{"levels that aliases make", map[string]string{"a.yaml": named("a") + "x: &x " + nested(60) + "\ny: " + strings.Replace(nested(60), "[]", "[*x]", 1)}, "f/a.yaml:1"},
		{"as many values as a file may have", map[string]string{"a.yaml": named("a") + "x: " + values(900)}, ""},
		{"more values, which are not parsed", map[string]string{"a.yaml": named("a") + "x: " + values(5000)}, "f/a.yaml:1"},
		{"more values, in many documents", map[string]string{"a.yaml": strings.Repeat(named("a")+"x: "+values(300)+"\n---\n", 5)}, "f/a.yaml:1"},
		{"as many values as a tree may have", map[string]string{"a.yaml": named("a") + "x: " + values(900), "b.yaml": named("b") + "x: " + values(900)}, ""},
		{"more values together", map[string]string{"a.yaml": named("a") + "x: " + values(900), "b.yaml": named("b") + "x: " + values(900), "c.yaml": named("c") + "x: " + values(900)}, "f:0"},
		{"more values together, listed", map[string]string{"kustomization.yaml": "resources: [a.yaml, b.yaml, c.yaml]\n", "a.yaml": named("a") + "x: " + values(900), "b.yaml": named("b") + "x: " + values(900), "c.yaml": named("c") + "x: " + values(900)}, "f:0"},
		{"an input of a generator, with many characters of YAML", map[string]string{"a.yaml": named("a"), "kustomization.yaml": "secretGenerator: [{name: x, files: [k]}]\n", "k": values(5000)}, ""},
		{"an encrypted one, which sops would parse", map[string]string{"a.yaml": named("a"), "kustomization.yaml": "secretGenerator: [{name: x, files: [k]}]\n", "k": "x: " + values(5000) + sealed}, "f/kustomization.yaml:1"},
		{"a selector", map[string]string{"a.yaml": named("a"), "kustomization.yaml": patch("name: " + long[:1024])}, ""},
		{"a long selector", map[string]string{"a.yaml": named("a"), "kustomization.yaml": patch("name: " + long)}, "f/kustomization.yaml:2"},
		{"a long selector of labels", map[string]string{"a.yaml": named("a"), "kustomization.yaml": patch("labelSelector: " + long)}, "f/kustomization.yaml:2"},
		{"one in other letters", map[string]string{"a.yaml": named("a"), "kustomization.yaml": strings.Replace(patch("name: "+long), "target", "Target", 1)}, "f/kustomization.yaml:2"},
		{"an alias to one", map[string]string{"a.yaml": named("a"), "kustomization.yaml": "commonAnnotations: {x: &x " + long + "}\n" + patch("name: *x")}, "f/kustomization.yaml:1"},
		{"one of a replacement", map[string]string{"a.yaml": named("a"), "kustomization.yaml": "replacements:\n- {source: {kind: A}, targets: [{select: {kind: B}, reject: [{name: " + long + "}], fieldPaths: [c]}]}\n"}, "f/kustomization.yaml:2"},
		{"one of a replacement in a file", map[string]string{"a.yaml": named("a"), "kustomization.yaml": "replacements: [{path: r.yaml}]\n", "r.yaml": "- {source: {kind: A}, targets: [{select: {name: " + long + "}, fieldPaths: [c]}]}\n"}, "f/r.yaml:1"},
		{"one of a transformer", map[string]string{"a.yaml": named("a"), "kustomization.yaml": "transformers: [t.yaml]\n", "t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\ntarget: {name: " + long + "}\npatch: x\n"}, "f/t.yaml:4"},
		{"the name of an image", map[string]string{"a.yaml": named("a"), "kustomization.yaml": "images: [{name: " + long + ", newTag: x}]\n"}, "f/kustomization.yaml:1"},
	} {
		fsys := fstest.MapFS{}
		for name, content := range row.files {
			fsys["f/"+name] = &fstest.MapFile{Data: []byte(content)}
		}
		limits := load.DefaultLimits
		limits.Nodes, limits.TreeNodes = 1000, 2000
		tree, err := load.Load(t.Context(), fsys, "f", limits, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if i := slices.IndexFunc(tree.Findings, func(f finding.Finding) bool { return f.Code == load.CodeSize }); i >= 0 {
			got = fmt.Sprintf("%s:%d", tree.Findings[i].Path, tree.Findings[i].Line)
		}
		if got != row.want {
			t.Errorf("%s: %q, want %q: %v", row.reason, got, row.want, tree.Findings)
		}
		if shared := !strings.HasPrefix(row.want, "f/a.yaml"); row.want != "" && tree.Stopped != shared {
			t.Errorf("%s: stopped %t", row.reason, tree.Stopped)
		}
	}
}

// TestRememberedFilesCount: a file that was parsed for the previous tree uses as much memory in the next one.
func TestRememberedFilesCount(t *testing.T) {
	limits := load.DefaultLimits
	limits.TreeNodes = 2000
	fsys := fstest.MapFS{}
	var tree *load.Tree
	for i := range 3 {
		fsys[fmt.Sprintf("f/%d.yaml", i)] = &fstest.MapFile{Data: []byte(strings.Replace(cluster, "NAME", fmt.Sprint("c", i), 1) + "x: [x" + strings.Repeat(", x", 900) + "]\n")}
		var err error
		if tree, err = load.Load(t.Context(), fsys, "f", limits, tree); err != nil {
			t.Fatal(err)
		}
		if tree.Stopped != (i == 2) {
			t.Errorf("%d files: stopped %t", i+1, tree.Stopped)
		}
	}
}

// FuzzIgnore: with any .musterignore, a path is loaded or refused, and a refusal has a printable cause.
func FuzzIgnore(f *testing.F) {
	for _, text := range []string{"old/\n", "*.yaml\n!a.yaml\n", "/f/**/b.yaml\r\n# x\n", "[a-\n", "\\\n", "a/**/**/b", "**\n!**/a.yaml", "\ufeff*.yml", "?[!a]*\\ ", "\x00", "\xff"} {
		f.Add(text, "d/b.yaml")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		fsys := fstest.MapFS{"f/" + load.IgnoreFile: {Data: []byte(text)}, "f/a.yaml": {Data: []byte(strings.Replace(cluster, "NAME", "a", 1))}}
		if name = "f/" + name + ".yaml"; fs.ValidPath(name) && name != "f/a.yaml" {
			fsys[name] = &fstest.MapFile{Data: []byte(strings.Replace(cluster, "NAME", "b", 1))}
		}
		tree, err := load.Load(t.Context(), fsys, "f", load.Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range tree.Findings {
			if err := f.Check(); err != nil {
				t.Error(err)
			}
		}
		if text == "" && !tree.Present["f/a.yaml"] {
			t.Error("an empty file ignores something")
		}
	})
}
