package mondoo_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

func object(t testing.TB, text string) map[string]any {
	t.Helper()
	var obj map[string]any
	if err := yaml.Unmarshal([]byte(text), &obj); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return obj
}

func entry(t testing.TB, text string) mondoo.Entry {
	t.Helper()
	e, err := mondoo.ParseEntry(object(t, text))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return e
}

// every has every field of the CRD, in canonical form.
const every = `
name: eu
kubeconfigSecretRef: {name: a}
serviceAccountAuth: {server: "https://a", credentialsSecretRef: {name: b}, skipTLSVerify: true}
workloadIdentity:
  provider: gke
  gke: {projectId: a, clusterName: b, clusterLocation: c, googleServiceAccount: d, endpoint: "https://e"}
  eks: {region: a, clusterName: b, roleArn: c, endpoint: d}
  aks: {subscriptionId: a, resourceGroup: b, clusterName: c, clientId: d, tenantId: e, endpoint: f, loginServer: g}
spiffeAuth: {server: "https://a", socketPath: /a, trustBundleSecretRef: {name: b}, audience: c}
vaultAuth: {server: "https://a", vaultAddr: b, authPath: c, authRole: d, secretsPath: e, credsRole: f, kubernetesNamespace: g, ttl: 1h, caCertSecretRef: {name: h}, targetCACertSecretRef: {name: i}}
schedule: "0 * * * *"
filtering: {namespaces: {include: [a], exclude: [b]}}
containerImageScanning: true
repositories: {include: [a], exclude: [b]}
privateRegistriesPullSecretRef: {name: a}
`

func TestEntryKeepsEveryField(t *testing.T) {
	e := entry(t, every)
	if got, want := e.Canonical().Map(), object(t, every); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestMapIsWhatJSONGives holds Map to encoding/json, so that live objects and made ones can be compared as maps.
func TestMapIsWhatJSONGives(t *testing.T) {
	for _, text := range []string{every, "name: a", "name: a\nfiltering: {}\nrepositories: {}\nserviceAccountAuth: {}\nkubeconfigSecretRef: {}"} {
		e := entry(t, text)
		encoded, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := json.Unmarshal(encoded, &want); err != nil {
			t.Fatal(err)
		}
		if got := e.Map(); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %#v\nwant %#v", got, want)
		}
	}
}

func TestCanonical(t *testing.T) {
	tests := []struct{ reason, entry, want string }{
		{"absent stays absent", "name: a", "name: a"},
		{"an empty filter is written as the operator does", "name: a\nfiltering: {}", "name: a\nfiltering: {namespaces: {}}"},
		{"empty lists choose nothing", "name: a\nfiltering: {namespaces: {include: [], exclude: []}}\nrepositories: {include: []}", "name: a\nfiltering: {namespaces: {}}\nrepositories: {}"},
		{"false is the operator's absent", "name: a\ncontainerImageScanning: false", "name: a"},
		{"TLS default", "name: a\nserviceAccountAuth: {server: s, credentialsSecretRef: {name: b}}", "name: a\nserviceAccountAuth: {server: s, credentialsSecretRef: {name: b}, skipTLSVerify: false}"},
		{"Vault defaults", "name: a\nvaultAuth: {server: s, vaultAddr: v, authRole: r, credsRole: c, caCertSecretRef: {}}",
			"name: a\nvaultAuth: {server: s, vaultAddr: v, authRole: r, credsRole: c, authPath: auth/kubernetes, secretsPath: kubernetes}"},
		{"SPIFFE default", "name: a\nspiffeAuth: {server: s, trustBundleSecretRef: {name: b}}", "name: a\nspiffeAuth: {server: s, trustBundleSecretRef: {name: b}, socketPath: /run/spire/sockets/agent.sock}"},
		{"a reference to nothing", "name: a\nprivateRegistriesPullSecretRef: {}", "name: a"},
		{"nulls", "name: a\nfiltering: null\nschedule: null\nrepositories: null", "name: a"},
		{"what a newer operator has", "name: a\nnewField: {a: [1]}", "name: a"},
	}
	for _, test := range tests {
		e := entry(t, test.entry)
		once := e.Canonical()
		if got, want := once.Map(), object(t, test.want); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", test.reason, got, want)
		}
		if twice := once.Canonical(); !reflect.DeepEqual(once, twice) {
			t.Errorf("%s: canonical form of the canonical form differs", test.reason)
		}
		if !mondoo.Equal(e, once) || len(mondoo.Diff(e, once)) > 0 {
			t.Errorf("%s: reads as drift: %q", test.reason, mondoo.Diff(e, once))
		}
	}
}

func TestCanonicalSharesNothing(t *testing.T) {
	e := entry(t, every)
	before, _ := json.Marshal(e)
	c := e.Canonical()
	c.Filtering.Namespaces.Include[0] = "changed"
	c.Repositories.Exclude[0] = "changed"
	c.KubeconfigSecretRef.Name = "changed"
	c.ServiceAccountAuth.Server = "changed"
	c.WorkloadIdentity.GKE.ProjectID = "changed"
	c.VaultAuth.CACertSecretRef.Name = "changed"
	c.SPIFFEAuth.Server = "changed"
	if after, _ := json.Marshal(e); string(before) != string(after) {
		t.Errorf("changing the canonical form changed the entry: %s", after)
	}
}

func TestDiff(t *testing.T) {
	tests := []struct {
		reason, a, b string
		want         []string
	}{
		{"nothing", every, every, nil},
		{"absent and empty filter differ", "name: a", "name: a\nfiltering: {}", []string{"filtering"}},
		{"absent and empty repositories differ", "name: a\nrepositories: {}", "name: a", []string{"repositories"}},
		{"deep and several, sorted", "name: a\nschedule: x\nvaultAuth: {server: s, ttl: 1h}", "name: b\nschedule: x\nvaultAuth: {server: s}\ncontainerImageScanning: true",
			[]string{"containerImageScanning", "name", "vaultAuth.ttl"}},
		{"order of patterns counts", "name: a\nfiltering: {namespaces: {include: [a, b]}}", "name: a\nfiltering: {namespaces: {include: [b, a]}}", []string{"filtering.namespaces.include"}},
		{"another method", "name: a\nkubeconfigSecretRef: {name: x}", "name: a\nserviceAccountAuth: {server: s}", []string{"kubeconfigSecretRef", "serviceAccountAuth"}},
	}
	for _, test := range tests {
		a, b := entry(t, test.a), entry(t, test.b)
		if got := mondoo.Diff(a, b); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
		if got := mondoo.Diff(b, a); !slices.Equal(got, test.want) {
			t.Errorf("%s, the other way: %q, want %q", test.reason, got, test.want)
		}
		if mondoo.Equal(a, b) != (len(test.want) == 0) {
			t.Errorf("%s: Equal and Diff disagree", test.reason)
		}
	}
}

func TestParseEntryRefuses(t *testing.T) {
	for reason, text := range map[string]string{
		"name is a number":        "name: 1234567",
		"method is text":          "name: a\nvaultAuth: canary",
		"list is text":            "name: a\nfiltering: {namespaces: {include: canary}}",
		"bool is text":            "name: a\ncontainerImageScanning: canary",
		"item is a mapping":       "name: a\nrepositories: {include: [{canary: 1}]}",
		"reference is a list":     "name: a\nkubeconfigSecretRef: [canary]",
		"schedule is a huge text": "name: a\nschedule: [" + strings.Repeat("canary, ", 1000) + "canary]",
	} {
		e, err := mondoo.ParseEntry(object(t, text))
		var shape *mondoo.ShapeError
		if !errors.As(err, &shape) || !reflect.DeepEqual(e, mondoo.Entry{}) {
			t.Errorf("%s: %+v, %v", reason, e, err)
		} else if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "1234567") {
			t.Errorf("%s: the error repeats a value: %v", reason, err)
		}
	}
	if e, err := mondoo.ParseEntry(nil); err != nil || !mondoo.Equal(e, mondoo.Entry{}) {
		t.Errorf("nothing: %+v, %v", e, err)
	}
}

// FuzzParseEntry holds that no object makes ParseEntry or what follows panic, and that the canonical form is never drift.
func FuzzParseEntry(f *testing.F) {
	f.Add(every)
	f.Add("name: a\nfiltering: {namespaces: {include: []}}")
	f.Fuzz(func(t *testing.T, text string) {
		var obj map[string]any
		if yaml.Unmarshal([]byte(text), &obj) != nil {
			return
		}
		e, err := mondoo.ParseEntry(obj)
		if err != nil {
			return
		}
		again, err := mondoo.ParseEntry(e.Canonical().Map())
		if err != nil || !mondoo.Equal(e, again) {
			t.Errorf("%+v came back as %+v, %v", e, again, err)
		}
	})
}
