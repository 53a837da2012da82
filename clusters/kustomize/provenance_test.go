package kustomize

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
)

// TestObjectsKeepTheirFiles: whatever patches do to annotations, names and neighbors, each object keeps its file, and an object
// that kustomize leaves out is reported.
func TestObjectsKeepTheirFiles(t *testing.T) {
	const (
		whole     = "configurations: [c.txt]\n"
		annotated = "- target: {kind: ExternalCluster}\n  patch: '[{\"op\": \"add\", \"path\": \"/metadata/annotations\", \"value\": {\"team\": \"x\"}}]'\n"
		all       = "resources: [a.yaml, b.yaml, c.yaml, m.yaml, s.yaml]\n"
	)
	deleted := func(kind, name string) string {
		version := map[string]string{"ExternalCluster": "muster.dev/v1alpha1", "Secret": "v1"}[kind]
		return "- patch: |\n    $patch: delete\n    apiVersion: " + version + "\n    kind: " + kind + "\n    metadata: {name: " + name + "}\n"
	}
	secret := func(name string) string { return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + "}\n" }
	base := repository{
		"fleet/a.yaml": clusterFile("a", "", ""), "fleet/b.yaml": clusterFile("b", "", ""), "fleet/c.yaml": clusterFile("c", "", ""),
		"fleet/m.yaml": "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: m}\nspec: {}\n",
		"fleet/s.yaml": "# first\n---\n" + secret("s") + "---\n" + secret("t"), "fleet/c.txt": "nameReference: []\n",
	}
	plain := []string{"a: a.yaml 0", "b: b.yaml 0", "c: c.yaml 0", "m: m.yaml 0", "s: s.yaml 0", "t: s.yaml 1"}
	without := func(names ...string) []string {
		return slices.DeleteFunc(slices.Clone(plain), func(row string) bool { return slices.Contains(names, row[:1]) })
	}
	for _, row := range []struct {
		reason, kustomization string
		files                 repository
		want, left, dropped   []string
	}{
		{"annotations are overwritten", all + "buildMetadata: [originAnnotations]\npatches:\n" + annotated, nil, plain, nil, nil},
		{"annotations are overwritten, and a cluster is deleted", all + "patches:\n" + annotated + deleted("ExternalCluster", "b"), nil, without("b"), []string{"b.yaml:4 b"}, []string{"b.yaml"}},
		{"the first cluster is deleted, and prefixes are added", "namePrefix: p-\n" + all + "patches:\n" + deleted("ExternalCluster", "a"), nil,
			[]string{"p-b: b.yaml 0", "p-c: c.yaml 0", "p-m: m.yaml 0", "p-s: s.yaml 0", "p-t: s.yaml 1"}, []string{"a.yaml:4 a"}, []string{"a.yaml"}},
		{"a Secret of two is deleted", all + "patches:\n" + annotated + deleted("Secret", "s"), nil, without("s"), []string{"s.yaml:5 "}, nil},
		{"both Secrets are deleted", all + "patches:\n" + deleted("Secret", "s") + deleted("Secret", "t"), nil, without("s", "t"), []string{"s.yaml:5 ", "s.yaml:9 "}, []string{"s.yaml"}},
		{"an annotation keeps a cluster out", all + "patches:\n- target: {name: b}\n  patch: '[{\"op\": \"add\", \"path\": \"/metadata/annotations\", \"value\": {\"config.kubernetes.io/local-config\": \"true\"}}]'\n", nil,
			without("b"), []string{"b.yaml:4 b"}, []string{"b.yaml"}},
		{"one of two clusters of one name is deleted", "resources: [one, two]\npatches:\n" + deleted("ExternalCluster", "main, namespace: n1"), repository{
			"fleet/one/kustomization.yaml": "namespace: n1\nresources: [a.yaml]\n", "fleet/one/a.yaml": clusterFile("main", "", ""),
			"fleet/two/kustomization.yaml": "namespace: n2\nresources: [a.yaml]\npatches:\n" + annotated, "fleet/two/a.yaml": clusterFile("main", "", ""),
			"fleet/a.yaml": "", "fleet/b.yaml": "", "fleet/c.yaml": "", "fleet/m.yaml": "", "fleet/s.yaml": ""},
			[]string{"main: two/a.yaml 0"}, []string{"one/a.yaml:4 main"}, []string{"one/a.yaml"}},
		{"a whole object is replaced", all + "patches:\n- target: {name: b}\n  patch: '[{\"op\": \"replace\", \"path\": \"\", \"value\": {\"apiVersion\": \"muster.dev/v1alpha1\", \"kind\": \"ExternalCluster\", \"metadata\": {\"name\": \"b\"}}}]'\n", nil,
			plain, nil, nil},
		{"a file is a resource and a patch", all + "patches:\n- target: {name: a}\n  path: b.yaml\n", nil, plain, nil, nil},
		{"a List", "resources: [l.yaml]\npatches:\n" + deleted("ExternalCluster", "two"), repository{"fleet/a.yaml": "", "fleet/b.yaml": "", "fleet/c.yaml": "", "fleet/m.yaml": "", "fleet/s.yaml": "",
			"fleet/l.yaml": "apiVersion: v1\nkind: List\nitems:\n- apiVersion: muster.dev/v1alpha1\n  kind: ExternalCluster\n  metadata: {name: one}\n- apiVersion: muster.dev/v1alpha1\n  kind: ExternalCluster\n  metadata: {name: two}\n"},
			[]string{"one: l.yaml 0"}, []string{"l.yaml:1 "}, nil},
		{"a generator merges into a Secret", all + "secretGenerator:\n- {name: s, behavior: merge, literals: [a=b], options: {disableNameSuffixHash: true}}\n", nil,
			[]string{"a: a.yaml 0", "b: b.yaml 0", "c: c.yaml 0", "m: m.yaml 0", "s: kustomization.yaml 0", "t: s.yaml 1"}, nil, nil},
		{"a generator has the name of a cluster", all + "secretGenerator:\n- {name: a, literals: [a=b], options: {disableNameSuffixHash: true}}\npatches:\n" + deleted("ExternalCluster", "a"), nil,
			append([]string{"a: kustomization.yaml 0"}, without("a")...), []string{"a.yaml:4 a"}, []string{"a.yaml"}},
	} {
		for _, kind := range []string{"units", "whole"} {
			t.Run(row.reason+", "+kind, func(t *testing.T) {
				r := maps.Clone(base)
				maps.Copy(r, row.files)
				maps.DeleteFunc(r, func(_, text string) bool { return text == "" })
				r["fleet/kustomization.yaml"] = row.kustomization
				if kind == "whole" {
					r["fleet/kustomization.yaml"] += whole
				}
				result := r.build(t, "fleet", nil, 3)
				var got, left []string
				for _, res := range result.Resources {
					meta := res.Object["metadata"].(map[string]any)
					got = append(got, fmt.Sprintf("%s: %s %d", meta["name"], strings.TrimPrefix(res.Path, "fleet/"), res.Document))
				}
				for _, f := range result.Findings {
					if f.Severity == finding.Error {
						if row.reason == "a whole object is replaced" && kind == "whole" && strings.Contains(f.Message, errReplaced.Error()) {
							return // and nothing is built
						}
						t.Error(f)
					}
					if f.Code == CodeDropped {
						left = append(left, fmt.Sprintf("%s:%d %s", strings.TrimPrefix(f.Path, "fleet/"), f.Line, f.Cluster))
					}
				}
				if kind == "whole" && row.reason == "a whole object is replaced" {
					t.Error("nothing says that the object's file is not known")
				}
				slices.Sort(got)
				slices.Sort(left)
				if !slices.Equal(got, row.want) || !slices.Equal(left, row.left) {
					t.Errorf("objects %q, left out %q", got, left)
				}
				var dropped []string
				for _, name := range slices.Sorted(maps.Keys(result.Dropped)) {
					dropped = append(dropped, strings.TrimPrefix(name, "fleet/"))
				}
				if !slices.Equal(dropped, row.dropped) {
					t.Errorf("dropped %q", dropped)
				}
				want, err := (&tree{files: r}).kustomize(t, result.Sealed.Loaded.Unlisted)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, want, result)
			})
		}
	}
}
