package clusters_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// BenchmarkRender goes from files to a plan, for fleets with an encrypted kubeconfig each: compile is everything up to
// opening, and needs no key; render is all of it.
func BenchmarkRender(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		key := sealtest.NewKey(b)
		repository := files{"f/mondoo-client.yaml": auditConfig("mondoo-client"), "f/kustomization.yaml": "resources: [mondoo-client.yaml]\nlabels: [{pairs: {a: b}}]\n"}
		for i := range n {
			name := fmt.Sprintf("cluster-%04d", i)
			repository["f/"+name+".yaml"] = key.Encrypt(b, "c.yaml", "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: "+name+"\nspec:\n  kubeconfig: |\n"+indent(4, kubeconfig(name)), sealtest.Credentials)
		}
		source := clusters.Source{FS: repository.fs(), Path: "f"}
		opener := key.Opener(b)
		b.Run(fmt.Sprintf("compile/%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := clusters.NewPipeline().Compile(context.Background(), source, options, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("render/%d", n), func(b *testing.B) {
			for b.Loop() {
				p := clusters.NewPipeline()
				sealed, err := p.Compile(context.Background(), source, options, opener)
				if err != nil {
					b.Fatal(err)
				}
				opened, err := p.Open(context.Background(), sealed, opener, &redact.Redactor{}, now)
				if err != nil {
					b.Fatal(err)
				}
				if got := plan.Compute(opened, plan.Live{}, plan.Policy{Revision: "x"}); len(got.Secrets) != n {
					b.Fatalf("%d Secrets", len(got.Secrets))
				}
			}
		})
	}
}
