package keys_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/getsops/sops/v3/hcvault"
	sopslog "github.com/getsops/sops/v3/logging"
	"github.com/sirupsen/logrus"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/server"
)

func TestMain(m *testing.M) {
	sopslog.SetLevel(logrus.PanicLevel)
	os.Exit(m.Run())
}

// decryptOnly is the policy in the documentation.
const decryptOnly = `path "transit/decrypt/*" { capabilities = ["update"] }`

// vault is a real Vault server with a transit engine.
type vault struct {
	*server.Vault
	t     *testing.T
	token string
}

func startVault(t *testing.T) *vault {
	t.Helper()
	server.SkipShort(t)
	v, err := server.StartVault(t.Context(), server.VaultOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := v.EnableTransit(t.Context(), "transit", "muster", "other"); err != nil {
		t.Fatal(err)
	}
	return &vault{v, t, issue(t, v, "decrypt", decryptOnly)}
}

func issue(t *testing.T, v *server.Vault, name, policy string) string {
	t.Helper()
	token, err := v.Token(t.Context(), name, policy)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// key is a recipient in the form of hc_vault_transit_uri in .sops.yaml.
func (v *vault) key(name string) *sealtest.ServiceKey {
	v.t.Helper()
	master, err := hcvault.NewMasterKeyFromURI(v.URL() + "/v1/transit/keys/" + name)
	if err != nil {
		v.t.Fatal(err)
	}
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

func (v *vault) policy() keys.Policy { return keys.Policy{VaultAddresses: []string{v.URL() + "/"}} }

func (v *vault) fields(token string) map[string]string {
	return map[string]string{"sops.vault-token": token + "\n", "vault.ca.crt": string(v.CA())}
}

func (v *vault) ring(remote *keys.Remote, token string) *keys.Ring {
	v.t.Helper()
	ring, err := remote.Ring("sops-keys", text(v.fields(token)), v.policy())
	if err != nil {
		v.t.Fatal(err)
	}
	return ring
}

// asked returns how many decrypt requests transit received.
func (v *vault) asked() int {
	v.t.Helper()
	requests, err := v.Requests()
	if err != nil {
		v.t.Fatal(err)
	}
	n := 0
	for _, r := range requests {
		if strings.HasPrefix(r.Path, "transit/decrypt/") {
			n++
		}
	}
	return n
}

func (v *vault) call(method, path string, body any) {
	v.t.Helper()
	if _, err := v.Call(v.t.Context(), method, path, body); err != nil {
		v.t.Fatal(err)
	}
}

// check opens a file with a ring and compares the outcome.
func check(t *testing.T, reason string, ring *keys.Ring, file, want string) {
	t.Helper()
	_ = verdict(t, reason, ring, file, want) // already compared
}

// verdict is like check, and returns the error. The error must never contain a credential.
func verdict(t *testing.T, reason string, ring *keys.Ring, file, want string) error {
	t.Helper()
	err := open(t, ring, file)
	if got := outcome(err); got != want {
		t.Errorf("%s: %s, want %s (%v)", reason, got, want, err)
	}
	for _, secret := range ring.Secrets() {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error holds a secret", reason)
		}
	}
	return err
}

// TestVaultTransit covers the outcomes for files whose keys are in a real Vault.
func TestVaultTransit(t *testing.T) {
	v := startVault(t)
	time := newClock()
	fresh := func() *keys.Remote { return keys.NewRemote(time.Now) }
	file := sopsFile(t, 0, sealtest.Group{v.key("muster")})

	check(t, "a token that may decrypt", v.ring(fresh(), v.token), file, "open")
	check(t, "no token of this Vault", v.ring(fresh(), "hvs.CANARYCANARYCANARY"), file, "Denied")
	check(t, "a token that may not decrypt with this key", v.ring(fresh(), issue(t, v.Vault, "narrow", strings.Replace(decryptOnly, "*", "other", 1))), file, "Denied")

	revoked := issue(t, v.Vault, "decrypt", decryptOnly)
	v.call(http.MethodPost, "auth/token/revoke", map[string]string{"token": revoked})
	check(t, "a revoked token", v.ring(fresh(), revoked), file, "Denied")

	v.call(http.MethodPost, "transit/keys/muster/rotate", nil)
	check(t, "a transit key that was rotated since", v.ring(fresh(), v.token), file, "open")
	check(t, "a file of the rotated key", v.ring(fresh(), v.token), sopsFile(t, 0, sealtest.Group{v.key("muster")}), "open")
	v.call(http.MethodPost, "transit/keys/muster/config", map[string]any{"min_decryption_version": 2})
	check(t, "a file of a version that is retired", v.ring(fresh(), v.token), file, "Rejected")
	v.call(http.MethodPost, "transit/keys/muster/config", map[string]any{"min_decryption_version": 1})

	if err := v.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := verdict(t, "sealed", v.ring(fresh(), v.token), file, "unavailable")
	if err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("sealed: the error does not say so: %v", err)
	}
	if err := v.Unseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.SetDown(true)
	check(t, "unreachable", v.ring(fresh(), v.token), file, "unavailable")
	v.SetDown(false)
	check(t, "back again", v.ring(fresh(), v.token), file, "open")

	noCA, err := fresh().Ring("sops-keys", text(map[string]string{"sops.vault-token": v.token}), v.policy())
	if err != nil {
		t.Fatal(err)
	}
	if err := verdict(t, "a certificate of an unknown authority", noCA, file, "unavailable"); err != nil && !strings.Contains(err.Error(), "vault.ca.crt") {
		t.Errorf("the error does not say where the CA goes: %v", err)
	}
}

// TestVaultNotAllowed: an address in a file that the AuditSync doesn't list is not contacted, and the error explains the fix (CVE-2026-40161 of
// Tekton sent a token to an address from a file).
func TestVaultNotAllowed(t *testing.T) {
	v := startVault(t)
	file := sopsFile(t, 0, sealtest.Group{v.key("muster")})
	before := v.asked()
	ring, err := keys.NewRemote(newClock().Now).Ring("sops-keys", text(v.fields(v.token)), keys.Policy{VaultAddresses: []string{"https://vault.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	err = verdict(t, "another address", ring, file, "NotAllowed")
	for _, part := range []string{v.URL(), "spec.decryption.vault.addresses"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in the error: %v", part, err)
		}
	}
	if v.asked() != before {
		t.Error("Vault was asked")
	}
}

// TestVaultWithAge: several recipients, and groups of which two are needed.
func TestVaultWithAge(t *testing.T) {
	v := startVault(t)
	first, second := sealtest.NewKey(t), sealtest.NewKey(t)
	either := sopsFile(t, 0, sealtest.Group{first, v.key("muster")})
	groups := sopsFile(t, 2, sealtest.Group{first}, sealtest.Group{v.key("muster")}, sealtest.Group{second})
	for _, row := range []struct {
		reason         string
		age            []*sealtest.Key
		vault          bool
		down           bool
		either, groups string
	}{
		{"age and Vault", []*sealtest.Key{first}, true, false, "open", "open"},
		{"Vault alone", nil, true, false, "open", "no key"},
		{"age alone", []*sealtest.Key{first}, false, false, "open", "NotAllowed"},
		{"both age keys", []*sealtest.Key{first, second}, false, false, "open", "open"},
		{"the other age key, and Vault", []*sealtest.Key{second}, true, false, "open", "open"},
		{"age, and a Vault that is down", []*sealtest.Key{first}, true, true, "open", "unavailable"},
	} {
		fields := map[string]string{}
		for i, key := range row.age {
			fields[fmt.Sprint(i, ".agekey")] = key.Private()
		}
		var policy keys.Policy
		if row.vault {
			policy = v.policy()
			maps.Copy(fields, v.fields(v.token))
		}
		ring, err := keys.NewRemote(newClock().Now).Ring("sops-keys", text(fields), policy)
		if err != nil {
			t.Fatal(err)
		}
		v.SetDown(row.down)
		check(t, row.reason+", one group", ring, either, row.either)
		check(t, row.reason+", two of three groups", ring, groups, row.groups)
		v.SetDown(false)
	}
}

// TestDataKeysAreKept: a data key is requested once within its lifetime, by any number of callers and syncs, but not shared with
// another credential.
func TestDataKeysAreKept(t *testing.T) {
	v := startVault(t)
	time := newClock()
	remote := keys.NewRemote(time.Now)
	file := sopsFile(t, 0, sealtest.Group{v.key("muster")})
	asks := func(reason string, want int, what func()) {
		t.Helper()
		before := v.asked()
		what()
		if got := v.asked() - before; got != want {
			t.Errorf("%s: Vault was asked %d times, want %d", reason, got, want)
		}
	}
	asks("many at once", 1, func() {
		ring := v.ring(remote, v.token)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { check(t, "many at once", ring, file, "open") })
		}
		all.Wait()
	})
	asks("another sync with the same credential", 0, func() { check(t, "another sync", v.ring(remote, v.token), file, "open") })
	asks("another file", 1, func() {
		check(t, "another file", v.ring(remote, v.token), sopsFile(t, 0, sealtest.Group{v.key("muster")}), "open")
	})

	// Rotation: the Secret has a new token, and the old one is revoked. No restart is needed.
	rotated := issue(t, v.Vault, "decrypt", decryptOnly)
	asks("a new token", 1, func() { check(t, "a new token", v.ring(remote, rotated), file, "open") })
	v.call(http.MethodPost, "auth/token/revoke", map[string]string{"token": v.token})
	asks("another wrong token", 1, func() { check(t, "another wrong token", v.ring(remote, "hvs.CANARYCANARYCANARY"), file, "Denied") })

	// A token that is revoked but still in the Secret opens previously opened files, but no new ones, and only for a limited
	// time.
	asks("revoked, what it opened before", 0, func() { check(t, "revoked, before", v.ring(remote, v.token), file, "open") })
	asks("revoked, a new file", 1, func() {
		check(t, "revoked, a new file", v.ring(remote, v.token), sopsFile(t, 0, sealtest.Group{v.key("muster")}), "Denied")
	})
	time.advance(keys.Lifetime)
	if v.ring(remote, v.token); remote.Held() != 0 {
		t.Error("data keys whose time is over are still in memory at the next sync")
	}
	asks("revoked, after the lifetime", 1, func() { check(t, "revoked, after the lifetime", v.ring(remote, v.token), file, "Denied") })
	if held := remote.Held(); held != 0 {
		t.Errorf("%d data keys are still in memory", held)
	}
	asks("the new token, after the lifetime", 1, func() { check(t, "the new token", v.ring(remote, rotated), file, "open") })
}

// TestManyFilesOfAVaultThatIsDown: after a few failures, no request waits for the server until it may be back.
func TestManyFilesOfAVaultThatIsDown(t *testing.T) {
	v := startVault(t)
	time := newClock()
	remote := keys.NewRemote(time.Now)
	ring := v.ring(remote, v.token)
	var files []string
	for range keys.FailuresInARow + 5 {
		files = append(files, sopsFile(t, 0, sealtest.Group{v.key("muster")}))
	}
	dials := countDials(remote)
	v.SetDown(true)
	for i, file := range files {
		err := verdict(t, "down", ring, file, "unavailable")
		if alone := strings.Contains(fmt.Sprint(err), "times in a row"); alone != (i >= keys.FailuresInARow) {
			t.Errorf("file %d: %v", i, err)
		}
	}
	if got, most := dials(), keys.FailuresInARow*keys.MaxAttempts*2; got > most {
		t.Errorf("%d connections, want %d at most", got, most)
	}
	v.SetDown(false)
	check(t, "left alone for a while, also when it is back", ring, files[0], "unavailable")
	time.advance(keys.LeftAlone)
	for _, file := range files {
		check(t, "back", ring, file, "open")
	}
}

// TestWrongCAIsNobodyElsesTrouble: a server that one AuditSync can't reach because of a wrong CA certificate is still asked for
// the others.
func TestWrongCAIsNobodyElsesTrouble(t *testing.T) {
	v := startVault(t)
	remote := keys.NewRemote(newClock().Now)
	other := httptest.NewTLSServer(nil)
	defer other.Close()
	fields := v.fields(v.token)
	fields[keys.VaultCAField] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw}))
	wrong, err := remote.Ring("sops-keys", text(fields), v.policy())
	if err != nil {
		t.Fatal(err)
	}
	file := sopsFile(t, 0, sealtest.Group{v.key("muster")})
	for range keys.FailuresInARow {
		check(t, "a wrong CA certificate", wrong, file, "unavailable")
	}
	if err := verdict(t, "a wrong CA certificate", wrong, file, "unavailable"); !strings.Contains(fmt.Sprint(err), "times in a row") {
		t.Errorf("it is asked for ever: %v", err)
	}
	check(t, "the right one", v.ring(remote, v.token), file, "open")
}

// TestVaultPaths: a name in a file only becomes part of a request's address if it is valid in transit.
func TestVaultPaths(t *testing.T) {
	ring, err := keys.NewRemote(newClock().Now).Ring("sops-keys", text(map[string]string{"sops.vault-token": "hvs.x"}),
		keys.Policy{VaultAddresses: []string{"https://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ address, engine, key, reason string }{
		{"https://127.0.0.1:1", "transit/../sys", "x", "a way up"},
		{"https://127.0.0.1:1", "transit", "..", "a way up as the key"},
		{"https://127.0.0.1:1", "transit%2f..", "x", "escapes"},
		{"https://127.0.0.1:1", "transit", "x?y", "a query"},
		{"https://127.0.0.1:1", "transit", "x/../../sys", "a path as the key"},
		{"https://127.0.0.1:1", "", "x", "no engine"},
		{"https://127.0.0.1:1", "transit", "", "no key"},
		{"https://127.0.0.1:1/x", "transit", "x", "an address with a path"},
		{"https://user@127.0.0.1:1", "transit", "x", "an address with a user"},
		{"https://127.0.0.1:1?x", "transit", "x", "an address with a query"},
		{"http://127.0.0.1:1", "transit", "x", "not encrypted"},
		{"https://127.0.0.1", "transit", "x", "another port"},
		{"https://127.0.0.1:1@evil.example.com", "transit", "x", "another host"},
		{"https://127.0.0.1:1.evil.example.com", "transit", "x", "a host that begins alike"},
		{"//127.0.0.1:1", "transit", "x", "no scheme"},
		{"", "transit", "x", "no address"},
	} {
		_, err := ring.Decrypt(t.Context(), vaultRequest(row.address, row.engine, row.key))
		var refused *keys.RefusedError
		if !errors.As(err, &refused) || refused.Cause != keys.NotAllowed {
			t.Errorf("%s: %v", row.reason, err)
		}
	}
	_, err = ring.Decrypt(t.Context(), vaultRequest("HTTPS://127.0.0.1:1/", "team/transit", "x"))
	if !errors.As(err, new(*keys.UnavailableError)) {
		t.Errorf("the allowed address: %v, want that it was asked", err)
	}
}
