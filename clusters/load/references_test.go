package load

import (
	"fmt"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
)

// TestReferencesStayInside: a reference must name a file of this commit, relative to its kustomization. One that is absolute is
// refused, even if a file matches, and so is one that is outside of the repository, remote, or missing. (CVE-2021-41254, CVE-2022-24877 and CVE-2026-47680 of Flux
// are paths that escape.)
func TestReferencesStayInside(t *testing.T) {
	for field, form := range map[string]string{
		"resources": "resources: [a.yaml, %q]\n", "bases": "resources: [a.yaml]\nbases: [%q]\n", "components": "resources: [a.yaml]\ncomponents: [%q]\n",
		"patches": "resources: [a.yaml]\npatches: [{path: %q}]\n", "patchesStrategicMerge": "resources: [a.yaml]\npatchesStrategicMerge: [%q]\n",
		"patchesJson6902": "resources: [a.yaml]\npatchesJson6902: [{path: %q, target: {version: v1, kind: Secret, name: s}}]\n", "replacements": "resources: [a.yaml]\nreplacements: [{path: %q}]\n",
		"configurations": "resources: [a.yaml]\nconfigurations: [%q]\n", "transformers": "resources: [a.yaml]\ntransformers: [%q]\n", "generators": "resources: [a.yaml]\ngenerators: [%q]\n",
		"secretGenerator files": "secretGenerator: [{name: s, files: [%q]}]\n", "secretGenerator files with a key": "secretGenerator: [{name: s, files: ['k=%s']}]\n", "configMapGenerator envs": "configMapGenerator: [{name: s, envs: [%q]}]\n",
	} {
		for ref, want := range map[string]finding.Code{
			"/b.yaml": CodeOutside, "/f/b.yaml": CodeOutside, "/etc/passwd": CodeOutside, "../../b.yaml": CodeOutside, "../..": CodeOutside, "../f/../../f/b.yaml": CodeOutside,
			"https://b.example.com/b.yaml": CodeRemote, "git@b.example.com:b.yaml": CodeRemote, "github.com/b/b": CodeRemote, "gh:b/b": CodeRemote, "git::b": CodeRemote, "file:///b.yaml": CodeRemote,
		} {
			tree := loadFiles(t, map[string]string{"f/kustomization.yaml": fmt.Sprintf(form, ref), "f/a.yaml": someCluster, "f/b.yaml": "a: b\n", "f/f/b.yaml": "a: b\n", "b.yaml": "a: b\n"})
			var codes []finding.Code
			for _, f := range tree.Findings {
				if f.Severity == finding.Error {
					codes = append(codes, f.Code)
				}
			}
			if len(codes) != 1 || codes[0] != want || !tree.Stopped {
				t.Errorf("%s %s: %v, stopped %t", field, ref, tree.Findings, tree.Stopped)
			}
		}
	}
}
