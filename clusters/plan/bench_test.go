package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/plan"
)

// BenchmarkCompute plans fleets whose clusters have a kubeconfig of 5 KB each: one that is applied already, as every watch
// event does, and one of whose clusters has another kubeconfig.
func BenchmarkCompute(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		fleet, live := benchmarkFleet(b, n)
		b.Run(fmt.Sprintf("%d/unchanged", n), func(b *testing.B) {
			for b.Loop() {
				if !plan.Compute(&fleet.Opened, live.Live, policy()).Empty() {
					b.Fatal("something to do")
				}
			}
		})
		changed := *fleet
		changed.Secrets, changed.Clusters = slices.Clone(changed.Secrets), slices.Clone(changed.Clusters)
		changed.Clusters[n/2].Hash, changed.Secrets[n/2].Hash = "other", "other"
		changed.Secrets[n/2].Data = map[string]string{"kubeconfig": "other"}
		b.Run(fmt.Sprintf("%d/one-changed", n), func(b *testing.B) {
			for b.Loop() {
				if p := plan.Compute(&changed.Opened, live.Live, at("rev2")); len(p.Secrets) != 1 || len(p.Configs) != 0 || len(p.After) != 1 {
					b.Fatal(describe(p))
				}
			}
		})
	}
}

// benchmarkFleet is a fleet of n clusters and a management cluster that has it, and shares no memory with it.
func benchmarkFleet(b *testing.B, n int) (*desired, *world) {
	b.Helper()
	d := newFleet().existing(config)
	for i := range n {
		d.cluster("1", fmt.Sprintf("cluster-%05d", i))
		d.Secrets[i].Data["kubeconfig"] = strings.Repeat(string(rune('a'+i%26)), 5<<10)
	}
	w := newWorld(config)
	p := w.compute(d, policy())
	for _, i := range p.After {
		w.inventory(b, i)
	}
	w.config(b, p.Configs[0])
	for _, s := range p.Secrets {
		data := map[string][]byte{"kubeconfig": []byte(s.Data["kubeconfig"])}
		w.Secrets[s.Name] = plan.LiveSecret{Type: s.Type, Data: data, Labels: merged(s.Labels, nil), Annotations: merged(s.Annotations, nil)}
	}
	return d, w
}
