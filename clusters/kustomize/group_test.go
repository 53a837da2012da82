package kustomize

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/seal"
)

// TestPatchThatMayMeanTwo: kustomize refuses a patch for a name that two clusters have, or had. In separate builds, each of them
// would be patched.
func TestPatchThatMayMeanTwo(t *testing.T) {
	inNamespace := func(namespace string) string {
		return clusterHead + "metadata: {name: a, namespace: " + namespace + "}\nspec: {}\n"
	}
	patch := "patches:\n- patch: |\n    {apiVersion: muster.dev/v1alpha1, kind: ExternalCluster, metadata: {name: a}, spec: {schedule: patched}}\n"
	for _, row := range []struct {
		reason, root, other string
		patched             []string
		refused             bool
	}{
		{"one is named so, the other was before its prefix", patch, clusterFile("a", "", ""), nil, true},
		{"the same, in a tree that is built whole", patch + "configurations: [c.txt]\n", clusterFile("a", "", ""), nil, true},
		{"the namespace tells which is meant", patch, inNamespace("elsewhere"), []string{"a"}, false},
		{"the namespace tells that it is the other", strings.Replace(patch, "{name: a}", "{name: a, namespace: elsewhere}", 1), inNamespace("elsewhere"), []string{"p-a"}, false},
		{"the namespace is of neither", strings.Replace(patch, "{name: a}", "{name: a, namespace: nowhere}", 1), inNamespace("elsewhere"), nil, true},
	} {
		t.Run(row.reason, func(t *testing.T) {
			r := repository{"fleet/kustomization.yaml": "resources: [a.yaml, b.yaml, x]\n" + row.root, "fleet/c.txt": "nameReference: []\n",
				"fleet/a.yaml": clusterFile("a", "", ""), "fleet/b.yaml": clusterFile("b", "", ""),
				"fleet/x/kustomization.yaml": "namePrefix: p-\nresources: [a.yaml]\n", "fleet/x/a.yaml": row.other}
			result := r.build(t, "fleet", nil, 1)
			var patched, broken []string
			for _, res := range result.Resources {
				if spec, _ := res.Object["spec"].(map[string]any); spec["schedule"] == "patched" {
					patched = append(patched, res.Object["metadata"].(map[string]any)["name"].(string))
				}
			}
			for _, f := range result.Findings {
				broken = append(broken, f.Path)
				if !strings.Contains(f.Message, "shares with fleet/") {
					t.Error(f)
				}
			}
			if !slices.Equal(patched, row.patched) || result.Stopped {
				t.Errorf("patched: %v, stopped %t", patched, result.Stopped)
			}
			if slices.Equal(broken, []string{"fleet/a.yaml", "fleet/x/a.yaml"}) != row.refused || len(result.Resources)+len(broken) != 3 {
				t.Errorf("broken: %v, %d resources", broken, len(result.Resources))
			}
		})
	}
}

// TestGroupIsRemembered: a cluster whose result depends on another cluster's file is built again when that changes.
func TestGroupIsRemembered(t *testing.T) {
	r := repository{"fleet/kustomization.yaml": "resources: [a.yaml, x]\npatches:\n- patch: |\n    {apiVersion: muster.dev/v1alpha1, kind: ExternalCluster, metadata: {name: a}, spec: {schedule: patched}}\n",
		"fleet/a.yaml": clusterFile("a", "", ""), "fleet/x/kustomization.yaml": "namePrefix: p-\nresources: [a.yaml]\n", "fleet/x/a.yaml": clusterFile("other", "", "")}
	sealer := seal.NewSealer()
	var before *Result
	for i, row := range []struct {
		other  string
		broken int
	}{{clusterFile("other", "", ""), 0}, {clusterFile("a", "", ""), 2}, {clusterHead + "metadata: {name: a, namespace: elsewhere}\n", 0}, {clusterFile("a", "", ""), 2}} {
		now := maps.Clone(r)
		now["fleet/x/a.yaml"] = row.other
		result, err := Build(t.Context(), sealer.Seal(now.load(t, "fleet"), nil), nil, before)
		if err != nil {
			t.Fatal(err)
		}
		if n := finding.Errors(result.Findings); n != row.broken || len(result.Resources) != 2-n {
			t.Errorf("step %d: %d broken, %d resources: %v", i, n, len(result.Resources), result.Findings)
		}
		before = result
	}
}

// TestGroupsAreCheap: a name that thousands of clusters share does not keep a processor busy.
func TestGroupsAreCheap(t *testing.T) {
	b := &builder{together: map[string]group{}}
	for i := range 3000 {
		b.files = append(b.files, fmt.Sprintf("f%04d", i))
	}
	for range 20 {
		b.join(slices.Clone(b.files))
	}
	b.join([]string{"f0001", "g"})
	if groups := slices.Collect(b.groups()); len(groups) != 1 || len(groups[0]) != 3001 {
		t.Errorf("%d groups", len(groups))
	}
}

// TestComponentAtTheRoot: kustomize builds a component by itself like any kustomization.
func TestComponentAtTheRoot(t *testing.T) {
	r := repository{"fleet/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [a.yaml]\npatches:\n- patch: |\n    {apiVersion: muster.dev/v1alpha1, kind: ExternalCluster, metadata: {name: a}, spec: {schedule: patched}}\n",
		"fleet/a.yaml": clusterFile("a", "", "")}
	result := r.build(t, "fleet", nil, 1)
	want, err := (&tree{files: r}).kustomize(t, nil)
	if err != nil || len(result.Findings) > 0 {
		t.Fatal(err, result.Findings)
	}
	compare(t, want, result)
}
