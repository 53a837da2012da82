package main

import (
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestExplainPreflight: explain tells what the controller knows about the cluster's credential, and nothing of other clusters.
func TestExplainPreflight(t *testing.T) {
	e := explainer{folder: &folder{shell: &shell{}}, name: "eu"}
	sync := &v1alpha1.AuditSync{}
	sync.Status.Problems = []v1alpha1.Problem{
		{Code: "preflight-failed", Severity: "warning", Cluster: "us", Message: "of another cluster", Fix: "f"},
		{Code: "schedule", Severity: "error", Cluster: "eu", Message: "known from the file", Fix: "f"},
		{Code: "preflight-failed", Severity: "error", Cluster: "eu", Place: "clusters/eu.yaml", Message: "the token expired", Fix: "issue a new one"},
	}
	got := e.preflighted(sync)
	want := finding.Finding{Code: "preflight-failed", Severity: finding.Error, Cluster: "eu", Path: "clusters/eu.yaml", Message: "the token expired", Fix: "issue a new one"}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v", got)
	}
	if e.preflighted(nil) != nil {
		t.Error("findings without an AuditSync")
	}
}
