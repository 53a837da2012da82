package controllers_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/getsops/sops/v3/hcvault"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// vaultKey is a transit key as hc_vault_transit_uri in .sops.yaml names it.
func vaultKey(t *testing.T, v *server.Vault, name string) *sealtest.ServiceKey {
	t.Helper()
	master, err := hcvault.NewMasterKeyFromURI(v.URL() + "/v1/transit/keys/" + name)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(v.CA())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	return &sealtest.ServiceKey{Master: master, Seal: func(dataKey []byte) ([]byte, error) {
		k := *master
		hcvault.Token(v.RootToken()).ApplyToMasterKey(&k)
		hcvault.NewHTTPClient(client).ApplyToMasterKey(&k)
		err := k.Encrypt(dataKey)
		return []byte(k.EncryptedKey), err
	}}
}

// vaultCluster is a cluster file whose token is encrypted for Vault.
func (w *world) vaultCluster(name string, key sealtest.Recipient) string {
	w.Helper()
	return sealtest.Encrypt(w.T, name+".yaml", fmt.Sprintf(`apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata:
  name: %s
spec:
  serviceAccountAuth:
    server: https://%[1]s.example.com:6443
    token: CANARY-token-of-%[1]s
    caCert: |
%s`, name, indent(string(plane.CACert()))), sealtest.Credentials, 0, sealtest.Group{key})
}

// TestKeysInVault: files that Vault has the keys of are applied, with age beside it; a server that the AuditSync does not name
// is not asked, and the token is changed without a restart.
func TestKeysInVault(t *testing.T) {
	w := newWorld(t)
	v, err := server.StartVault(t.Context(), server.VaultOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, v.Stop()) })
	must(t, v.EnableTransit(t.Context(), "transit", "muster"))
	token := func() string {
		token, err := v.Token(t.Context(), "muster", `path "transit/decrypt/muster" { capabilities = ["update"] }`)
		must(t, err)
		return token
	}
	first := token()
	w.createSecret("vault-keys", map[string]string{"age.agekey": w.key.Private(), "sops.vault-token": first, "vault.ca.crt": string(v.CA())})
	key := vaultKey(t, v, "muster")
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/one.yaml": w.vaultCluster("one", key),
		"clusters/two.yaml": w.tokenCluster("two", "")})
	w.createSync(func(s *v1alpha1.AuditSync) {
		s.Spec.Decryption = &v1alpha1.Decryption{SecretRef: v1alpha1.SecretRef{Name: "vault-keys"}, Vault: &v1alpha1.VaultDecryption{Addresses: []string{v.URL()}}}
	})
	w.startController(nil)
	w.untilReady(commit)
	if got := w.names("mondoo-client"); len(got) != 2 {
		t.Fatalf("applied: %v", got)
	}
	if got := string(w.secret(tokenSecret("one")).Data["token"]); got != "CANARY-token-of-one" {
		t.Errorf("the token of the cluster is %q", got)
	}

	// Another token in the Secret, and the first one gone.
	secret := w.secret("vault-keys")
	secret.Data["sops.vault-token"] = []byte(token())
	must(t, w.admin.Update(t.Context(), secret))
	_, err = v.Call(t.Context(), http.MethodPost, "auth/token/revoke", map[string]string{"token": first})
	must(t, err)
	commit = w.push(map[string]string{"clusters/three.yaml": w.vaultCluster("three", key)})
	w.request()
	w.untilReady(commit)

	// Whoever may change the AuditSync says which servers are asked; the file does not.
	asked, err := v.Requests()
	must(t, err)
	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Decryption.Vault.Addresses = []string{"https://vault.example.com"} })
	sync := w.until("the files of Vault are quarantined", func(s *v1alpha1.AuditSync) bool {
		return s.Status.Clusters != nil && s.Status.Clusters.Quarantined == 2
	})
	var broken []string
	for _, p := range sync.Status.Problems {
		if p.Severity == "error" {
			broken = append(broken, p.Cluster)
		}
	}
	if strings.Join(broken, " ") != "one three" {
		t.Errorf("problems: %+v", sync.Status.Problems)
	}
	if got := w.names("mondoo-client"); len(got) != 3 {
		t.Errorf("what was applied before is gone: %v", got)
	}
	since, err := v.Requests()
	must(t, err)
	if len(since) != len(asked) {
		t.Errorf("Vault was asked: %+v", since[len(asked):])
	}
}

// TestDecryptionIsChecked: the API server refuses what could not be meant, or would allow too much.
func TestDecryptionIsChecked(t *testing.T) {
	w := newWorld(t)
	type decryption = v1alpha1.Decryption
	vault := func(addresses ...string) decryption {
		return decryption{Vault: &v1alpha1.VaultDecryption{Addresses: addresses}}
	}
	aws := func(keys, roles []string) decryption {
		return decryption{AWS: &v1alpha1.AWSDecryption{Keys: keys, Roles: roles}}
	}
	gcp := func(keys ...string) decryption { return decryption{GCP: &v1alpha1.GCPDecryption{Keys: keys}} }
	azure := func(keys ...string) decryption { return decryption{Azure: &v1alpha1.AzureDecryption{Keys: keys}} }
	const arn = "arn:aws:kms:eu-west-1:111122223333:"
	for i, row := range []struct {
		reason string
		spec   decryption
		says   string // empty where the API server takes it
	}{
		{"servers", vault("https://vault.example.com:8200", "https://vault.example.com/", "http://127.0.0.1:8200", "http://[::1]:8200", "http://localhost"), ""},
		{"no server", vault(), "spec.decryption.vault.addresses"},
		{"a server twice", vault("https://a", "https://a"), "Duplicate"},
		{"a server without TLS", vault("http://vault.example.com"), "https://host"},
		{"a server whose name begins with a loopback address", vault("http://127.0.0.1.example.com"), "https://host"},
		{"a path", vault("https://vault.example.com/v1/x"), "https://host"},
		{"credentials", vault("https://user:pw@vault.example.com"), "https://host"},
		{"a query", vault("https://vault.example.com?x"), "https://host"},
		{"any server", vault("*"), "https://host"},
		{"a namespace that leads out", decryption{Vault: &v1alpha1.VaultDecryption{Addresses: []string{"https://a"}, Namespace: "a b"}}, "spec.decryption.vault.namespace"},
		{"keys of AWS", aws([]string{arn + "key/1234", arn + "alias/fleet", arn + "key/*", arn + "*"}, []string{"arn:aws:iam::111122223333:role/path/fleet"}), ""},
		{"all accounts", aws([]string{"arn:aws:kms:eu-west-1:*"}, nil), "arn:aws:kms:REGION:ACCOUNT:key/ID"},
		{"everything", aws([]string{"*"}, nil), "arn:aws:kms:REGION:ACCOUNT:key/ID"},
		{"any role", aws([]string{arn + "*"}, []string{"arn:aws:iam::111122223333:role/*"}), "arn:aws:iam::ACCOUNT:role/NAME"},
		{"keys of Google", gcp("projects/fleet/locations/global/keyRings/r/cryptoKeys/k", "projects/fleet/*"), ""},
		{"all projects", gcp("projects/*"), "projects/P"},
		{"keys of Azure", azure("https://fleet.vault.azure.net/keys/sops/0123", "https://fleet.vault.azure.net/*"), ""},
		{"a host that is not Azure's", azure("https://fleet.vault.azure.net.example.com/*"), "https://NAME.vault.azure.net"},
	} {
		row.spec.SecretRef.Name = "sops-keys"
		err := w.admin.Create(t.Context(), &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: fmt.Sprint("sync-", i)},
			Spec: v1alpha1.AuditSyncSpec{Source: v1alpha1.Source{URL: w.url}, Suspend: true, Decryption: &row.spec}})
		switch {
		case row.says == "" && err != nil:
			t.Errorf("%s: refused: %v", row.reason, err)
		case row.says != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), row.says)):
			t.Errorf("%s: %v; want it to say %q", row.reason, err, row.says)
		}
	}
}
