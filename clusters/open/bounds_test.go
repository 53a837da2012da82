package open_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/open"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestManyLines: each opened line is masked, for each cluster that has it. A fleet with too many is refused, and opened once
// there are fewer.
func TestManyLines(t *testing.T) {
	key := sealtest.NewKey(t)
	open.Know(t, 3000)
	var lines strings.Builder
	for i := range 100 {
		fmt.Fprintf(&lines, "%09d\n", i)
	}
	repository := fstest.MapFS{"f/m.yaml": {Data: []byte("apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: mondoo-client}\nspec: {mondooCredsSecretRef: {name: creds}}\n")},
		"f/k": {Data: []byte(key.Encrypt(t, "k", lines.String(), sealtest.Everything))}}
	for i := range 60 {
		repository[fmt.Sprintf("f/c%d.yaml", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: c%d}\nspec: {kubeconfigFile: k}\n", i)}
	}
	pipeline, redactor, opener := clusters.NewPipeline(), &redact.Redactor{}, key.Opener(t)
	for _, many := range []bool{true, false} {
		if !many {
			for i := 10; i < 60; i++ {
				delete(repository, fmt.Sprintf("f/c%d.yaml", i))
			}
		}
		sealed, err := pipeline.Compile(t.Context(), clusters.Source{FS: repository, Path: "f"}, compile.Options{Namespace: "n", Sync: "s", Policy: policy.Policy{Allow: []string{"mondooCredsSecretRef=creds"}}}, opener)
		if err != nil {
			t.Fatal(err)
		}
		fleet, err := pipeline.Open(t.Context(), sealed, opener, redactor, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		refused := false
		for _, f := range fleet.Findings {
			refused = refused || f.Code == load.CodeSize && f.Path == "f" && f.Stops
		}
		if sealed.Stopped || fleet.Stopped != many || refused != many {
			t.Errorf("many %t: stopped %t and %t: %v", many, sealed.Stopped, fleet.Stopped, fleet.Findings[:min(3, len(fleet.Findings))])
		}
	}
}
