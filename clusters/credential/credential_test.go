package credential_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
)

func TestToken(t *testing.T) {
	far := now.Add(365 * days)
	tests := []struct {
		reason, token string
		want          []string
		expires       time.Time
	}{
		{"opaque", "abc.canary~+/=", nil, time.Time{}},
		{"bootstrap", "abcdef.0123456789abcdef", nil, time.Time{}},
		{"without an end", jwt(`{"sub":"canary"}`), nil, time.Time{}},
		{"with an end", expiring(far), nil, far},
		{"before the notice", expiring(now.Add(credential.Notice + time.Second)), nil, now.Add(credential.Notice + time.Second)},
		{"expires soon", expiring(now.Add(credential.Notice)), []string{"warning token-expiring"}, now.Add(credential.Notice)},
		{"expires now", expiring(now), []string{"error token-expired"}, now},
		{"fraction of a second", jwt(`{"exp":1.5}`), []string{"error token-expired"}, time.Unix(1, 0)},
		{"end that is no number", jwt(`{"exp":"canary"}`), nil, time.Time{}},
		{"from tomorrow", jwt(fmt.Sprintf(`{"nbf":%d}`, now.Add(time.Hour).Unix())), []string{"warning token-not-yet-valid"}, time.Time{}},
		{"from now", jwt(fmt.Sprintf(`{"nbf":%d,"exp":%d}`, now.Unix(), far.Unix())), nil, far},
		{"beginning that is no number", jwt(fmt.Sprintf(`{"nbf":"canary","exp":%d}`, far.Unix())), nil, far},
		{"end beyond dates", jwt(`{"exp":1e300}`), nil, time.Time{}},
		{"end after the last year", jwt(`{"exp":253402300799}`), nil, time.Time{}},
		{"from now, by a clock that is ahead", jwt(fmt.Sprintf(`{"nbf":%d}`, now.Add(time.Minute).Unix())), nil, time.Time{}},
		{"end before dates", jwt(`{"exp":-1}`), nil, time.Time{}},
		{"claims that are no JSON", raw("{") + "." + raw("canary") + ".", nil, time.Time{}},
		{"line end", "canary\n", []string{"warning token-form"}, time.Time{}},
		{"line end and expired", expiring(now) + "\r\n", []string{"warning token-form", "error token-expired"}, now},

		{"empty", "", []string{"error credential-empty"}, time.Time{}},
		{"blank", "\n", []string{"error credential-empty"}, time.Time{}},
		{"huge", strings.Repeat("a", credential.MaxSecretSize+1), []string{"error secret-size"}, time.Time{}},
		{"not UTF-8", "canary\xff", []string{"error token-form"}, time.Time{}},
		{"two lines", "canary\ncanary", []string{"error token-form"}, time.Time{}},
		{"JSON", `{"auths":{"r":{"password":"canary"}}}`, []string{"error token-form"}, time.Time{}},
		{"Bearer", "Bearer canary", []string{"error token-form"}, time.Time{}},
		{"zero byte", "canary\x00", []string{"error token-form"}, time.Time{}},
		{"letters beyond ASCII", "canäry", []string{"error token-form"}, time.Time{}},
		{"soft hyphen from a web page", "can\u00adary", []string{"error token-form"}, time.Time{}},
		{"encoded", b64(expiring(far)), []string{"error credential-base64"}, time.Time{}},
	}
	for _, test := range tests {
		facts, problems := credential.Token([]byte(test.token), now)
		if got := short(t, append(problems, facts.Expiring(now, 0)...)); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
		if !facts.Expires.Equal(test.expires) {
			t.Errorf("%s: expires %s, want %s", test.reason, facts.Expires, test.expires)
		}
	}
}

func TestCACert(t *testing.T) {
	good := valid(t)
	old, _ := pair(t, now.Add(-90*days), now)
	soon, _ := pair(t, now.Add(-90*days), now.Add(10*days))
	early, key := pair(t, now.Add(days), now.Add(90*days))
	tests := []struct {
		reason, text string
		want         []string
	}{
		{"one", good, nil},
		{"two", good + good, nil},
		{"CRLF", strings.ReplaceAll(good, "\n", "\r\n"), nil},
		{"text around, as openssl writes it", "subject=canary\n" + good + "\n# canary\n", nil},
		{"one that expires beside one that lasts", soon + good, nil},
		{"expired", old, []string{"error certificate-expired"}},
		{"expired beside valid", old + good, []string{"info certificate-expired"}},
		{"expired beside expiring", old + soon, []string{"info certificate-expired", "warning certificate-expiring"}},
		{"expires soon", soon, []string{"warning certificate-expiring"}},
		{"not yet valid", early, []string{"warning certificate-not-yet-valid"}},
		{"expired beside one that is not yet valid", old + early, []string{"warning certificate-not-yet-valid", "info certificate-expired"}},

		{"empty", "", []string{"error credential-empty"}},
		{"huge", strings.Repeat(good, 4000), []string{"error secret-size"}},
		{"not UTF-8, as DER", "\x30\x82\xff", []string{"error certificate-form"}},
		{"not PEM", "canary", []string{"error certificate-form"}},
		{"base64 of PEM", b64(good), []string{"error credential-base64"}},
		{"base64 of PEM in lines", b64(good)[:76] + "\n" + b64(good)[76:] + "\n", []string{"error credential-base64"}},
		{"key", key, []string{"error certificate-private-key", "error certificate-form"}},
		{"key beside it", good + key, []string{"error certificate-private-key"}},
		{"no certificate in it", block("CERTIFICATE", []byte("canary")), []string{"error certificate-form"}},
		{"broken one beside", good + block("CERTIFICATE", []byte("canary")), []string{"warning certificate-form"}},
		{"request", block("CERTIFICATE REQUEST", []byte("canary")), []string{"error certificate-form"}},
		{"request beside", block("CERTIFICATE REQUEST", []byte("canary")) + good, []string{"warning certificate-form"}},
		{"cut off", good[:len(good)-30], []string{"error certificate-form"}},
		{"second one cut off", good + good[:len(good)-30], []string{"warning certificate-form"}},
		{"no line end between two", good[:len(good)-1] + good, []string{"error certificate-form"}},
		{"no line end between two of three", good + good[:len(good)-1] + good, []string{"warning certificate-form"}},
		{"no line end before the key", good[:len(good)-1] + key, []string{"error certificate-form"}},
		{"line ends lost", strings.ReplaceAll(good, "\n", " "), []string{"error certificate-form"}},
	}
	for _, test := range tests {
		facts, problems := credential.CACert([]byte(test.text), now)
		if got := short(t, append(problems, facts.Expiring(now, 0)...)); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
	}
	if facts, _ := credential.CACert([]byte(soon+good), now); !facts.Expires.Equal(now.Add(365 * days)) {
		t.Errorf("a bundle lasts until %s, want its last certificate's end", facts.Expires)
	}
}

// TestManyRegistries: of tens of thousands of bad registries, some are reported.
func TestManyRegistries(t *testing.T) {
	var b strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&b, `,"r%d":{}`, i)
	}
	if _, problems := credential.DockerConfigJSON([]byte(`{"auths":{"r":{}`+b.String()+`}}`), now); len(problems) != 20 {
		t.Errorf("%d problems", len(problems))
	}
}

// TestManyRegistriesThatExpire: of tens of thousands of logins with an end, some are followed.
func TestManyRegistriesThatExpire(t *testing.T) {
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, `,"r%d":{"identitytoken":%q}`, i, expiring(now.Add(days)))
	}
	facts, problems := credential.DockerConfigJSON([]byte(`{"auths":{`+b.String()[1:]+`}}`), now)
	if len(problems) > 0 || len(facts.Terms) != 20 {
		t.Errorf("%d problems, %d terms", len(problems), len(facts.Terms))
	}
}

// ecr is a password as Amazon ECR issues it.
func ecr(left time.Duration) string {
	return b64(fmt.Sprintf(`{"payload":"canary","datakey":"canary","version":"2","type":"DATA_KEY","expiration":%d}`, now.Add(left).Unix()))
}

func TestDockerConfigJSON(t *testing.T) {
	login := `"auth":"` + b64("canary:canary") + `"`
	tests := []struct {
		reason, text string
		want         []string
	}{
		{"auth", `{"auths":{"canary.io":{` + login + `}}}`, nil},
		{"all that kubectl writes", `{"auths":{"canary.io":{"username":"canary","password":"canary","email":"canary",` + login + `}}}`, nil},
		{"name and password", `{"auths":{"canary.io":{"username":"canary","password":"canary"}}}`, nil},
		{"identity token with an empty password", `{"auths":{"canary.io":{"auth":"` + b64("canary:") + `","identitytoken":"canary"}}}`, nil},
		{"password with colons and padding", `{"auths":{"canary.io":{"auth":"` + b64("canary:a:b\x00\x00") + `"}}}`, nil},
		{"other fields", `{"auths":{"canary.io":{` + login + `}},"HttpHeaders":{"User-Agent":"canary"},"psFormat":"canary"}`, nil},
		{"identity token that expires", `{"auths":{"canary.io":{"identitytoken":"` + expiring(now.Add(20*days)) + `"}}}`, []string{"warning registry-login-expiring"}},
		{"token in auth that has expired", `{"auths":{"canary.io":{"auth":"` + b64("canary:"+expiring(now)) + `"}}}`, []string{"warning registry-login-expired"}},
		{"token as password that lasts", `{"auths":{"canary.io":{"username":"canary","password":"` + expiring(now.Add(90*days)) + `"}}}`, nil},
		{"Amazon ECR, at its start", `{"auths":{"canary.io":{"auth":"` + b64("AWS:"+ecr(12*time.Hour)) + `"}}}`, nil},
		{"Amazon ECR, near its end", `{"auths":{"canary.io":{"auth":"` + b64("AWS:"+ecr(4*time.Hour)) + `"}}}`, []string{"warning registry-login-expiring"}},
		{"Amazon ECR, the next day", `{"auths":{"canary.io":{"auth":"` + b64("AWS:"+ecr(-time.Hour)) + `"}}}`, []string{"warning registry-login-expired"}},
		{"JSON in base64 as password", `{"auths":{"canary.io":{"auth":"` + b64("canary:"+b64(`{"expiration":1,"type":"canary"}`)) + `"}}}`, nil},
		{"CRLF", "{\r\n\"auths\":{\"canary.io\":{" + login + "}}}\r\n", nil},

		{"empty", "", []string{"error credential-empty"}},
		{"huge", `{"auths":{}}` + strings.Repeat(" ", credential.MaxSecretSize), []string{"error secret-size"}},
		{"not UTF-8", "{\"auths\":{\"\xff\":{}}}", []string{"error registry-config-syntax"}},
		{"not JSON", "canary", []string{"error registry-config-syntax"}},
		{"YAML", "auths: {canary.io: {}}", []string{"error registry-config-syntax"}},
		{"list", `["canary"]`, []string{"error registry-config-syntax"}},
		{"null", `null`, []string{"error registry-config-syntax"}},
		{"cut off", `{"auths":{"canary.io":{`, []string{"error registry-config-syntax"}},
		{"two documents", `{"auths":{}} {"auths":{}}`, []string{"error registry-config-syntax"}},
		{"base64", b64(`{"auths":{"canary.io":{` + login + `}}}`), []string{"error credential-base64"}},
		{"registry twice", `{"auths":{"canary.io":{` + login + `},"canary.io":{}}}`, []string{"error registry-config-syntax"}},
		{"auths of the wrong kind", `{"auths":["canary"]}`, []string{"error registry-config-syntax"}},
		{"login of the wrong kind", `{"auths":{"canary.io":"canary"}}`, []string{"error registry-config-syntax"}},
		{"password is a number", `{"auths":{"canary.io":{"username":"canary","password":123}}}`, []string{"error registry-config-syntax"}},
		{".dockercfg", `{"canary.io":{` + login + `}}`, []string{"error registry-config-syntax"}},
		{"nothing", `{}`, []string{"error registry-config-auth"}},
		{"no registry", `{"auths":{}}`, []string{"error registry-config-auth"}},
		{"no login, and a half one", `{"auths":{"canary.io":{},"b.canary":{"username":"canary"},"c.canary":{` + login + `}}}`, []string{"error registry-config-auth", "error registry-config-auth"}},
		{"auth that is not base64", `{"auths":{"canary.io":{"auth":"canary:canary"}}}`, []string{"error registry-config-auth"}},
		{"auth without a colon", `{"auths":{"canary.io":{"auth":"` + b64("canary") + `"}}}`, []string{"error registry-config-auth"}},
		{"auth without a password", `{"auths":{"canary.io":{"auth":"` + b64("canary:") + `"}}}`, []string{"error registry-config-auth"}},
		{"Docker Desktop", `{"auths":{"https://index.docker.io/v1/":{}},"credsStore":"desktop"}`, []string{"error registry-config-helper", "error registry-config-auth"}},
		{"helpers", `{"auths":{"canary.io":{` + login + `}},"credHelpers":{"gcr.io":"gcloud"}}`, []string{"error registry-config-helper"}},
	}
	for _, test := range tests {
		facts, problems := credential.DockerConfigJSON([]byte(test.text), now)
		if got := short(t, append(problems, facts.Expiring(now, 0)...)); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
	}
}

func TestSecretSize(t *testing.T) {
	half := strings.Repeat("x", credential.MaxSecretSize/2)
	if got := credential.SecretSize(map[string]string{"a": half, "b": half}); len(got) > 0 {
		t.Errorf("at the limit: %+v", got)
	}
	if got := short(t, credential.SecretSize(map[string]string{"a": half, "b": half, "c": "x"})); !slices.Equal(got, []string{"error secret-size"}) {
		t.Errorf("over the limit: %q", got)
	}
	if got := credential.SecretSize(nil); len(got) > 0 {
		t.Errorf("nothing: %+v", got)
	}
}

func FuzzToken(f *testing.F) {
	f.Add(expiring(now))
	f.Add(jwt(`{"exp":1e400}`))
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		_, problems := credential.Token([]byte(text), now)
		short(t, problems)
	})
}

func FuzzCACert(f *testing.F) {
	f.Add(valid(f))
	f.Add("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----")
	f.Fuzz(func(t *testing.T, text string) {
		facts, problems := credential.CACert([]byte(text), now)
		if len(short(t, problems)) == 0 && facts.Expires.IsZero() {
			t.Error("no problem, and no certificate")
		}
	})
}

func FuzzDockerConfigJSON(f *testing.F) {
	f.Add(`{"auths":{"a":{"auth":"YTpi"}}}`)
	f.Add(`{"auths":null,"credHelpers":{"a":"b"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		_, problems := credential.DockerConfigJSON([]byte(text), now)
		short(t, problems)
	})
}
