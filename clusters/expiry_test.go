package clusters_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// An opened fleet says of each cluster when its credentials expire, whether they were opened just now or before.
func TestExpiry(t *testing.T) {
	const day = 24 * time.Hour
	key := sealtest.NewKey(t)
	opener, redactor, pipeline := key.Opener(t), &redact.Redactor{}, clusters.NewPipeline()
	expiring := func(days int) string {
		claims := fmt.Sprintf(`{"exp":%d}`, now.Add(time.Duration(days)*day).Unix())
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + canary
	}
	cluster := func(name, spec string) string {
		return key.Encrypt(t, name+".yaml", "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: "+name+"\nspec:\n"+indent(2, spec), sealtest.Credentials)
	}
	serviceAccount := func(name string, days, caDays int) string {
		return cluster(name, "serviceAccountAuth:\n  server: https://"+name+".example.com\n  token: "+expiring(days)+"\n  caCert: |\n"+
			indent(4, certificate(now.AddDate(-1, 0, 0), now.Add(time.Duration(caDays)*day))))
	}
	repository := files{
		"clusters/mondoo-client.yaml": auditConfig("mondoo-client"),
		"clusters/token.yaml":         serviceAccount("token", 100, 200),
		"clusters/ca.yaml":            serviceAccount("ca", 200, 100),
		"clusters/expired.yaml":       serviceAccount("expired", -1, 200),
		"clusters/forever.yaml":       cluster("forever", "kubeconfig: |\n"+indent(2, kubeconfig("forever"))),
		"clusters/elsewhere.yaml":     cluster("elsewhere", "kubeconfigSecretRef: {name: elsewhere}\n"),
		"clusters/manifest.yaml":      cluster("manifest", "serviceAccountAuth: {server: 'https://m.example.com', credentialsSecretRef: {name: s}}\n"),
		"clusters/s.yaml": key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  token: "+expiring(50)+"\n  ca.crt: |\n"+
			indent(4, certificate(now.AddDate(-1, 0, 0), now.Add(300*day))), sealtest.Credentials),
	}
	ca := 3650 // of the kubeconfig
	want := map[string]int{"token": 100, "ca": 100, "expired": -1, "forever": ca, "elsewhere": 0, "manifest": 50}
	check := func(reason string) {
		t.Helper()
		sealed, err := pipeline.Compile(context.Background(), clusters.Source{FS: repository.fs(), Path: "clusters"}, options, opener)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := pipeline.Open(context.Background(), sealed, opener, redactor, now)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, c := range opened.Clusters {
			got[c.Name] = 0
			if len(c.Terms) > 0 && !c.Terms[0].Until.Equal(c.Expires) || len(c.Terms) == 0 && !c.Expires.IsZero() {
				t.Errorf("%s: %s expires %s, and its first term is of %v", reason, c.Name, c.Expires, c.Terms)
			}
			if !c.Expires.IsZero() {
				got[c.Name] = int(c.Expires.Sub(now) / day)
			}
			if c.Quarantined != (c.Name == "expired") {
				t.Errorf("%s: %s is quarantined: %t; %v", reason, c.Name, c.Quarantined, opened.Findings)
			}
		}
		if got["forever"] > 3600 { // ten years have two or three leap days
			got["forever"] = ca
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: the days left are %v, want %v", reason, got, want)
		}
	}
	check("all are opened")
	repository["clusters/token.yaml"] = serviceAccount("token", 20, 200)
	want["token"] = 20
	check("one has changed, and the others are remembered")
	delete(repository, "clusters/ca.yaml")
	delete(want, "ca")
	check("one is gone")
}
