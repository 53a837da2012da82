package renew_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/renew"
)

var now = time.Date(2040, 11, 30, 12, 0, 0, 0, time.UTC)

const subject = "system:serviceaccount:scan:eu"

// token is a JSON Web Token with these claims.
func token(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString(payload) + ".CANARY"
}

// bound is the token of a TokenRequest.
func bound(sub, uid string, from, to time.Time) string {
	return token(map[string]any{"sub": sub, "iat": from.Unix(), "exp": to.Unix(), "kubernetes.io": map[string]any{"serviceaccount": map[string]any{"uid": uid}}})
}

func kubeconfig(user string) string {
	return `apiVersion: v1
kind: Config
clusters:
- name: c
  cluster: {server: "https://eu.example.com", certificate-authority-data: ""}
users:
- name: u
  user: {` + user + `}
- name: other
  user: {token: of-the-other}
contexts:
- name: x
  context: {cluster: c, user: u}
current-context: x
`
}

func TestSeedOf(t *testing.T) {
	hour := bound(subject, "uid-1", now, now.Add(time.Hour))
	legacy := token(map[string]any{"sub": subject, "kubernetes.io/serviceaccount/namespace": "scan", "kubernetes.io/serviceaccount/service-account.uid": "uid-1"})
	for _, test := range []struct {
		reason, key, value string
		code               finding.Code
		expires            time.Time
	}{
		{"of a TokenRequest", mondoo.KeyToken, hour, "", now.Add(time.Hour)},
		{"with a line end", mondoo.KeyToken, hour + "\n", "", now.Add(time.Hour)},
		{"of a Secret", mondoo.KeyToken, legacy, "", time.Time{}},
		{"in a kubeconfig", mondoo.KeyKubeconfig, kubeconfig("token: " + hour), "", now.Add(time.Hour)},
		{"that has ended", mondoo.KeyKubeconfig, kubeconfig("token: " + bound(subject, "uid-1", now.Add(-9*time.Hour), now.Add(-time.Hour))), "", now.Add(-time.Hour)},
		{"of a user", mondoo.KeyToken, token(map[string]any{"sub": "alice"}), "renew", time.Time{}},
		{"no JSON Web Token", mondoo.KeyToken, "CANARY", "renew", time.Time{}},
		{"no base64", mondoo.KeyToken, "a.CANARY!.c", "renew", time.Time{}},
		{"no JSON", mondoo.KeyToken, "a." + base64.RawURLEncoding.EncodeToString([]byte("CANARY")) + ".c", "renew", time.Time{}},
		{"claims of other types", mondoo.KeyToken, token(map[string]any{"sub": []string{"CANARY"}}), "renew", time.Time{}},
		{"a namespace that leads elsewhere", mondoo.KeyToken, token(map[string]any{"sub": "system:serviceaccount:..:eu"}), "renew", time.Time{}},
		{"a name that leads elsewhere", mondoo.KeyToken, token(map[string]any{"sub": "system:serviceaccount:scan:a/../../b"}), "renew", time.Time{}},
		{"a name that is a command", mondoo.KeyToken, token(map[string]any{"sub": "system:serviceaccount:scan:a;CANARY"}), "renew", time.Time{}},
		{"no name", mondoo.KeyToken, token(map[string]any{"sub": "system:serviceaccount:scan"}), "renew", time.Time{}},
		{"a password in a kubeconfig", mondoo.KeyKubeconfig, kubeconfig("username: CANARY, password: CANARY"), "renew", time.Time{}},
		{"another credential beside the token", mondoo.KeyKubeconfig, kubeconfig("token: " + hour + ", username: CANARY"), "kubeconfig-invalid", time.Time{}},
		{"a kubeconfig that acts as another user", mondoo.KeyKubeconfig, kubeconfig("token: " + hour + ", as: CANARY"), "renew", time.Time{}},
		{"a plugin", mondoo.KeyKubeconfig, kubeconfig("exec: {command: CANARY, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}"), "kubeconfig-plugin", time.Time{}},
		{"no kubeconfig", mondoo.KeyKubeconfig, "CANARY", "kubeconfig-kind", time.Time{}},
		{"nothing", mondoo.KeyToken, "", "renew", time.Time{}},
	} {
		seed, problem := renew.SeedOf(map[string]string{test.key: test.value})
		var code finding.Code
		if problem != nil {
			code = problem.Code
			if strings.Contains(problem.Message+problem.Fix, "CANARY") {
				t.Errorf("%s: %s", test.reason, problem.Message)
			}
		}
		if code != test.code {
			t.Errorf("%s: %q, want %q", test.reason, code, test.code)
			continue
		}
		if problem == nil && (seed.Account != renew.Account{Namespace: "scan", Name: "eu", UID: "uid-1"} || !seed.Expires.Equal(test.expires) || strings.TrimSpace(seed.Token) != seed.Token) {
			t.Errorf("%s: %+v", test.reason, seed)
		}
	}
}

// TestReplace: only the token of the current user changes.
func TestReplace(t *testing.T) {
	data := map[string]string{mondoo.KeyKubeconfig: kubeconfig("token: old")}
	replaced := renew.Replace(data, "new")
	c, problem := credential.ConnectionOf([]byte(replaced[mondoo.KeyKubeconfig]), now)
	if problem != nil || c.Token != "new" || c.Server != "https://eu.example.com" || !strings.Contains(replaced[mondoo.KeyKubeconfig], "of-the-other") || strings.Contains(replaced[mondoo.KeyKubeconfig], "old") {
		t.Errorf("%v: %s", problem, replaced[mondoo.KeyKubeconfig])
	}
	if again := renew.Replace(data, "new"); again[mondoo.KeyKubeconfig] != replaced[mondoo.KeyKubeconfig] {
		t.Error("the same input gives another text, which would be drift")
	}
	if !strings.Contains(data[mondoo.KeyKubeconfig], "old") {
		t.Error("the input has changed")
	}
	both := renew.Replace(map[string]string{mondoo.KeyToken: "old", mondoo.KeyCACert: "ca"}, "new")
	if both[mondoo.KeyToken] != "new" || both[mondoo.KeyCACert] != "ca" {
		t.Errorf("%v", both)
	}
}

// TestLive: a token in a live Secret counts only with the proof that belongs to it, its Secret and the seed.
func TestLive(t *testing.T) {
	seedOf := func(text string) renew.Seed {
		seed, problem := renew.SeedOf(map[string]string{mondoo.KeyToken: text})
		if problem != nil {
			t.Fatal(problem)
		}
		return seed
	}
	seed := seedOf(token(map[string]any{"sub": subject, "jti": 1}))
	renewed := bound(subject, "uid-1", now, now.Add(time.Hour))
	for _, test := range []struct {
		reason, secret, token, proof string
		taken, known                 bool
	}{
		{"renewed", "s", renewed, seed.Proof("s", renewed), true, true},
		{"the seed itself", "s", seed.Token, "", false, true},
		{"without a proof", "s", renewed, "", false, false},
		{"the proof of another Secret, which is for another server", "s", renewed, seed.Proof("t", renewed), false, false},
		{"the proof of another token", "s", renewed, seed.Proof("s", renewed+"x"), false, false},
		{"renewed from another seed", "s", renewed, seedOf(token(map[string]any{"sub": subject, "jti": 2})).Proof("s", renewed), false, false},
		{"a token of another account, with a proof", "s", bound("system:serviceaccount:scan:us", "u", now, now.Add(time.Hour)),
			seed.Proof("s", bound("system:serviceaccount:scan:us", "u", now, now.Add(time.Hour))), false, false},
		{"a token without an end, with a proof", "s", token(map[string]any{"sub": subject, "jti": 3}), seed.Proof("s", token(map[string]any{"sub": subject, "jti": 3})), false, false},
		{"nothing", "s", "", "", false, false},
	} {
		got, known := seed.Live(test.secret, test.proof, map[string][]byte{mondoo.KeyToken: []byte(test.token)})
		if (got.Value != "") != test.taken || known != test.known || test.taken && (!got.Issued.Equal(now) || !got.Expires.Equal(now.Add(time.Hour))) {
			t.Errorf("%s: %+v, %t", test.reason, got, known)
		}
	}
	if proof := seed.Proof("s", renewed); len(proof) != 64 || strings.Contains(proof, seed.Token[:8]) {
		t.Errorf("the proof is %s", proof)
	}
}

// TestContinue: a plan that is only shown has the tokens that a controller would have.
func TestContinue(t *testing.T) {
	text := token(map[string]any{"sub": subject})
	seed, _ := renew.SeedOf(map[string]string{mondoo.KeyToken: text})
	renewed := bound(subject, "", now.Add(-time.Hour), now.Add(time.Hour))
	live := func(string) (map[string]string, map[string][]byte) {
		return map[string]string{fleet.AnnotationRenewed: seed.Proof("s", renewed)}, map[string][]byte{mondoo.KeyToken: []byte(renewed)}
	}
	f := &fleet.Opened{Secrets: []fleet.Secret{{Name: "s", Renew: time.Hour, Data: map[string]string{mondoo.KeyToken: text}}, {Name: "other", Data: map[string]string{"a": "b"}}}}
	got := renew.Continue(f, live, now)
	if s := got.Secrets[0]; s.Data[mondoo.KeyToken] != renewed || !s.Supplied || s.Annotations[fleet.AnnotationRenewed] == "" || f.Secrets[0].Data[mondoo.KeyToken] != text {
		t.Errorf("%+v", s)
	}
	if s := renew.Continue(f, live, now.Add(2*time.Hour)).Secrets[0]; s.Data[mondoo.KeyToken] != text || !s.Supplied {
		t.Errorf("a token that has ended: %+v", s)
	}
	f.Secrets[0].Renew = 0
	if renew.Continue(f, live, now) != f {
		t.Error("a fleet that renews nothing is copied")
	}
}

// TestCheck: the end of a seed is no problem, and the rest of the credential is checked as ever.
func TestCheck(t *testing.T) {
	ended := bound(subject, "u", now.Add(-9*time.Hour), now.Add(-time.Hour))
	for _, test := range []struct {
		reason string
		data   map[string]string
		codes  string
	}{
		{"a seed that lives for an hour", map[string]string{mondoo.KeyToken: bound(subject, "u", now, now.Add(time.Hour))}, ""},
		{"one that has ended", map[string]string{mondoo.KeyToken: ended}, "info renew-seed-ended"},
		{"one that has ended, in a kubeconfig", map[string]string{mondoo.KeyKubeconfig: kubeconfig("token: " + ended)}, "info renew-seed-ended"},
		{"a user's token", map[string]string{mondoo.KeyToken: "opaque"}, "error renew"},
		{"two tokens", map[string]string{mondoo.KeyToken: "two tokens"}, "error token-form"},
		{"no kubeconfig", map[string]string{mondoo.KeyKubeconfig: "a: b"}, "error kubeconfig-kind"},
	} {
		facts, problems := renew.Check(test.data, now)
		var codes []string
		for _, p := range problems {
			codes = append(codes, fmt.Sprintf("%s %s", p.Severity, p.Code))
			f := finding.Finding{Code: p.Code, Severity: p.Severity, Message: p.Message, Fix: p.Fix}
			if err := f.Check(); err != nil {
				t.Errorf("%s: %v", test.reason, err)
			}
		}
		if got := strings.Join(codes, ", "); got != test.codes || !facts.Expires.IsZero() {
			t.Errorf("%s: %s, expires %s", test.reason, got, facts.Expires)
		}
	}
}

// TestClocks: a clock that is wrong makes no token that is used after its end or that is always due.
func TestClocks(t *testing.T) {
	seed, _ := renew.SeedOf(map[string]string{mondoo.KeyToken: token(map[string]any{"sub": subject})})
	for _, test := range []struct {
		reason string
		skew   time.Duration // of the clock here
		lives  time.Duration // by the clock here; 0 if the token is refused
	}{
		{"the same time", 0, 24 * time.Hour},
		{"ours is behind by a day", -24 * time.Hour, 24 * time.Hour},
		{"ours is ahead by thirteen hours", 13 * time.Hour, 11 * time.Hour},
		{"ours is ahead by more than a lifetime", 25 * time.Hour, 0},
	} {
		here := now.Add(test.skew)
		body := fmt.Sprintf(`{"status":{"token":%q}}`, bound(subject, "", now, now.Add(24*time.Hour)))
		granted, failure := seed.Answer(201, []byte(body), seed.Token, here)
		switch {
		case test.lives == 0:
			if failure == nil || !strings.Contains(failure.Fix, "date -u") {
				t.Errorf("%s: %+v", test.reason, failure)
			}
		case failure != nil:
			t.Errorf("%s: %s", test.reason, failure.Message)
		case granted.Expires.Sub(here) != test.lives || granted.Due(0).Sub(here) != test.lives/2 || granted.Due(0.999).Sub(here) < test.lives*44/100:
			t.Errorf("%s: lives %s, due in %s", test.reason, granted.Expires.Sub(here), granted.Due(0).Sub(here))
		}
	}
}

// TestAnswerShowsNothing: nothing of an answer is shown.
func TestAnswerShowsNothing(t *testing.T) {
	seed, _ := renew.SeedOf(map[string]string{mondoo.KeyToken: token(map[string]any{"sub": subject})})
	for status := 200; status < 600; status++ {
		for _, body := range []string{"", "CANARY", `{"status":{"token":"CANARY"}}`, `{"status":"CANARY"}`, `{"message":"CANARY"}`, `{"status":{"token":"` + seed.Token + `"}}`} {
			granted, failure := seed.Answer(status, []byte(body), "used", now)
			if failure == nil || granted.Value != "" || strings.Contains(failure.Message+failure.Fix, "CANARY") || failure.Message == "" || failure.Fix == "" || failure.Rejected != (status == 401) {
				t.Fatalf("%d %s: %+v", status, body, failure)
			}
		}
	}
}

// TestOldTokens: the token with which was asked is no new one, and neither is the seed. More than an API server answers is no answer.
func TestOldTokens(t *testing.T) {
	seed, _ := renew.SeedOf(map[string]string{mondoo.KeyToken: bound(subject, "", now, now.Add(time.Hour))})
	used, fresh := bound(subject, "", now, now.Add(2*time.Hour)), bound(subject, "", now, now.Add(3*time.Hour))
	for _, test := range []struct {
		reason, token, more string
		granted             bool
	}{
		{"a new one", fresh, "", true},
		{"the one that was used", used, "", false},
		{"the seed", seed.Token, "", false},
		{"a new one in a large answer", fresh, strings.Repeat(" ", 1<<20), false},
	} {
		got, failure := seed.Answer(201, []byte(fmt.Sprintf(`{"status":{"token":%q}}%s`, test.token, test.more)), used, now)
		if (failure == nil) != test.granted || test.granted != (got.Value != "") {
			t.Errorf("%s: %+v", test.reason, failure)
		}
	}
}

// TestCertificate: a client would use the certificate, and not the token.
func TestCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, content []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
	}
	user := "token: " + bound(subject, "", now, now.Add(time.Hour)) + ", client-certificate-data: " + encode("CERTIFICATE", der) + ", client-key-data: " + encode("EC PRIVATE KEY", private)
	if _, problem := renew.SeedOf(map[string]string{mondoo.KeyKubeconfig: kubeconfig(user)}); problem == nil || problem.Code != renew.CodeRenew {
		t.Errorf("%+v", problem)
	}
}

// TestRetry: what has failed is tried again soon, later not so often, and always before the end.
func TestRetry(t *testing.T) {
	s := renew.State{Seed: renew.Seed{Token: "seed"}}
	var waits []string
	for range 8 {
		s.Failed([]renew.Attempt{{With: "seed", Failure: &renew.Failure{Message: "down"}}}, now)
		waits = append(waits, s.Retry(0, now).String())
	}
	if got := strings.Join(waits, " "); got != "30s 1m0s 2m0s 4m0s 8m0s 15m0s 15m0s 15m0s" {
		t.Error(got)
	}
	s.Current = renew.Token{Value: "x", Issued: now, Expires: now.Add(8 * time.Minute)}
	if got := s.Retry(0, now); got != time.Minute {
		t.Errorf("eight minutes before the end, it waits %s", got)
	}
	if got := s.Retry(0, now.Add(8*time.Minute-time.Second)); got != 10*time.Second {
		t.Errorf("at the end, it waits %s", got)
	}
	if got := s.Retry(0.999, now); got < 47*time.Second || got >= time.Minute {
		t.Errorf("spread, it waits %s", got)
	}
}
