package plan_test

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	allowed "github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/unseal"
)

// placed is a path with something of everything.
var placed = fstest.MapFS{
	"clusters/config.yaml": {Data: []byte(`# the audit config
apiVersion: k8s.mondoo.com/v1alpha2
kind: MondooAuditConfig
metadata:
  name: mondoo-client
spec:
  mondooCredsSecretRef: {name: mondoo-client}
  kubernetesResources:
    enable: true
    schedule: "1 * * * *"
    externalClusters:
    - name: written
      kubeconfigSecretRef: {name: of-written}
  containers: {enable: false}
---
apiVersion: v1
kind: Secret
metadata:
  namespace: mondoo-operator
  name: manifest
type: Opaque
`)},
	"clusters/eu.yaml": {Data: []byte(`apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata:
  name: eu
spec:
  kubeconfigSecretRef:
    name: of-eu
`)},
	"clusters/us.yaml": {Data: []byte(`apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata: {name: us}
spec:
  spiffeAuth:
    server: https://us.example.com
    trustBundleSecretRef: {name: bundle}
  schedule: "5 * * * *"
`)},
}

// readPlaced reads placed as it is read from a repository.
func readPlaced(t *testing.T) *fleet.Opened {
	t.Helper()
	p := clusters.NewPipeline()
	sealed, err := p.Compile(t.Context(), clusters.Source{FS: placed, Path: "clusters"}, compile.Options{Namespace: "mondoo-operator", Sync: "prod", Policy: allowed.Policy{Allow: []string{"mondooCredsSecretRef=mondoo-client"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := p.Open(t.Context(), sealed, unseal.NewOpener(), &redact.Redactor{}, time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if n := finding.Errors(opened.Findings); n > 0 {
		t.Fatalf("%d errors: %v", n, opened.Findings)
	}
	return opened
}

// TestPlaces: what shows only in comparison with the management cluster stands at its line, like what shows before.
func TestPlaces(t *testing.T) {
	opened := readPlaced(t)
	other := func(sync string) *inventory.Inventory {
		return &inventory.Inventory{Sync: sync, AuditConfig: "mondoo-client", Hash: "h", Origin: "x", Clusters: []inventory.Item{{Name: "asia", Hash: "h", Secrets: []string{"of-eu", "of-written"}}}}
	}
	for _, test := range []struct {
		reason string
		live   plan.Live
		code   finding.Code
		places []string
	}{
		{"Secrets that are missing stand where they are named", plan.Live{EverySecret: true}, plan.CodeSecretMissing,
			[]string{"clusters/config.yaml:11:5", "clusters/eu.yaml:6:3", "clusters/us.yaml:7:5"}},
		{"a Secret that an AuditSync uses", plan.Live{Reserved: map[string]string{"manifest": "the AuditSync x", "of-eu": "the AuditSync x"}}, plan.CodeSecretInUse,
			[]string{"clusters/config.yaml:20:3", "clusters/eu.yaml:6:3"}},
		{"Secrets of another cluster", plan.Live{Inventories: []*inventory.Inventory{other("gone")}}, plan.CodeSecretOfOther,
			[]string{"clusters/config.yaml:11:5", "clusters/eu.yaml:6:3"}},
		{"somebody else's Secret", plan.Live{Secrets: map[string]plan.LiveSecret{"manifest": {}}}, plan.CodeSecretForeign, []string{"clusters/config.yaml:20:3"}},
		{"a Secret of another type", plan.Live{Secrets: map[string]plan.LiveSecret{"manifest": {Type: "other", Annotations: map[string]string{plan.AdoptAnnotation: "prod"}}}},
			plan.CodeSecretTypeChanged, []string{"clusters/config.yaml:21:1"}},
		{"a Secret of another AuditSync", plan.Live{Syncs: map[string]bool{"x": true}, Secrets: map[string]plan.LiveSecret{"manifest": {Labels: map[string]string{fleet.LabelSync: "x"}}}},
			plan.CodeSecretOwned, []string{"clusters/config.yaml:20:3"}},
		{"an audit config of another AuditSync", plan.Live{Syncs: map[string]bool{"x": true}, Inventories: []*inventory.Inventory{other("x")}},
			plan.CodeConfigOwned, []string{"clusters/config.yaml:5:3"}},
	} {
		p := plan.Compute(opened, test.live, at("rev1"))
		wantPlaces(t, test.reason, p, test.code, test.places...)
	}
	opened.Source = nil
	p := plan.Compute(opened, plan.Live{EverySecret: true}, at("rev1"))
	wantPlaces(t, "where nobody knows the tree, the files are told", p, plan.CodeSecretMissing, "clusters/config.yaml", "clusters/eu.yaml", "clusters/us.yaml")
}

// TestPlaceOfNotKept: a field that is not kept stands where the file has it.
func TestPlaceOfNotKept(t *testing.T) {
	opened := readPlaced(t)
	w := newWorld()
	w.AuditConfigs = map[string]map[string]any{}
	var p *plan.Plan
	for range 6 {
		p = plan.Compute(opened, w.Live, at("rev1"))
		w.apply(t, p, all)
		object := w.AuditConfigs["mondoo-client"]
		list, err := mondoo.Entries(object)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range list {
			if entry["name"] == "us" {
				delete(entry, "schedule")
			}
		}
		object["spec"].(map[string]any)["containers"] = map[string]any{"enable": true}
	}
	wantPlaces(t, "neither is kept", p, plan.CodeNotKept, "clusters/config.yaml:14:16", "clusters/us.yaml:8:3")
}

func wantPlaces(t *testing.T, reason string, p *plan.Plan, code finding.Code, places ...string) {
	t.Helper()
	var got []string
	for _, f := range finding.Sorted(p.Findings) {
		if f.Code == code {
			got = append(got, f.Place())
		}
	}
	if len(got) != len(places) {
		t.Errorf("%s: at %q, want %q", reason, got, places)
		return
	}
	for i := range got {
		if got[i] != places[i] {
			t.Errorf("%s: at %q, want %q", reason, got, places)
			return
		}
	}
}
