package load

import (
	"slices"
	"testing"
)

// TestPassedOver: a cluster in a file with another extension is skipped, with a warning.
func TestPassedOver(t *testing.T) {
	const inJSON = `{"apiVersion": "muster.dev/v1alpha1", "kind": "ExternalCluster", "metadata": {"name": "a"}, "spec": {}}`
	tree := loadFiles(t, map[string]string{"f/kustomization.yaml": "resources: [listed.json]\n", "f/a.yaml": someCluster, "f/listed.json": `{"apiVersion": "muster.dev/v1alpha1", "kind": "ExternalCluster", "metadata": {"name": "b"}}`, "f/cluster.json": inJSON,
		"f/pretty.json": "{\n  \"apiVersion\": \"muster.dev/v1alpha1\",\n  \"kind\": \"ExternalCluster\"}\n",
		"f/eu.YAML":     someCluster, "f/x.yaml.enc": someCluster, "f/d/y.yml.bak": someCluster, "f/package.json": "{}", "f/README.md": someCluster, "f/.hidden.json": inJSON})
	var got []string
	for _, f := range tree.Findings {
		got = append(got, string(f.Code)+" "+string(f.Severity)+" "+f.Path)
	}
	slices.Sort(got)
	want := []string{"unused warning f/cluster.json", "unused warning f/d/y.yml.bak", "unused warning f/eu.YAML", "unused warning f/pretty.json", "unused warning f/x.yaml.enc"}
	if !slices.Equal(got, want) || tree.Stopped {
		t.Errorf("%q", got)
	}
}
