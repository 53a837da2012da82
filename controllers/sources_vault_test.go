package controllers_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// kv is a real Vault with a KV secrets engine, and a world whose AuditSync reads from it.
type kv struct {
	*world
	vault *server.Vault
}

const kvPolicy = `path "kv/data/clusters/*" { capabilities = ["read"] }`

func newKV(t *testing.T) *kv {
	t.Helper()
	k := &kv{world: newWorld(t)}
	var err error
	k.vault, err = server.StartVault(t.Context(), server.VaultOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, k.vault.Stop()) })
	k.call(http.MethodPost, "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	k.createSecret("vault-token", map[string]string{"token": k.token("reader", kvPolicy)})
	return k
}

func (k *kv) call(method, path string, body any) map[string]any {
	k.Helper()
	var answer map[string]any
	k.eventually(method+" "+path, func() (done bool) { // the engine upgrades itself just after it is mounted
		var err error
		answer, err = k.vault.Call(k.Context(), method, path, body)
		if err != nil && !strings.Contains(err.Error(), "Upgrading from non-versioned") {
			k.Fatal(err)
		}
		return err == nil
	})
	return answer
}

func (k *kv) token(name, policy string) string {
	k.Helper()
	token, err := k.vault.Token(k.Context(), name, policy)
	must(k.T, err)
	return token
}

func (k *kv) put(path string, data map[string]any) {
	k.Helper()
	k.call(http.MethodPost, "kv/data/"+path, map[string]any{"data": data})
}

// source is what the AuditSync allows.
func (k *kv) source() v1alpha1.VaultSource {
	return v1alpha1.VaultSource{Address: k.vault.URL(), CACert: string(k.vault.CA()), Mounts: []v1alpha1.VaultMount{{Mount: "kv", Paths: []string{"clusters/*"}}},
		Auth: v1alpha1.VaultLogin{Token: &v1alpha1.VaultToken{SecretRef: v1alpha1.SecretRef{Name: "vault-token"}}}}
}

func (k *kv) createSync(change func(*v1alpha1.AuditSync)) {
	k.Helper()
	k.world.createSync(func(s *v1alpha1.AuditSync) {
		s.Spec.CredentialSources.Vault = []v1alpha1.VaultSource{k.source()}
		if change != nil {
			change(s)
		}
	})
}

// from is a cluster file whose kubeconfig is in Vault.
func (k *kv) from(name, path string) string {
	return fmt.Sprintf("apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: %s\nspec:\n  kubeconfigFrom:\n    vault:\n      address: %s\n      mount: kv\n      path: %s\n",
		name, k.vault.URL(), path)
}

// kubeconfigOf is a kubeconfig with a token.
func kubeconfigOf(name, token string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":"https://%s.example.com:6443"}}],`+
		`"users":[{"name":"u","user":{"token":%q}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}`, name, token)
}

// applied is the value of a cluster's Secret, "" if there is none.
func (k *kv) applied(cluster, key string) string {
	k.Helper()
	entry, ok := k.entries("mondoo-client")[cluster]
	if !ok {
		return ""
	}
	name := ""
	switch {
	case key == ".dockerconfigjson" && entry.PrivateRegistriesPullSecretRef != nil:
		name = entry.PrivateRegistriesPullSecretRef.Name
	case entry.KubeconfigSecretRef != nil:
		name = entry.KubeconfigSecretRef.Name
	case entry.ServiceAccountAuth != nil:
		name = entry.ServiceAccountAuth.CredentialsSecretRef.Name
	}
	secret := k.secret(name)
	if secret == nil {
		return ""
	}
	return string(secret.Data[key])
}

// findings are the problems of a cluster in the status, as "severity code: message".
func findingsOf(s *v1alpha1.AuditSync, cluster string) (list []string) {
	for _, p := range s.Status.Problems {
		if p.Cluster == cluster {
			list = append(list, fmt.Sprintf("%s %s: %s; %s", p.Severity, p.Code, p.Message, p.Fix))
		}
	}
	return list
}

// TestSourcesVault: the credentials of a cluster come from Vault, and follow it without a commit, in less than a minute.
func TestSourcesVault(t *testing.T) {
	k := newKV(t)
	k.put("clusters/one", map[string]any{"kubeconfig": kubeconfigOf("one", "CANARY-vault-1")})
	commit := k.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/one.yaml": k.from("one", "clusters/one"), "clusters/two.yaml": k.tokenCluster("two", "")})
	k.createSync(func(s *v1alpha1.AuditSync) { s.Spec.Drift = v1alpha1.DriftReport })
	k.startController(nil)
	k.untilReady(commit)
	if got := k.applied("one", "kubeconfig"); got != kubeconfigOf("one", "CANARY-vault-1") {
		t.Fatalf("applied: %q", got)
	}
	first := slices.Collect(maps.Keys(k.entries("mondoo-client")))
	if len(first) != 2 {
		t.Fatalf("entries: %v", first)
	}
	started := time.Now()
	k.put("clusters/one", map[string]any{"kubeconfig": kubeconfigOf("one", "CANARY-vault-2")})
	k.eventually("the rotated kubeconfig is applied", func() bool { return k.applied("one", "kubeconfig") == kubeconfigOf("one", "CANARY-vault-2") })
	took := time.Since(started)
	t.Logf("applied %s after the rotation, without a commit", took.Round(time.Second))
	if took > time.Minute {
		t.Errorf("it took %s", took)
	}
	sync := k.until("in sync", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionInSync).Status == "True"
	})
	if !strings.HasSuffix(sync.Status.LastAppliedRevision, commit) {
		t.Errorf("revision %s", sync.Status.LastAppliedRevision)
	}
}
