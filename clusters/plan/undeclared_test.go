package plan_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

// TestUndeclaredFields: what the API server doesn't know is left out of an audit config only where an operator may lack it, and a cluster
// that has such a field is kept back.
func TestUndeclaredFields(t *testing.T) {
	d := newFleet().inGit(config, map[string]any{"spaceId": "x", "jobOverrides": map[string]any{"ttlSecondsAfterFinished": float64(60)}, "remoteManaged": false}).
		cluster("1", "a", "v").edit("v", func(c *fleet.Cluster) {
		c.Entry.VaultAuth = &mondoo.VaultAuth{Server: "https://v", VaultNamespace: "n"}
	})
	for _, row := range []struct {
		reason   string
		unknown  string
		applied  string // the fields of spec
		notKept  string
		severity finding.Severity
		clusters string
	}{
		{"nothing", "spec.later", "jobOverrides kubernetesResources remoteManaged spaceId", "", "", "a v"},
		{"one that an operator may lack", "spec.jobOverrides", "kubernetesResources remoteManaged spaceId", "mondoo-client spec.jobOverrides", finding.Warning, "a v"},
		{"one that says nothing", "spec.remoteManaged", "jobOverrides kubernetesResources spaceId", "", "", "a v"},
		{"one that every operator has", "spec.spaceId", "jobOverrides kubernetesResources remoteManaged spaceId", "", "", "a v"},
		{"one of an entry", "spec.kubernetesResources.externalClusters.vaultAuth.vaultNamespace", "jobOverrides kubernetesResources remoteManaged spaceId", "v vaultAuth.vaultNamespace", finding.Error, "a"},
		{"one that no entry has", "spec.kubernetesResources.externalClusters.spiffeAuth", "jobOverrides kubernetesResources remoteManaged spaceId", "", "", "a v"},
	} {
		w := newWorld()
		w.Undeclared = map[string]bool{row.unknown: true}
		p := w.compute(d, at("rev1"))
		applied := p.Configs[0].Object["spec"].(map[string]any)
		want(t, row.reason+": applied", strings.Join(slices.Sorted(maps.Keys(applied)), " "), row.applied)
		var notKept string
		for _, step := range p.NotKept {
			notKept += step.Name + " " + step.Fields[0].Path
		}
		want(t, row.reason+": not kept", notKept, row.notKept)
		var severity finding.Severity
		if i := slices.IndexFunc(p.Findings, func(f finding.Finding) bool { return f.Code == plan.CodeNotKept }); i >= 0 {
			severity = p.Findings[i].Severity
		}
		if severity != row.severity {
			t.Errorf("%s: severity %q: %v", row.reason, severity, p.Findings)
		}
		w.apply(t, p, all)
		want(t, row.reason+": clusters", w.names(t, config), row.clusters)
	}
}

// TestUndeclaredFieldsAreTriedAgain: what was left out is remembered, tried again after a day, and not before.
func TestUndeclaredFieldsAreTriedAgain(t *testing.T) {
	d := newFleet().inGit(config, map[string]any{"jobOverrides": map[string]any{"ttlSecondsAfterFinished": float64(60)}}).cluster("1", "a")
	policy := at("rev1")
	policy.Now = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	w := newWorld()
	w.Undeclared = map[string]bool{"spec.jobOverrides": true}
	w.apply(t, w.compute(d, policy), all)
	w.Undeclared = nil // a new process, or another program
	for _, row := range []struct {
		after time.Duration
		steps string
	}{
		{time.Second, ""},
		{plan.RetryNotKept - time.Second, ""},
		{plan.RetryNotKept, "change MondooAuditConfig mondoo-client drift spec.jobOverrides"},
	} {
		later := policy
		later.Now = policy.Now.Add(row.after)
		p := w.compute(d, later)
		want(t, row.after.String(), describe(p), row.steps)
		if row.steps == "" && (len(p.NotKept) != 1 || !p.Empty()) {
			t.Errorf("after %s: not kept %v, empty %t", row.after, p.NotKept, p.Empty())
		}
	}
}
