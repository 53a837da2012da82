package preflight

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// vault gives tokens, and refuses what it is told to.
type vault struct {
	refuses string
	mu      sync.Mutex
	asked   []string
	revoked bool
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, r.URL.Path+" "+r.Header.Get("X-Vault-Token")+" "+string(body))
	token := canary
	switch v.refuses {
	case r.URL.Path:
		encode(w, http.StatusForbidden, map[string]any{"errors": []string{"1 error occurred:\n\t* permission denied for CANARY-operator-token " + r.Header.Get("X-Vault-Token")}})
		return
	case "sealed":
		encode(w, http.StatusServiceUnavailable, map[string]any{"errors": []string{"Vault is sealed"}})
		return
	case "sealed meanwhile":
		if r.URL.Path != "/v1/auth/kubernetes/login" {
			http.Error(w, "", http.StatusServiceUnavailable)
			return
		}
	case "empty":
		token = ""
	}
	switch r.URL.Path {
	case "/v1/auth/kubernetes/login":
		encode(w, http.StatusOK, map[string]any{"auth": map[string]any{"client_token": "CANARY-vault-token"}})
	case "/v1/kubernetes/creds/scan":
		encode(w, http.StatusOK, map[string]any{"lease_id": "kubernetes/creds/scan/1", "data": map[string]any{"service_account_token": token}})
	case "/v1/auth/token/revoke-self":
		v.revoked = true
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

// through is a target whose token comes from a Vault.
func through(t *testing.T, v *vault) Target {
	t.Helper()
	into := target(good(t, newCluster()))
	into.Token = ""
	into.Vault = &VaultLogin{Address: "https://" + serve(t, config(trusted().server(nil)), v), CA: trusted().pem(), ServiceAccountToken: "CANARY-operator-token",
		auth: &mondoo.VaultAuth{AuthRole: "operator", CredsRole: "scan", TTL: "20m"}}
	return into
}

// vaulted checks a target through a Vault that refuses something.
func vaulted(refuses string) func(t *testing.T) Result {
	return func(t *testing.T) Result {
		v := &vault{refuses: refuses}
		into := through(t, v)
		if refuses == "ca" {
			into.Vault.CA = other().pem()
		}
		r := Run(t.Context(), into, options())
		if all := text(r); strings.Contains(all, "CANARY") {
			t.Errorf("a secret in\n%s", all)
		}
		return r
	}
}

// TestVaultLogin: the login is the operator's, and is revoked even when a later step fails.
func TestVaultLogin(t *testing.T) {
	for _, row := range []struct {
		reason, refuses string
		down            bool // the target
		want            []string
		revoked         bool
	}{
		{"all is well", "", false, []string{"/v1/auth/kubernetes/login", "/v1/kubernetes/creds/scan", "/v1/auth/token/revoke-self"}, true},
		{"the target is down", "", true, []string{"/v1/auth/kubernetes/login", "/v1/kubernetes/creds/scan", "/v1/auth/token/revoke-self"}, true},
		{"no credentials", "/v1/kubernetes/creds/scan", false, []string{"/v1/auth/kubernetes/login", "/v1/kubernetes/creds/scan", "/v1/auth/token/revoke-self"}, true},
		{"no login", "/v1/auth/kubernetes/login", false, []string{"/v1/auth/kubernetes/login"}, false},
	} {
		v := &vault{refuses: row.refuses}
		into := through(t, v)
		if row.down {
			into.Server = "https://127.0.0.1:1"
		}
		r := Run(t.Context(), into, options())
		var paths []string
		for _, asked := range v.asked {
			path, _, _ := strings.Cut(asked, " ")
			paths = append(paths, path)
		}
		if !slices.Equal(paths, row.want) || v.revoked != row.revoked || (r.Failure() == nil) != (row.reason == "all is well") {
			t.Errorf("%s: asked %v, revoked: %t\n%s", row.reason, paths, v.revoked, text(r))
		}
		var login map[string]string
		_, body, _ := strings.Cut(v.asked[0], " ")
		if err := json.Unmarshal([]byte(body), &login); err != nil || login["jwt"] != "CANARY-operator-token" || login["role"] != "operator" {
			t.Errorf("%s: logs in with %v: %v", row.reason, login, err)
		}
		if len(v.asked) > 1 && !strings.HasPrefix(v.asked[1], `/v1/kubernetes/creds/scan CANARY-vault-token {"ttl":"20m"}`) {
			t.Errorf("%s: asks %s", row.reason, v.asked[1])
		}
	}
}

// TestNotRevoked: a login that can't be revoked is told, and never hides why the credential doesn't work.
func TestNotRevoked(t *testing.T) {
	for _, row := range []struct {
		reason, refuses string
		down            bool // the target
		want            Cause
		blocks          bool
	}{
		{"all else is well", "/v1/auth/token/revoke-self", false, VaultNotRevoked, false},
		{"the target is down", "/v1/auth/token/revoke-self", true, ConnectRefused, true},
		{"there are no credentials either", "sealed meanwhile", false, VaultUnavailable, true},
	} {
		into := through(t, &vault{refuses: row.refuses})
		if row.down {
			into.Server = "https://127.0.0.1:1"
		}
		r := Run(t.Context(), into, options())
		if f := r.Failure(); f == nil || f.Cause != row.want || (r.Blocks() != nil) != row.blocks {
			t.Errorf("%s: %+v\n%s", row.reason, f, text(r))
		}
	}
}

// TestVaultIsGuarded: Vault's address is checked as that of a cluster is, and no token goes to one that is refused.
func TestVaultIsGuarded(t *testing.T) {
	v := &vault{}
	into := through(t, v)
	o := options()
	o.Allow = nil
	r := Run(t.Context(), into, o)
	if f := r.Failure(); f == nil || f.Cause != VaultUnavailable || len(v.asked) > 0 {
		t.Errorf("asked %v\n%s", v.asked, text(r))
	}
}

func TestThroughVault(t *testing.T) {
	f := &fleet.Opened{Secrets: []fleet.Secret{{Name: "vault-ca", Data: map[string]string{"ca.crt": "V"}}, {Name: "target-ca", Data: map[string]string{"ca.crt": "T"}}}}
	for _, row := range []struct {
		reason            string
		vaultCA, targetCA string
		checked, skips    bool
	}{
		{"both CAs", "vault-ca", "target-ca", true, false},
		{"none, as the operator then does not check the target's certificate", "", "", true, true},
		{"a CA that is not in the repository", "elsewhere", "target-ca", false, false},
	} {
		auth := &mondoo.VaultAuth{Server: "https://target", VaultAddr: "https://vault"}
		if row.vaultCA != "" {
			auth.CACertSecretRef, auth.TargetCACertSecretRef = &mondoo.SecretRef{Name: row.vaultCA}, &mondoo.SecretRef{Name: row.targetCA}
		}
		got := ThroughVault(f, &fleet.Cluster{Name: "eu", Entry: mondoo.Entry{VaultAuth: auth}})
		if (got.NotChecked == "") != row.checked || got.SkipTLSVerify != row.skips || row.checked && (got.Server != "https://target" || got.Vault.Address != "https://vault") {
			t.Errorf("%s: %+v", row.reason, got)
		}
		if row.vaultCA == "vault-ca" && (string(got.Vault.CA) != "V" || string(got.CA) != "T") {
			t.Errorf("%s: the CAs %q and %q", row.reason, got.Vault.CA, got.CA)
		}
	}
}
