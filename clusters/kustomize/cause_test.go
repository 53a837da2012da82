package kustomize

import (
	"strings"
	"testing"
)

// TestInnermostCause: an error in a nested kustomization ends with its cause, and names its file.
func TestInnermostCause(t *testing.T) {
	const bad = "secretGenerator: [{name: s, literals: [a=b], type: x}, {name: s, literals: [a=b], type: x}]\n"
	for _, row := range []struct {
		reason, path, says string
		files              repository
	}{
		{"in a base of a base", "fleet/one/two/kustomization.yaml", "the object exists; can not use behavior", repository{
			"fleet/kustomization.yaml": "resources: [one]\n", "fleet/one/kustomization.yaml": "resources: [two]\n", "fleet/one/two/kustomization.yaml": bad}},
		{"in a component of a base", "fleet/one/part/kustomization.yaml", "the object exists; can not use behavior", repository{
			"fleet/kustomization.yaml": "resources: [one]\n", "fleet/one/kustomization.yaml": "components: [part]\n",
			"fleet/one/part/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n" + bad}},
		{"in a file of a base", "fleet/one/s.yaml", "kustomize can't build it", repository{
			"fleet/kustomization.yaml": "resources: [one]\n", "fleet/one/kustomization.yaml": "resources: [s.yaml]\n",
			"fleet/one/s.yaml": "apiVersion: v1\nkind: SecretList\nitems: text\n"}},
	} {
		t.Run(row.reason, func(t *testing.T) {
			result := row.files.build(t, "fleet", nil, 2)
			if !result.Stopped || len(result.Findings) != 1 {
				t.Fatalf("%v", result.Findings)
			}
			if f := result.Findings[0]; f.Path != row.path || !strings.Contains(f.Message, row.says) || strings.Contains(f.Message, "accumulat") {
				t.Errorf("%s", f)
			}
		})
	}
}
