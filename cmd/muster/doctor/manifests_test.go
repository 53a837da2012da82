package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestManifests holds that the program checks for what config/default installs.
func TestManifests(t *testing.T) {
	for file, embedded := range map[string]string{"crd/muster.dev_auditsyncs.yaml": string(auditSyncCRD), "rbac/role.yaml": roleManifest, "rbac/leader-election.yaml": leaderManifest} {
		installed, err := os.ReadFile(filepath.Join("..", "..", "..", "config", file))
		if err != nil {
			t.Fatal(err)
		}
		if string(installed) != embedded {
			t.Errorf("config/%s has changed; run go generate ./cmd/muster/doctor", file)
		}
	}
}

// TestEveryRightHasAConsequence: a right that is new in config/rbac needs a word about what stops working without it.
func TestEveryRightHasAConsequence(t *testing.T) {
	own, leader := needsOf(rulesOf(roleManifest), "n"), needsOf(rulesOf(leaderManifest), "n")
	if len(own) < 20 || len(leader) < 3 {
		t.Fatalf("only %d and %d rights", len(own), len(leader))
	}
	used := map[string]bool{}
	for _, n := range append(own, leader...) {
		resource := n.resource
		if n.subresource != "" {
			resource += "/" + n.subresource
		}
		used[resource] = true
		if (consequences[resource] == "") == (optional[resource] == "") {
			t.Errorf("%s: want one consequence, have %q and %q", n, consequences[resource], optional[resource])
		}
		if n.resource == "namespaces" && n.name != "n" {
			t.Errorf("%s: the namespace is read by its name", n)
		}
	}
	for _, texts := range []map[string]string{consequences, optional} {
		for resource := range texts {
			if !used[resource] && resource != tokens { // which an admin grants with a component
				t.Errorf("%s is no right of config/rbac", resource)
			}
		}
	}
}

// TestSchemaCheck changes the CRD as older and newer versions would.
func TestSchemaCheck(t *testing.T) {
	for _, row := range []struct {
		reason, from, to string
		result           Result
		says             string
	}{
		{"the same", "", "", Passed, " fields"},
		{"another version", "    name: v1alpha1\n", "    name: v1beta1\n", Failed, "auditsyncs.muster.dev has no version v1alpha1"},
		{"a version that isn't served", "    served: true\n", "    served: false\n", Failed, "has no version v1alpha1"},
		{"a field is missing", "              scanOnChange:\n", "              scanOnChanges:\n", Failed, "it lacks spec.scanOnChange, and the API server drops"},
		{"a field within a list is missing", "                    severity:\n", "                    severe:\n", Failed, "it lacks status.problems.severity,"},
		{"another rule", "pattern: ^[0-9a-f]{40}$", "pattern: ^[0-9a-f]{64}$", Warning, "the same fields, with other rules"},
		{"a field more", "              suspend:\n", "              novelty: {type: string}\n              suspend:\n", Warning, "the CRD is newer: it has spec.novelty"},
	} {
		text := strings.Replace(string(auditSyncCRD), row.from, row.to, 1)
		if row.from != "" && text == string(auditSyncCRD) {
			t.Fatalf("%s: the CRD has no %q", row.reason, row.from)
		}
		var live map[string]any
		if err := yaml.Unmarshal([]byte(text), &live); err != nil {
			t.Fatal(err)
		}
		c := schemaCheck("n", live)
		if c.Result != row.result || !strings.Contains(c.Detail, row.says) || (c.Fix == "") != (c.Result == Passed) {
			t.Errorf("%s: %+v", row.reason, c)
		}
	}
}
