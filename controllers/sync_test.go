package controllers_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestSync goes through what people do with a repository, on a real API server and a real Git server.
func TestSync(t *testing.T) {
	w := newWorld(t)
	commit := w.push(map[string]string{
		"clusters/mondoo-client.yaml": auditConfigFile,
		"clusters/eu.yaml":            w.tokenCluster("eu", ""),
		"clusters/us.yaml":            w.tokenCluster("us", "  schedule: \"15 3 * * *\"\n"),
	})
	w.startController(nil)
	w.createSync(nil)
	status := w.untilReady(commit).Status
	if got := w.names("mondoo-client"); !slices.Equal(got, []string{"eu", "us"}) {
		t.Fatalf("entries %v", got)
	}
	if status.Clusters.Total != 2 || status.Clusters.Applied != 2 || status.Clusters.Quarantined != 0 {
		t.Errorf("counts %+v", status.Clusters)
	}
	if us := w.entries("mondoo-client")["us"]; us.Schedule != "15 3 * * *" || us.ServiceAccountAuth.Server != "https://us.example.com:6443" {
		t.Errorf("entry %+v", us)
	}
	name := w.entries("mondoo-client")["eu"].ServiceAccountAuth.CredentialsSecretRef.Name
	secret := w.secret(name)
	if secret == nil || string(secret.Data["token"]) != "CANARY-token-of-eu" || secret.Labels["muster.dev/sync"] != syncName {
		t.Fatalf("Secret %s: %+v", name, secret)
	}
	if got, want := secret.Annotations["muster.dev/origin"], "clusters/eu.yaml@"+commit; got != want {
		t.Errorf("origin %q, want %q", got, want)
	}

	t.Run("a cluster is added", func(t *testing.T) {
		w.push(map[string]string{"clusters/asia.yaml": w.tokenCluster("asia", "")})
		w.request()
		if got := w.names("mondoo-client"); !slices.Equal(got, []string{"asia", "eu", "us"}) {
			t.Errorf("entries %v", got)
		}
	})
	t.Run("a cluster is changed", func(t *testing.T) {
		w.push(map[string]string{"clusters/asia.yaml": w.tokenCluster("asia", "  containerImageScanning: true\n")})
		w.request()
		if !w.entries("mondoo-client")["asia"].ContainerImageScanning {
			t.Error("not applied")
		}
	})
	t.Run("a broken file costs itself alone", func(t *testing.T) {
		w.push(map[string]string{
			"clusters/asia.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: [asia\n",
			"clusters/us.yaml":   w.tokenCluster("us", "  schedule: \"20 3 * * *\"\n"),
		})
		status := w.request().Status
		if got := w.names("mondoo-client"); !slices.Equal(got, []string{"asia", "eu", "us"}) {
			t.Errorf("entries %v: the broken one should have stayed", got)
		}
		if us := w.entries("mondoo-client")["us"]; us.Schedule != "20 3 * * *" {
			t.Errorf("the good file was not applied: %+v", us)
		}
		if len(status.Problems) == 0 || !strings.HasPrefix(status.Problems[0].Place, "clusters/asia.yaml:4") || status.Problems[0].Code != "yaml" {
			t.Errorf("problems %+v", status.Problems)
		}
		if ready := condition(status, v1alpha1.ConditionReady); ready.Status != "False" || ready.Reason != "Quarantined" {
			t.Errorf("Ready %+v", ready)
		}
	})
	t.Run("the file is mended", func(*testing.T) {
		commit := w.push(map[string]string{"clusters/asia.yaml": w.tokenCluster("asia", "")})
		w.request()
		w.untilReady(commit)
	})
	t.Run("a cluster is removed", func(t *testing.T) {
		w.push(nil, "clusters/asia.yaml")
		w.request()
		if got := w.names("mondoo-client"); !slices.Equal(got, []string{"eu", "us"}) {
			t.Errorf("entries %v", got)
		}
		if w.secret(tokenSecret("asia")) != nil {
			t.Error("its Secret is still there")
		}
	})
}
