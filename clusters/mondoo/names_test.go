package mondoo_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

var whats = []string{mondoo.Kubeconfig, mondoo.ServiceAccount, mondoo.TrustBundle, mondoo.VaultCA, mondoo.TargetCA, mondoo.Registries}

const hash = "0123456789abcdef"

func TestSecretName(t *testing.T) {
	tests := []struct{ reason, auditConfig, cluster, what, want string }{
		{"the usual audit config", "mondoo-client", "prod-eu-west-1", mondoo.Kubeconfig, "mondoo-client-prod-eu-west-1-kubeconfig-" + hash},
		{"one word", "fleet", "prod-eu", mondoo.ServiceAccount, "fleet-prod-eu-service-account-" + hash},
		{"dashes could be cut otherwise", "mondoo-client-eu", "prod", mondoo.Kubeconfig, "mondoo-client-eu.prod-kubeconfig-" + hash},
		{"one word that makes the usual name", "mondoo", "client-eu", mondoo.Kubeconfig, "mondoo.client-eu-kubeconfig-" + hash},
		{"dots", "a.b", "c", mondoo.Registries, "a.b.c-registries-" + hash},
	}
	for _, test := range tests {
		got := mondoo.SecretName(test.auditConfig, test.cluster, test.what, hash)
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.reason, got, test.want)
		}
	}
	// 253 less the dot, 64 digits, -kubeconfig, a dash and the hash.
	long := mondoo.SecretName(strings.Repeat("a", 240), "prod", mondoo.Kubeconfig, hash)
	if len(long) != 253 || !strings.HasPrefix(long, strings.Repeat("a", 160)+".") || !strings.HasSuffix(long, "-kubeconfig-"+hash) {
		t.Errorf("too long: %s", long)
	}
}

// TestSecretNamesAreUnique goes through every short pair over an alphabet that holds what separates, every cut of one
// name, and names at the limit.
func TestSecretNamesAreUnique(t *testing.T) {
	words := []string{""}
	var all []string
	for range 4 {
		var next []string
		for _, w := range words {
			for _, c := range []string{"a", "-", ".", "client", "mondoo", "vault-ca"} {
				next = append(next, w+c)
			}
		}
		words = next
		all = append(all, next...)
	}
	auditConfigs := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return len(validation.IsDNS1123Subdomain(s)) > 0 })
	clusters := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return len(validation.IsDNS1123Label(s)) > 0 })
	for _, n := range []int{153, 159, 160, 161, 162, 170, 177, 200, 252, 253} {
		auditConfigs = append(auditConfigs, strings.Repeat("a", n), strings.Repeat("a.", (n-1)/2)+"a", strings.Repeat("a-", (n-1)/2)+"a")
	}
	clusters = append(clusters, strings.Repeat("a", 62), strings.Repeat("a", 63), strings.Repeat("0", 63))
	auditConfigs, clusters = slices.Compact(slices.Sorted(slices.Values(auditConfigs))), slices.Compact(slices.Sorted(slices.Values(clusters)))
	seen := make(map[string][2]string, len(auditConfigs)*len(clusters))
	for _, what := range []string{mondoo.Kubeconfig, mondoo.VaultCA, mondoo.TargetCA} {
		for _, a := range auditConfigs {
			for _, c := range clusters {
				name := mondoo.SecretName(a, c, what, hash)
				if first, ok := seen[name]; ok {
					t.Fatalf("%s is the name for %q and for %q", name, first, [2]string{a, c + "/" + what})
				}
				seen[name] = [2]string{a, c + "/" + what}
				if len(seen)%64 == 0 && len(validation.IsDNS1123Subdomain(name)) > 0 {
					t.Fatalf("%s is no name of a Secret", name)
				}
			}
		}
	}
}

// TestIsMade: every name of a Secret that Muster makes is known as one by itself, and no other is.
func TestIsMade(t *testing.T) {
	for _, what := range whats {
		for _, auditConfig := range []string{"mondoo-client", "a", "a.b", strings.Repeat("a", 253)} {
			name := mondoo.SecretName(auditConfig, "prod", what, hash)
			if !mondoo.IsMade(name) || !mondoo.IsMade(mondoo.WithHash(name, mondoo.UnknownHash)) || mondoo.WithHash(mondoo.WithHash(name, mondoo.UnknownHash), hash) != name {
				t.Errorf("%s", name)
			}
			if got := mondoo.SecretContent(name); got != what {
				t.Errorf("%s holds %q", name, got)
			}
			if mondoo.IsMade(mondoo.WithoutHash(name)) || mondoo.WithoutHash(name)+"-"+hash != name {
				t.Errorf("%s without its hash: %s", name, mondoo.WithoutHash(name))
			}
		}
	}
	for _, name := range []string{"", "x", hash, "-" + hash, "kubeconfig-" + hash, "eu-" + hash, "eu-kubeconfig", "eu-kubeconfig" + hash, "eu-kubeconfig-7f4hk2m9tg",
		"eu-kubeconfig-0123456789abcdeF", "eu-kubeconfig-0123456789abcde", "eu-kubeconfig-g123456789abcdef", "eu-kubeconfig-0" + hash, "eu-kubeconfig-" + hash + "-x", "eu-kubeconfigs-" + hash} {
		if mondoo.IsMade(name) || mondoo.SecretContent(name) != "" {
			t.Errorf("%q is none", name)
		}
	}
}

// TestListOfContentsIsSound: no what ends in another one after a dash; the uniqueness of names rests on it.
func TestListOfContentsIsSound(t *testing.T) {
	for _, a := range whats {
		if len(mondoo.SecretKeys(a)) == 0 {
			t.Errorf("%s has no keys", a)
		}
		for _, b := range whats {
			if strings.HasSuffix(a, "-"+b) {
				t.Errorf("%s ends in %s", a, b)
			}
		}
	}
	if mondoo.SecretKeys("else") != nil || mondoo.SecretType("else") != "Opaque" || mondoo.SecretType(mondoo.Registries) != "kubernetes.io/dockerconfigjson" {
		t.Error("keys or types of what isn't in the list")
	}
}

func TestScanLabels(t *testing.T) {
	want := map[string]string{"app": "mondoo-k8s-scan", "scan": "k8s", "mondoo_cr": "mondoo-client", "cluster_name": "eu"}
	if got := mondoo.ScanLabels("mondoo-client", "eu"); !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := mondoo.WorkloadIdentityServiceAccount("mondoo-client", "eu"); got != "mondoo-client-wif-eu" {
		t.Error(got)
	}
}

func TestScanName(t *testing.T) {
	for _, test := range []struct {
		auditConfig, cluster, want string
		hashed                     bool
	}{
		{"mondoo-client", "eu", "mondoo-k8s-scan-eu", false},
		{"mondoo-client-x", "eu", "mondoo-k8s-scan-x-eu", false},
		{"mondoo-clients", "eu", "mondoo-k8s-scan-mondoo-clients-eu", false},
		{"other", "eu", "mondoo-k8s-scan-other-eu", false},
		{"other", strings.Repeat("c", 30), "mondoo-k8s-scan-other-" + strings.Repeat("c", 30), false},
		{"other", strings.Repeat("c", 31), "mondoo-k8s-scan-other-" + strings.Repeat("c", 31), true},
	} {
		if name, hashed := mondoo.ScanName(test.auditConfig, test.cluster); name != test.want || hashed != test.hashed {
			t.Errorf("%s, %s: %s, %t", test.auditConfig, test.cluster, name, hashed)
		}
	}
}
