// Package renew decides how the token of a ServiceAccount is renewed: what to ask the cluster for, whether the answer is good, when to
// ask again, and which token to use meanwhile.
//
// A cluster file with spec.renew has a [Seed]: the token in Git. Muster uses it once, to request a [Token] for the same
// ServiceAccount, and from then on uses the last token to request the next. The live Secret is the only store. [Continue] takes the
// token from there, if [Proof] shows that Muster wrote it for the seed in Git: server and CA always come from Git, and someone who
// can only edit the Secret can't make Muster use another token.
//
// The package opens no connection and holds no state. All texts that it makes are free of secrets.
package renew

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// The rules for renewed tokens. The codes are a contract with users: see [finding.Code].
const (
	// CodeRenew: there is no token that can be renewed. Error. Package v1alpha1 has it too.
	CodeRenew finding.Code = "renew"
	// CodeSeedEnded: the token in Git has expired, which is normal as long as a renewed one lives. Info.
	CodeSeedEnded finding.Code = "renew-seed-ended"
	// CodeFailing: the token isn't renewed, or a renewed one was lost. Warning.
	CodeFailing finding.Code = "renew-failing"
	// CodeEnded: the cluster has no token any more. Error.
	CodeEnded finding.Code = "renew-ended"
)

// Account is a ServiceAccount. UID is empty if it isn't known.
type Account struct{ Namespace, Name, UID string }

// Seed is the token in Git.
type Seed struct {
	Token   string
	Account Account
	// Expires is zero for a token that doesn't expire, as in a Secret of type kubernetes.io/service-account-token.
	Expires time.Time
}

// Token is a renewed token.
type Token struct {
	Value string
	// Issued and Expires are by the clock of the cluster; of a token that was just granted, by the clock here, so that a clock that is
	// wrong by hours doesn't make a token that is always due.
	Issued, Expires time.Time
}

// Alive reports whether the token has not expired.
func (t Token) Alive(now time.Time) bool { return t.Value != "" && now.Before(t.Expires) }

// Due returns when to request the next token: at half of what was granted, or up to a tenth of that earlier. spread is from 0 up to 1
// and differs from cluster to cluster, so that tokens granted at the same time are not all renewed at the same time.
func (t Token) Due(spread float64) time.Time {
	half := t.Expires.Sub(t.Issued) / 2
	return t.Issued.Add(half - time.Duration(spread*float64(half)/10))
}

// SeedOf returns the seed in the data of a Secret with a token, or with a kubeconfig whose current user logs in with one. It doesn't
// matter whether the token has expired.
func SeedOf(data map[string]string) (Seed, *credential.Problem) {
	token, problem := tokenOf(data)
	if problem != nil {
		return Seed{}, problem
	}
	claims, ok := parse(token)
	if !ok {
		return Seed{}, refused("the token to renew is not a ServiceAccount's: it names no namespace and name")
	}
	return Seed{Token: token, Account: claims.account, Expires: claims.expires}, nil
}

func refused(message string) *credential.Problem {
	return &credential.Problem{Code: CodeRenew, Severity: finding.Error, Message: message, Fix: "use a ServiceAccount's token, or remove renew"}
}

// tokenOf returns the token in the data of a Secret.
func tokenOf(data map[string]string) (string, *credential.Problem) {
	kubeconfig, isKubeconfig := data[mondoo.KeyKubeconfig]
	if !isKubeconfig {
		return strings.TrimSpace(data[mondoo.KeyToken]), nil // client-go trims a token file
	}
	c, problem := credential.ConnectionOf([]byte(kubeconfig), time.Time{}) // before anything expires
	switch {
	case problem != nil:
		return "", problem
	case c.Token == "":
		return "", refused("the kubeconfig has no token to renew")
	case len(c.Certificate) > 0 || c.Username != "" || c.Password != "":
		return "", refused("the kubeconfig has another credential beside the token, and only a token can be renewed")
	case c.Impersonate != nil:
		return "", refused("the kubeconfig acts as another user, and a token can be renewed only for its own")
	}
	return c.Token, nil
}

// Replace returns the data of a Secret with another token; of a kubeconfig, that of the user of the current context. The data must be
// that of a seed.
func Replace(data map[string]string, token string) map[string]string {
	replaced := maps.Clone(data)
	kubeconfig, isKubeconfig := data[mondoo.KeyKubeconfig]
	if !isKubeconfig {
		replaced[mondoo.KeyToken] = token
		return replaced
	}
	text, err := credential.WithToken([]byte(kubeconfig), token)
	if err != nil {
		return data // SeedOf refuses it
	}
	replaced[mondoo.KeyKubeconfig] = string(text)
	return replaced
}

// Proof is what Muster writes beside a renewed token: a code that can be made only with the seed. The name of the Secret depends on
// the server and its CA, so a token that was renewed at one server is not used at another.
func (s Seed) Proof(secret, token string) string {
	code := hmac.New(sha256.New, []byte(s.Token))
	code.Write([]byte("muster.dev/renewed-from\x00" + secret + "\x00" + token))
	return hex.EncodeToString(code.Sum(nil))
}

// Live returns the token in a live Secret. known is false if it is neither the seed nor one that Muster wrote for it.
func (s Seed) Live(secret, proof string, data map[string][]byte) (_ Token, known bool) {
	texts := make(map[string]string, len(data))
	for key, value := range data {
		texts[key] = string(value)
	}
	token, problem := tokenOf(texts)
	if problem != nil {
		return Token{}, false
	}
	if token == s.Token {
		return Token{}, true
	}
	claims, ok := parse(token)
	if !ok || !hmac.Equal([]byte(proof), []byte(s.Proof(secret, token))) || claims.account.other(s.Account) || claims.expires.IsZero() {
		return Token{}, false
	}
	if claims.issued.IsZero() {
		claims.issued = claims.expires // due at once
	}
	return Token{Value: token, Issued: claims.issued, Expires: claims.expires}, true
}

// other reports whether this is certainly another ServiceAccount, or one that was made again.
func (a Account) other(b Account) bool {
	return a.Namespace != b.Namespace || a.Name != b.Name || a.UID != "" && b.UID != "" && a.UID != b.UID
}

// claims are those of a ServiceAccount's token. Only the server can check them.
type claims struct {
	account         Account
	issued, expires time.Time
}

// The names of namespaces and ServiceAccounts. They end up in an address and in commands.
var (
	namespace = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	name      = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$`)
	uid       = regexp.MustCompile(`^[-0-9a-zA-Z]{1,64}$`)
)

// maxToken is a few times what Kubernetes grants.
const maxToken = 32 << 10

// parse reads a ServiceAccount's token: one from a TokenRequest, or one from a Secret of type kubernetes.io/service-account-token,
// which doesn't expire.
func parse(token string) (claims, bool) {
	parts := strings.Split(token, ".")
	if len(token) > maxToken || len(parts) != 3 {
		return claims{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims{}, false
	}
	var raw struct {
		Subject string  `json:"sub"`
		Issued  float64 `json:"iat"`
		Expires float64 `json:"exp"`
		Legacy  string  `json:"kubernetes.io/serviceaccount/service-account.uid"`
		Bound   struct {
			Account struct {
				UID string `json:"uid"`
			} `json:"serviceaccount"`
		} `json:"kubernetes.io"`
	}
	if json.Unmarshal(payload, &raw) != nil {
		return claims{}, false
	}
	who, isAccount := strings.CutPrefix(raw.Subject, "system:serviceaccount:")
	in, called, both := strings.Cut(who, ":")
	c := claims{account: Account{Namespace: in, Name: called, UID: raw.Legacy + raw.Bound.Account.UID}, issued: date(raw.Issued), expires: date(raw.Expires)}
	if !uid.MatchString(c.account.UID) {
		c.account.UID = ""
	}
	return c, isAccount && both && namespace.MatchString(in) && name.MatchString(called)
}

// date returns the time of a claim; zero if there is none, or one that no date can represent.
func date(seconds float64) time.Time {
	const latest = 253402300799
	if seconds <= 0 || seconds > latest {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}
