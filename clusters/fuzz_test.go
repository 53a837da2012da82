package clusters_test

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// FuzzCompile: whatever stands in a cluster file, a kustomization and a patch, what comes out is a fleet with findings of one
// readable line each. The good cluster beside them is there, or the tree is stopped.
func FuzzCompile(f *testing.F) {
	cluster := "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: c\nspec:\n  kubeconfigSecretRef: {name: x}\n"
	key := sealtest.NewKey(f)
	f.Add(cluster, "resources: [good.yaml, c.yaml]\n", cluster)
	f.Add(key.Encrypt(f, "c.yaml", strings.Replace(cluster, "kubeconfigSecretRef: {name: x}", "kubeconfig: x", 1), sealtest.Credentials), "patches: [{path: p.yaml}]\n", cluster)
	f.Add("a: &a [*a]", "namePrefix: x-\nlabels: [{pairs: {a: b}}]\n", "[{\"op\": \"add\"}]")
	f.Add("\ufeff---\n...\n", "components: [.]\nbases: [..]\n", "--- x\n--- y\n")
	f.Add(cluster, "replacements: [{path: p.yaml}]\nsecretGenerator: [{name: s, envs: [c.yaml]}]\n", "- source: {kind: ExternalCluster}\n  targets: []\n")
	f.Add(cluster, "patchesJson6902: [{path: p.yaml, target: {kind: ExternalCluster, name: c}}]\n", "- {op: remove, path: /spec}\n")
	f.Fuzz(func(t *testing.T, cluster, kustomization, patch string) {
		for _, repository := range []files{
			{"f/c.yaml": cluster},
			{"f/c.yaml": cluster, "f/kustomization.yaml": kustomization, "f/p.yaml": patch},
		} {
			repository["f/good.yaml"] = "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: good\nspec:\n  kubeconfigSecretRef: {name: x}\n"
			opts := options
			opts.AuditConfig = "mondoo-client"
			r := compileOnly(t, repository.fs(), "f", opts)
			for _, f := range r.findings() {
				if text := f.Message + f.Fix; strings.ContainsAny(text, "\n\r\x00") || len(text) > 2000 || seal.HasHandle(text) {
					t.Errorf("%q", text)
				}
				if f.Code == "" || f.Severity == "" || f.Message == "" {
					t.Errorf("an unfinished finding: %+v", f)
				}
			}
			if len(repository) == 2 && !r.sealed.Stopped && !strings.Contains(cluster, "good") && len(r.sealed.Entries("mondoo-client")) == 0 {
				t.Error("the good cluster is missing")
			}
		}
	})
}

// FuzzLoad: reading a file neither fails nor takes forever, and positions are within the file.
func FuzzLoad(f *testing.F) {
	f.Add("a: b\n---\nc: [d, {e: f}]\n")
	f.Add("kind: ExternalCluster\nspec: &x {a: *x}\n")
	f.Add("? [complex, key]\n: value\n<<: {a: b}\n!!binary x\n")
	f.Add(aliasBomb())
	f.Fuzz(func(t *testing.T, text string) {
		tree, err := load.Load(t.Context(), files{"f/x.yaml": text}.fs(), "f", load.Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, finding := range tree.Findings {
			if finding.Line < 0 || finding.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+2 {
				t.Errorf("line %d of %q", finding.Line, text)
			}
		}
		if file := tree.Files["f/x.yaml"]; file != nil {
			for i := range file.Documents {
				file.Position(i, []string{"spec", "[0]", "a"})
			}
		}
	})
}
