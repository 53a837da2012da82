package schema_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/config/schema"
)

const root = "../.."

// TestTextIsCommitted: the URL leads to the file in the repository that the binary has in it.
func TestTextIsCommitted(t *testing.T) {
	for _, s := range schema.All() {
		path, ok := strings.CutPrefix(s.URL("v1.2.3"), "https://raw.githubusercontent.com/muster-gitops/muster/v1.2.3/")
		if !ok {
			t.Fatalf("%s: %s", s.Kind, s.URL("v1.2.3"))
		}
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
		if err != nil || !bytes.Equal(text, s.Text()) {
			t.Errorf("%s: %s isn't the schema: %v", s.Kind, path, err)
		}
	}
}

// TestModule: the URL is that of this module's repository.
func TestModule(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil || !strings.HasPrefix(string(mod), "module github.com/muster-gitops/muster\n") {
		t.Errorf("%v, %.60s", err, mod)
	}
}

func TestHeader(t *testing.T) {
	const start, end = "# yaml-language-server: $schema=https://raw.githubusercontent.com/muster-gitops/muster/", "/config/schema/externalcluster.json"
	for version, want := range map[string]string{
		"v1.2.3": "v1.2.3", "v0.10.0-rc.1": "v0.10.0-rc.1", "v2.0.0-beta2": "v2.0.0-beta2",
		"devel": "main", "": "main", "v1.2.3-4-gabcdef0": "main", "v1.2.3-dirty": "main", "v1.2.3+dirty": "main", "abcdef0": "main",
		"v0.0.0-20261130172551-abcdef012345": "main", "1.2.3": "main", "x/v1.2.3": "main", "v1.2.3/../evil": "main", "v1.2.3\nx: y": "main",
	} {
		if got := schema.ExternalCluster.Header(version); got != start+want+end {
			t.Errorf("%q: %s", version, got)
		}
		if schema.IsRelease(version) != (want != "main") {
			t.Errorf("%q: a release: %t", version, schema.IsRelease(version))
		}
	}
}

// TestExamples validates every object of these kinds in the examples, the samples and the documentation.
func TestExamples(t *testing.T) {
	compiled, checked := map[string]*jsonschema.Schema{}, map[string]int{}
	for _, s := range schema.All() {
		compiled[s.Kind] = compile(t, s)
	}
	for _, folder := range []string{"examples", "config/samples"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(name) != ".yaml" {
				return err
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			for document := range strings.SplitSeq("\n"+string(text), "\n---\n") {
				object := value(t, name, document)
				fields, _ := object.(map[string]any)
				kind := fmt.Sprint(fields["kind"])
				if compiled[kind] == nil || !strings.HasPrefix(fmt.Sprint(fields["apiVersion"]), "muster.dev/") {
					continue
				}
				checked[kind]++
				delete(fields, "sops") // what SOPS adds is not a field of the kind
				if err := compiled[kind].Validate(object); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if checked["ExternalCluster"] < 20 || checked["AuditSync"] < 5 {
		t.Errorf("only %v were checked", checked)
	}
}

// TestAuditSyncRefuses: an editor finds what an API server would refuse, and misspelt fields, which it would drop.
func TestAuditSyncRefuses(t *testing.T) {
	const good = "apiVersion: muster.dev/v1alpha1\nkind: AuditSync\nmetadata: {name: production}\nspec:\n  source: {url: 'https://git.example.com/fleet.git', ref: {branch: main}}\n  path: clusters\n"
	compiled := compile(t, schema.AuditSync)
	if err := compiled.Validate(value(t, "good", good)); err != nil {
		t.Fatal(err)
	}
	for reason, text := range map[string]string{
		"a misspelt field":      good + "  intervall: 5m\n",
		"a misspelt field deep": strings.Replace(good, "{branch: main}", "{brunch: main}", 1),
		"another type":          good + "  suspend: 'yes'\n",
		"not in the list":       good + "  drift: Ignore\n",
		"another kind":          strings.Replace(good, "kind: AuditSync", "kind: Auditsync", 1),
		"another version":       strings.Replace(good, "v1alpha1", "v1", 1),
		"no spec":               "apiVersion: muster.dev/v1alpha1\nkind: AuditSync\nmetadata: {name: x}\n",
	} {
		if compiled.Validate(value(t, reason, text)) == nil {
			t.Errorf("%s is accepted", reason)
		}
	}
}

func compile(t *testing.T, s schema.Schema) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(s.Text()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(s.Kind, document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile(s.Kind)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func value(t *testing.T, name, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}
