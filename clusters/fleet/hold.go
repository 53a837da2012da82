package fleet

import (
	"slices"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Clone returns a fleet whose findings, clusters and Secrets can be replaced without affecting the original. The data of its Secrets
// is still shared.
func (f *Opened) Clone() *Opened {
	clone := *f
	clone.Report = f.Report.Clone()
	clone.Clusters, clone.Secrets = slices.Clone(f.Clusters), slices.Clone(f.Secrets)
	return &clone
}

// Hold quarantines clusters, together with the Secrets that are made for them, and adds a finding with the reason for each. What is applied of
// them stays as it is.
func (f *Opened) Hold(why map[[2]string]finding.Finding) {
	for i := range f.Clusters {
		c := &f.Clusters[i]
		reason, held := why[[2]string{c.AuditConfig, c.Name}]
		if !held || c.Quarantined {
			continue
		}
		c.Quarantined = true
		reason.Severity, reason.Cluster, reason.Path = finding.Error, c.Name, c.Origin.Path
		f.Add(reason)
	}
	for i := range f.Secrets {
		s := &f.Secrets[i]
		if _, held := why[[2]string{s.AuditConfig, s.Cluster}]; held && s.Cluster != "" {
			s.Quarantined = true
		}
	}
	f.Findings = finding.Sorted(f.Findings)
}
