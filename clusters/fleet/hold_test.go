package fleet

import (
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
)

func TestHold(t *testing.T) {
	original := &Opened{Clusters: []Cluster{{Name: "eu", AuditConfig: "a", Origin: Origin{Path: "eu.yaml"}}, {Name: "eu", AuditConfig: "b"}, {Name: "us", AuditConfig: "a", Quarantined: true}},
		Secrets: []Secret{{Name: "1", AuditConfig: "a", Cluster: "eu"}, {Name: "2", AuditConfig: "b", Cluster: "eu"}, {Name: "3"}}}
	f := original.Clone()
	f.Hold(map[[2]string]finding.Finding{{"a", "eu"}: {Code: "not-found", Message: "m"}, {"a", "us"}: {Code: "not-found", Message: "m"}})
	if !f.Clusters[0].Quarantined || f.Clusters[1].Quarantined || !f.Secrets[0].Quarantined || f.Secrets[1].Quarantined || f.Secrets[2].Quarantined {
		t.Errorf("clusters %+v, Secrets %+v", f.Clusters, f.Secrets)
	}
	if len(f.Findings) != 1 || f.Findings[0].Cluster != "eu" || f.Findings[0].Path != "eu.yaml" || f.Findings[0].Severity != finding.Error {
		t.Errorf("findings %+v; a cluster that is in quarantine has its reason already", f.Findings)
	}
	if original.Clusters[0].Quarantined || original.Secrets[0].Quarantined || len(original.Findings) > 0 {
		t.Error("the original has changed")
	}
}
