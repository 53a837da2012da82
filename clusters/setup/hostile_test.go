package setup_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/setup"
)

// harmless stands for a value in a setup with which that of a hostile value is compared. Like those, it is no valid name.
const harmless = "harmless value"

var hostile = map[string]string{
	"ends a quote":              "x'; touch pwned; '",
	"ends a double quote":       `x"; touch pwned; "`,
	"substitutes a command":     "x$(touch pwned)",
	"substitutes with ticks":    "x`touch pwned`",
	"expands a variable":        "x${HOME}$HOME",
	"starts a new command":      "x\ntouch pwned\n",
	"ends the here-document":    "x\nEOF\ntouch pwned\n",
	"ends a comment":            "x\r\ntouch pwned",
	"has backslashes":           `x\`,
	"has an escaped quote":      `x\'y\\"z`,
	"is a history expansion":    "x!!",
	"is a pattern":              "* x?[a-z]{b,c}",
	"is a home directory":       "~root",
	"is a comment":              "# x",
	"is a template of HCL":      "x${file(\"/etc/passwd\")}%{ if true }y%{ endif }",
	"is an escaped template":    "$${x}%%{y}$",
	"ends a string of HCL":      "x\"\n}\nresource \"null_resource\" \"pwned\" {",
	"is YAML":                   "x\"}\n---\nkind: Secret",
	"is another type of YAML":   "null x",
	"is a number":               "0123 x",
	"is a filter of jq":         `x" | input | "`,
	"has a bidirectional sign":  "x \u202e y",
	"is not ASCII":              "größe \U0001F600",
	"has a tab":                 "x\ty",
	"is long":                   strings.Repeat("x ", 300),
	"is an asterisk of Vault":   "x*+",
	"separates values of lists": "x,y",
}

// TestHostileValues runs the commands in a shell in which each program only writes down its arguments, and compares them
// with those of a harmless value. It does the same with strings in YAML and HCL.
func TestHostileValues(t *testing.T) {
	for method := range entries() {
		want := everything(t, method, harmless)
		if !strings.Contains(strings.Join(want, ""), harmless) {
			t.Errorf("%s: no value is in the setup", method)
		}
		for reason, value := range hostile {
			replaced := make([]string, len(want))
			for i, text := range want {
				replaced[i] = strings.ReplaceAll(text, harmless, value)
			}
			slices.Sort(replaced)
			got := everything(t, method, value)
			slices.Sort(got)
			if !slices.Equal(got, replaced) {
				t.Errorf("%s, a value that %s:\n got %.3000q\nwant %.3000q", method, reason, got, replaced)
			}
		}
	}
}

// everything returns the arguments of all commands, and the strings of YAML and HCL, for a setup with the value everywhere.
func everything(t *testing.T, method, value string) []string {
	t.Helper()
	entry := entries()[method]
	replace(reflect.ValueOf(&entry).Elem(), value)
	s := setup.For(entry, value, value)
	return slices.Concat(run(t, s), stringsOfYAML(t, string(s.RBAC())), stringsOfHCL(t, s.Terraform()))
}

// replace sets each string that isn't the provider or the TTL.
func replace(v reflect.Value, value string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(value)
	case reflect.Pointer:
		if !v.IsNil() {
			replace(v.Elem(), value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Provider" && name != "TTL" {
				replace(v.Field(i), value)
			}
		}
	default:
	}
}

// prelude replaces each program by a function that writes its arguments to a file of the folder $RECORD, and what it reads to
// another. It starts no program, as there are thousands of calls; and a file each keeps those of a pipe apart.
const prelude = `
calls=0
record() { printf '%s\0' "$@" >"$RECORD/$BASHPID-$((++calls))"; }
for program in gcloud aws eksctl az jq kubectl vault base64 sed cat; do
  eval "$program() { record $program \"\$@\"; if [[ \" \$* \" == *\" apply \"* ]]; then IFS= read -r -d '' input || :; record stdin \"\$input\"; fi; answer $program \"\$@\"; }"
done
# No mount exists in Vault yet. EKS has access entries, or not.
answer() {
  case "$*" in
  *--exit-status*) return 1 ;;
  *authenticationMode*) echo "$MODE" ;;
  esac
}
`

// run returns the arguments of each call, and the strings of the manifests that kubectl reads.
func run(t *testing.T, s setup.Setup) []string {
	t.Helper()
	if s.Method == "workloadIdentity, eks" {
		return append(runIn(t, s, "MODE=API"), runIn(t, s, "MODE=CONFIG_MAP")...)
	}
	return runIn(t, s, "MODE=")
}

func runIn(t *testing.T, s setup.Setup, environment string) []string {
	t.Helper()
	dir := recordingIn(t)
	if err := os.Mkdir(filepath.Join(dir, "pki"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", prelude+strings.ReplaceAll(s.Commands(), "/etc/kubernetes", dir))
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/home/expanded", "LC_ALL=C.UTF-8", "RECORD=" + filepath.Join(dir, "record"), environment}
	for _, v := range s.Variables {
		cmd.Env = append(cmd.Env, strings.ToUpper(v.Name)+"=value of "+v.Name)
	}
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s\n%.3000s", err, out, s.Commands())
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Fatalf("a value was executed:\n%s", s.Commands())
	}
	var calls []string
	for _, call := range recorded(t, filepath.Join(dir, "record")) {
		if call[0] == "stdin" {
			calls = append(calls, stringsOfYAML(t, call[1])...)
			continue
		}
		calls = append(calls, strings.ReplaceAll(strings.Join(call, "\x00"), dir, "/etc/kubernetes"))
	}
	if len(calls) == 0 {
		t.Fatalf("no command ran:\n%s", s.Commands())
	}
	return calls
}

// recorded returns the arguments of each call, of which the prelude wrote a file.
func recorded(t *testing.T, dir string) [][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	calls := make([][]string, len(files))
	for i, file := range files {
		call, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		calls[i] = strings.Split(strings.TrimSuffix(string(call), "\x00"), "\x00")
	}
	return calls
}

// recordingIn returns a new folder with another for the record.
func recordingIn(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "record"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRecord checks that a value which a shell does execute is noticed.
func TestRecord(t *testing.T) {
	dir := recordingIn(t)
	cmd := exec.CommandContext(t.Context(), "bash", "-c", prelude+"gcloud x$(touch pwned) 'a b' c")
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "RECORD=record"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	calls := recorded(t, filepath.Join(dir, "record"))
	if _, missing := os.Stat(filepath.Join(dir, "pwned")); missing != nil || !reflect.DeepEqual(calls, [][]string{{"gcloud", "x", "a b", "c"}}) {
		t.Errorf("%v, %q", missing, calls)
	}
}

// stringsOfYAML decodes manifests strictly, and returns their strings.
func stringsOfYAML(t *testing.T, text string) []string {
	t.Helper()
	kinds := map[string]func() any{"ClusterRole": func() any { return &rbacv1.ClusterRole{} }, "ClusterRoleBinding": func() any { return &rbacv1.ClusterRoleBinding{} },
		"Role": func() any { return &rbacv1.Role{} }, "RoleBinding": func() any { return &rbacv1.RoleBinding{} }, "Secret": func() any { return &corev1.Secret{} },
		"Namespace": func() any { return &corev1.Namespace{} }, "ServiceAccount": func() any { return &corev1.ServiceAccount{} }}
	var all []string
	for i, document := range strings.Split("\n"+text, "\n---\n") {
		var meta metav1.TypeMeta
		if i == 0 { // comments, for people
			continue
		}
		if err := yaml.Unmarshal([]byte(document), &meta); err != nil || kinds[meta.Kind] == nil {
			t.Fatalf("%v, kind %q in\n%s", err, meta.Kind, document)
		}
		object := kinds[meta.Kind]()
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		all = append(all, fmt.Sprintf("%+v", object))
	}
	return all
}

// stringsOfHCL parses a module, and returns its strings with the variables replaced.
func stringsOfHCL(t *testing.T, text []byte) []string {
	t.Helper()
	file, problems := hclparse.NewParser().ParseHCL(text, "main.tf")
	if problems.HasErrors() {
		t.Fatalf("%v in\n%s", problems, text)
	}
	variables := map[string]cty.Value{}
	for _, block := range file.Body.(*hclsyntax.Body).Blocks {
		if block.Type == "variable" {
			variables[block.Labels[0]] = cty.StringVal("value of " + block.Labels[0])
		}
	}
	scope := &hcl.EvalContext{Variables: map[string]cty.Value{"var": cty.EmptyObjectVal}}
	if len(variables) > 0 {
		scope.Variables["var"] = cty.ObjectVal(variables)
	}
	var all []string
	problems = hclsyntax.VisitAll(file.Body.(*hclsyntax.Body), func(node hclsyntax.Node) hcl.Diagnostics {
		switch node := node.(type) {
		case *hclsyntax.TemplateExpr:
			value, problems := node.Value(scope)
			if !problems.HasErrors() {
				all = append(all, value.AsString())
			}
			return problems
		case *hclsyntax.Attribute:
			all = append(all, node.Name)
		case *hclsyntax.Block:
			all = append(all, append([]string{node.Type}, node.Labels...)...)
		}
		return nil
	})
	if problems.HasErrors() {
		t.Fatalf("%v in\n%s", problems, text)
	}
	return all
}

// TestNotTakenLiterally has values that are quoted correctly, but that programs don't take for what they are.
func TestNotTakenLiterally(t *testing.T) {
	for reason, value := range map[string]string{
		"an option":                   "--impersonate-service-account=evil",
		"a file, for az and vault":    "@/etc/passwd",
		"encrypted":                   "MUSTERSEALED000000000000000000000000000000000000",
		"missing":                     "",
		"an address with credentials": "https://user:hunter2@example.com",
	} {
		for method := range entries() {
			entry := entries()[method]
			replace(reflect.ValueOf(&entry).Elem(), value)
			entry.Name = "eu"
			s := setup.For(entry, "mondoo-client", "mondoo-operator")
			if s.Method != method || len(s.Variables) == 0 {
				t.Errorf("%s, %s: %+v", method, reason, s)
			}
			for _, text := range append(run(t, s), s.Commands(), string(s.RBAC()), string(s.Terraform())) {
				if value != "" && !strings.HasPrefix(value, "https:") && strings.Contains(text, value) {
					t.Errorf("%s, %s: the value is in %s", method, reason, text)
				}
			}
			if method == "vaultAuth" && strings.Contains(s.Commands(), "hunter2") {
				t.Errorf("%s: the password is in %s", method, s.Commands())
			}
		}
	}
}

// TestPermissionsAreNotWidened has names that stand for more than one, where a permission names them.
func TestPermissionsAreNotWidened(t *testing.T) {
	for _, wide := range []string{"*", "+", "a/*", "a,b", "arn:aws:iam::123456789012:role/*"} {
		for method := range entries() {
			entry := entries()[method]
			replace(reflect.ValueOf(&entry).Elem(), wide)
			entry.Name = "eu"
			s := setup.For(entry, "mondoo-client", "mondoo-operator")
			for _, call := range run(t, s) {
				words := strings.Split(call, "\x00")
				permits := func(word string) bool { // filters of jq and addresses permit nothing
					return strings.Contains(word, wide) && !strings.Contains(word, "$") && !strings.HasPrefix(word, "kubernetes_host=")
				}
				if slices.Contains([]string{"vault", "jq", "aws"}, words[0]) && slices.ContainsFunc(words, permits) {
					t.Errorf("%s, %q: %q", method, wide, words)
				}
			}
		}
	}
}

// TestMeanings checks the texts that are printed into ${NAME:?...}, where a shell expands.
func TestMeanings(t *testing.T) {
	meanings := map[string]string{}
	for method := range entries() {
		for _, value := range []string{"", harmless} {
			entry := entries()[method]
			replace(reflect.ValueOf(&entry).Elem(), value)
			for _, v := range setup.For(entry, "mondoo-client", "mondoo-operator").Variables {
				if other := meanings[v.Name]; other != "" && other != v.Meaning && v.Name != "oidc_issuer" {
					t.Errorf("%s has two meanings: %q and %q", v.Name, other, v.Meaning)
				}
				meanings[v.Name] = v.Meaning
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(meanings)) {
		if strings.ContainsAny(meanings[name], "$`\\\"'!{}\n") || strings.ContainsAny(name, "- ") {
			t.Errorf("%s: %q can't be printed into a shell", name, meanings[name])
		}
	}
	if len(meanings) < 20 {
		t.Errorf("only %d variables were found", len(meanings))
	}
}

// TestNoCommandRunsWithoutItsVariables leaves out each variable in turn.
func TestNoCommandRunsWithoutItsVariables(t *testing.T) {
	s := setup.For(mondoo.Entry{Name: "eu", KubeconfigSecretRef: &mondoo.SecretRef{Name: "eu"}}, "mondoo-client", "mondoo-operator")
	// A shell that is interactive goes on after the error, as it does here without the line that reports it.
	_, steps, _ := strings.Cut(s.Commands(), "\n\n# 1. ")
	for _, v := range s.Variables {
		dir := recordingIn(t)
		cmd := exec.CommandContext(t.Context(), "bash", "-c", prelude+"# "+steps)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "RECORD=record"}
		for _, other := range s.Variables {
			if other.Name != v.Name {
				cmd.Env = append(cmd.Env, strings.ToUpper(other.Name)+"=x")
			}
		}
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), strings.ToUpper(v.Name)) {
			t.Errorf("without %s: %v, %s", v.Name, err, out)
		}
		if calls := recorded(t, filepath.Join(dir, "record")); len(calls) > 0 {
			t.Errorf("without %s, commands ran: %q", v.Name, calls)
		}
	}
}
