package compile

import (
	"fmt"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/schedule"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// BenchmarkFleetWide is what the rules about the whole fleet cost for 10,000 clusters.
func BenchmarkFleetWide(b *testing.B) {
	for name, expr := range map[string]string{"fixed": "0 3 * * *", "hashed": "H H * * *", "hashed hours and days": "0 H H * *"} {
		b.Run(name, func(b *testing.B) {
			f := &fleet.Sealed{AuditConfigs: []fleet.AuditConfig{{Name: "mondoo-client"}}}
			for i := range 10_000 {
				c := fleet.Cluster{Name: fmt.Sprintf("cluster-%d", i), AuditConfig: "mondoo-client", Schedule: expr, File: &v1alpha1.ExternalCluster{}}
				resolved, err := schedule.Resolve(expr, schedule.Seed("mondoo-client", c.Name))
				if err != nil {
					b.Fatal(err)
				}
				c.Entry = mondoo.Entry{Name: c.Name, Schedule: resolved, ServiceAccountAuth: &mondoo.ServiceAccountAuth{}}
				f.Clusters = append(f.Clusters, c)
			}
			for b.Loop() {
				f.Findings = nil
				fleetWide(f, Options{PodSecurity: "restricted"}, func(o fleet.Origin, _ []string) finding.Finding { return finding.Finding{Path: o.Path} })
			}
		})
	}
}
