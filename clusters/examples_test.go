package clusters_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/unseal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// examples are the paths of the repositories in examples/ that an AuditSync points to.
var examples = []struct{ name, path, sync string }{
	{"quickstart", "clusters", "auditsync.yaml"},
	{"all-auth-methods", "clusters", "auditsync.yaml"},
	{"flux-layout", "clusters/production", "management/production.yaml"},
	{"flux-layout", "clusters/staging", "management/staging.yaml"},
	{"argocd-layout", "environments/dev", "apps/syncs/dev.yaml"},
	{"argocd-layout", "environments/prod", "apps/syncs/prod.yaml"},
	{"multiple-audit-configs", "fleet", "auditsync.yaml"},
	{"credentials-elsewhere", "clusters", "auditsync.yaml"},
}

// exampleOptions are the options with what the AuditSync of an example allows.
func exampleOptions(t *testing.T, example, sync string) compile.Options {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "examples", example, sync))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Spec struct {
			AuditConfigs      struct{ Allow []string }
			VaultAuth         struct{ Addresses []string }
			CredentialSources struct {
				Vault   []policy.VaultServer
				Secrets struct{ Namespaces []string }
			}
		}
	}
	if err := yaml.Unmarshal(data, &manifest); err != nil {
		t.Fatal(err)
	}
	opts := options
	spec := manifest.Spec
	opts.Policy = policy.Policy{Source: "the AuditSync", Allow: spec.AuditConfigs.Allow, VaultAddresses: spec.VaultAuth.Addresses,
		Credentials: policy.Sources{Vault: spec.CredentialSources.Vault, Namespaces: spec.CredentialSources.Secrets.Namespaces}}
	return opts
}

func exampleFS(name string) fs.FS { return os.DirFS(filepath.Join("..", "examples", name)) }

func exampleOpener(t testing.TB) *unseal.Opener {
	t.Helper()
	ring := &keys.Ring{}
	if err := ring.AddFile(filepath.Join("..", "examples", "age-test-key.txt")); err != nil {
		t.Fatal(err)
	}
	return unseal.NewOpener(ring)
}

// TestExamples holds what each example is applied as, to an empty cluster.
func TestExamples(t *testing.T) {
	for _, e := range examples {
		t.Run(e.name+"/"+e.path, func(t *testing.T) {
			r := render(t, exampleFS(e.name), e.path, exampleOptions(t, e.name, e.sync), exampleOpener(t))
			if n := finding.Errors(r.findings()); n > 0 {
				t.Errorf("%d errors in an example:\n%s", n, lines(r.findings()))
			}
			if i := slices.IndexFunc(r.findings(), func(f finding.Finding) bool { return f.Code == compile.CodePurgeWindow }); i >= 0 {
				t.Errorf("an example loses assets: %s", r.findings()[i])
			}
			p := plan.Compute(r.opened, plan.Live{}, plan.Policy{Revision: "0123456789abcdef"})
			golden(t, goldenName(e.name, e.path), describe(t, r, p))
		})
	}
}

func goldenName(name, path string) string {
	if path == "clusters" || path == "fleet" {
		return name + ".yaml"
	}
	return name + "-" + strings.ReplaceAll(path, "/", "-") + ".yaml"
}

// TestExamplesAreListed keeps an example from being added without its test.
func TestExamplesAreListed(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join("..", "examples"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		readme, err := os.ReadFile(filepath.Join("..", "examples", entry.Name(), "README.md"))
		if err != nil || !strings.Contains(string(readme), "TEST KEY — never use for anything real") {
			t.Errorf("examples/%s has no README.md that warns of the test key", entry.Name())
		}
		if !slices.ContainsFunc(examples, func(e struct{ name, path, sync string }) bool { return e.name == entry.Name() }) {
			t.Errorf("examples/%s is in no test", entry.Name())
		}
	}
}

// TestTaughtSopsRule: whatever shows a .sops.yaml shows the recommended rule, and no other.
func TestTaughtSopsRule(t *testing.T) {
	teaching := []string{"README.md", "../config/samples/https.yaml"}
	for _, e := range examples {
		teaching = append(teaching, filepath.Join("..", "examples", e.name, ".sops.yaml"))
	}
	for _, file := range teaching {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, rule, taught := strings.Cut(string(text), "mac_only_encrypted: true\n")
		if rule, _, _ = strings.Cut(rule, "\n"); !taught || strings.TrimLeft(rule, "# ") != "encrypted_regex: "+v1alpha1.EncryptedRegex {
			t.Errorf("%s does not teach the recommended rule: %q", file, rule)
		}
		if other := strings.Count(string(text), "encrypted_regex:") - strings.Count(string(text), "encrypted_regex: "+v1alpha1.EncryptedRegex); other > 0 {
			t.Errorf("%s has %d other rules", file, other)
		}
	}
}

// TestExamplesWithoutKeys: everything but the opening works without a key, and finds nothing wrong.
func TestExamplesWithoutKeys(t *testing.T) {
	for _, e := range examples {
		t.Run(e.name+"/"+e.path, func(t *testing.T) {
			r := compileOnly(t, exampleFS(e.name), e.path, exampleOptions(t, e.name, e.sync))
			if n := finding.Errors(r.findings()); n > 0 {
				t.Errorf("%d errors in an example:\n%s", n, lines(r.findings()))
			}
			full := render(t, exampleFS(e.name), e.path, exampleOptions(t, e.name, e.sync), exampleOpener(t))
			if len(r.sealed.Clusters) != len(full.sealed.Clusters) || len(r.sealed.Secrets) != len(full.sealed.Secrets) {
				t.Errorf("without keys: %d clusters, %d Secrets; with: %d, %d",
					len(r.sealed.Clusters), len(r.sealed.Secrets), len(full.sealed.Clusters), len(full.sealed.Secrets))
			}
		})
	}
}

// describe is a golden file: findings, steps and what would be written. Of the data of Secrets it has sizes and hashes.
func describe(t *testing.T, r run, p *plan.Plan) string {
	t.Helper()
	type secret struct {
		Name        string            `json:"name"`
		Type        string            `json:"type"`
		Labels      map[string]string `json:"labels,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
		Data        map[string]string `json:"data"`
	}
	out := struct {
		Whole        string           `json:"builtInOnePiece,omitempty"`
		Findings     []string         `json:"findings"`
		Steps        []string         `json:"steps"`
		AuditConfigs []map[string]any `json:"auditConfigs"`
		Secrets      []secret         `json:"secrets"`
	}{Whole: r.opened.Whole, Findings: []string{}}
	for _, f := range finding.Sorted(p.Findings) {
		out.Findings = append(out.Findings, f.String())
	}
	for _, s := range p.Steps {
		out.Steps = append(out.Steps, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", s.Action, s.Kind, strings.TrimPrefix(s.AuditConfig+"/"+s.Name, "/"), s.Reason)))
	}
	for _, c := range p.Configs {
		out.AuditConfigs = append(out.AuditConfigs, c.Object)
	}
	for _, s := range p.Secrets {
		data := map[string]string{}
		for key, value := range s.Data {
			data[key] = fmt.Sprintf("%d bytes, sha256 %x", len(value), sha256.Sum256([]byte(value)))
		}
		out.Secrets = append(out.Secrets, secret{s.Name, s.Type, s.Labels, s.Annotations, data})
	}
	text, err := yaml.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func lines(findings []finding.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// TestBuildIsKustomize: with its handles opened, a build gives what kustomize gives for the decrypted files.
func TestBuildIsKustomize(t *testing.T) {
	for _, e := range examples {
		t.Run(e.name+"/"+e.path, func(t *testing.T) {
			opener := exampleOpener(t)
			tree, err := load.Load(t.Context(), exampleFS(e.name), e.path, load.Limits{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			built, err := kustomize.Build(t.Context(), seal.NewSealer().Seal(tree, nil), opener, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []map[string]any
			for _, r := range built.Resources {
				got = append(got, openHandles(t, built.Sealed, opener, r.Object).(map[string]any))
			}
			want := kustomizeBuild(t, decryptedCopy(t, exampleFS(e.name), tree, opener))
			compareObjects(t, want, got)
		})
	}
}

// openHandles replaces every handle below a value.
func openHandles(t *testing.T, tree *seal.Tree, opener *unseal.Opener, v any) any {
	t.Helper()
	switch v := v.(type) {
	case string:
		ref, ok := tree.Ref(v)
		if !ok {
			if seal.HasHandle(v) {
				t.Errorf("a string holds part of a handle")
			}
			return v
		}
		plain, bad := opener.Open(t.Context(), tree.Loaded.Files[ref.Path])
		if bad != nil {
			t.Fatal(bad)
		}
		value, ok := plain.Value(ref)
		if !ok {
			t.Fatalf("%s: no value at %v", ref.Path, ref.Keys)
		}
		return value
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = openHandles(t, tree, opener, item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = openHandles(t, tree, opener, item)
		}
		return out
	default:
		return v
	}
}

// decryptedCopy writes a repository to disk with every file decrypted and what Muster takes besides the list of the
// kustomization added to it, and returns the folder to build.
func decryptedCopy(t *testing.T, repository fs.FS, tree *load.Tree, opener *unseal.Opener) string {
	t.Helper()
	dir := t.TempDir()
	err := fs.WalkDir(repository, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(repository, name)
		if err != nil {
			return err
		}
		if seal.IsEncrypted(string(data)) {
			plain, bad := opener.Open(t.Context(), &load.File{Path: name, Data: string(data)})
			if bad != nil {
				return fmt.Errorf("%s", bad)
			}
			if data, err = plain.Bytes(); err != nil {
				return err
			}
		}
		target := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, filepath.FromSlash(tree.Path))
	k := tree.Kustomizations[tree.Path]
	var resources []string
	for i := range k.Resources {
		resources = append(resources, k.Ref(i))
	}
	spec := map[string]any{"resources": resources}
	if k.File != nil {
		if err := yaml.Unmarshal([]byte(k.File.Data), &spec); err != nil {
			t.Fatal(err)
		}
		listed, _ := spec["resources"].([]any)
		for _, name := range tree.Unlisted {
			listed = append(listed, strings.TrimPrefix(name, tree.Path+"/"))
		}
		spec["resources"] = listed
	}
	data, err := yaml.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "kustomization.yaml"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

func kustomizeBuild(t *testing.T, dir string) []map[string]any {
	t.Helper()
	result, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var objects []map[string]any
	for _, r := range result.Resources() {
		object, err := r.Map()
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	return objects
}

// compareObjects compares two sets of objects, in whatever order.
func compareObjects(t *testing.T, want, got []map[string]any) {
	t.Helper()
	id := func(object map[string]any) string {
		meta, _ := object["metadata"].(map[string]any)
		return fmt.Sprint(object["kind"], " ", meta["namespace"], " ", meta["name"])
	}
	index := func(objects []map[string]any) map[string]map[string]any {
		m := map[string]map[string]any{}
		for _, o := range objects {
			if m[id(o)] != nil {
				t.Errorf("%s is there twice", id(o))
			}
			m[id(o)] = o
		}
		return m
	}
	w, g := index(want), index(got)
	if a, b := slices.Sorted(maps.Keys(w)), slices.Sorted(maps.Keys(g)); !slices.Equal(a, b) {
		t.Fatalf("kustomize has %v\nMuster has %v", a, b)
	}
	for key, object := range w {
		if !reflect.DeepEqual(object, g[key]) {
			a, _ := yaml.Marshal(object)
			b, _ := yaml.Marshal(g[key])
			t.Errorf("%s differs:\nkustomize:\n%s\nMuster:\n%s", key, a, b)
		}
	}
}

// TestExampleKeyIsTheOnlyOne: no example is encrypted for anybody else's key.
func TestExampleKeyIsTheOnlyOne(t *testing.T) {
	opener := exampleOpener(t)
	for _, e := range examples {
		repository := exampleFS(e.name)
		err := fs.WalkDir(repository, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(repository, name)
			if err != nil || !seal.IsEncrypted(string(data)) || path.Ext(name) == ".md" {
				return err
			}
			if _, bad := opener.Open(t.Context(), &load.File{Path: name, Data: string(data)}); bad != nil {
				t.Errorf("examples/%s/%s: %s", e.name, name, bad.Message)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
