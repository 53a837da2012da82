package renew

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/muster-gitops/muster/clusters/credential"
)

// Failure is why a token was not renewed. It contains no secrets.
type Failure struct {
	// Message is one line without a full stop, and Fix one line.
	Message, Fix string
	// Refused is true if the cluster has answered, so that it is unlikely to answer otherwise soon.
	Refused bool
	// Rejected is true if the server doesn't accept the token with which it was asked.
	Rejected bool
}

// Path is where to request a token for a ServiceAccount, and Request what to post there.
func (a Account) Path() string {
	return "/api/v1/namespaces/" + a.Namespace + "/serviceaccounts/" + a.Name + "/token"
}

// Request asks for a token of a lifetime, for the API server itself.
func Request(lifetime time.Duration) *authenticationv1.TokenRequest {
	r := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(lifetime.Seconds()))}}
	r.APIVersion, r.Kind = "authentication.k8s.io/v1", "TokenRequest"
	return r
}

// The statuses of answers. This package opens no connection, so it doesn't import net/http.
const (
	succeeded, created                                                 = 200, 201
	badRequest, unauthorized, forbidden, notFound, unprocessableEntity = 400, 401, 403, 404, 422
)

// maxAnswer limits an answer. Package preflight has the same limit.
const maxAnswer = 1 << 20

// Answer checks what the server has answered to a request for the seed's ServiceAccount, which was made with the token used.
func (s Seed) Answer(status int, body []byte, used string, now time.Time) (Token, *Failure) {
	if status != created && status != succeeded {
		return Token{}, s.denied(status)
	}
	var answer authenticationv1.TokenRequest
	if len(body) > maxAnswer || json.Unmarshal(body, &answer) != nil || answer.Status.Token == "" {
		return Token{}, odd("the server granted no token in its answer")
	}
	token := answer.Status.Token
	if _, problems := credential.Token([]byte(token), time.Time{}); token != strings.TrimSpace(token) || token == used || token == s.Token || hasError(problems) {
		return Token{}, odd("the server answered with something else than a new token")
	}
	c, ok := parse(token)
	switch {
	case !ok || c.account.Namespace != s.Account.Namespace || c.account.Name != s.Account.Name:
		return Token{}, odd("the server answered with a token of another ServiceAccount")
	case c.account.other(s.Account):
		return Token{}, &Failure{Refused: true, Message: "the ServiceAccount " + s.Account.String() + " was deleted and created again since the token in the file was issued", Fix: fixRotate}
	case c.expires.IsZero():
		return Token{}, odd("the server answered with a token that has no expiry")
	}
	t := Token{Value: token, Issued: now, Expires: c.expires}
	if lifetime := c.expires.Sub(c.issued); !c.issued.IsZero() && now.Add(lifetime).Before(t.Expires) {
		t.Expires = now.Add(lifetime) // the clock here is behind
	}
	if !t.Alive(now) {
		return Token{}, &Failure{Refused: true, Message: "the server answered with a token that has expired already, by the clock here", Fix: "compare the clocks of both clusters: date -u"}
	}
	return t, nil
}

func odd(message string) *Failure {
	return &Failure{Refused: true, Message: message, Fix: "check what answers at the address of the server: kubectl create token shows what it grants"}
}

func hasError(problems []credential.Problem) bool {
	for _, p := range problems {
		if p.Severity == "error" {
			return true
		}
	}
	return false
}

const fixRotate = "issue a new token, and put it into the file: muster rotate --token {CLUSTER}"

// denied returns the failure for a status.
func (s Seed) denied(status int) *Failure {
	who := s.Account.String()
	switch status {
	case unauthorized:
		return &Failure{Refused: true, Rejected: true, Message: "the server rejected the token: it was revoked, or the ServiceAccount " + who + " was deleted", Fix: fixRotate}
	case forbidden:
		return &Failure{Refused: true, Message: "the ServiceAccount " + who + " may not create its own tokens", Fix: s.Account.grant()}
	case notFound:
		return &Failure{Refused: true, Message: "the server has no ServiceAccount " + who, Fix: fixRotate}
	case badRequest, unprocessableEntity:
		return &Failure{Refused: true, Message: fmt.Sprintf("the server refused the request for a token with status %d", status), Fix: "set renew.lifetime to what the server grants; see: kubectl create token --duration"}
	}
	return &Failure{Message: fmt.Sprintf("the server answered the request for a token with status %d", status), Fix: "look at the logs of the API server, or of what is in front of it"}
}

// String is namespace/name.
func (a Account) String() string { return a.Namespace + "/" + a.Name }

// grant is the command that makes the Role that a ServiceAccount needs. Its names have no characters that a shell interprets.
func (a Account) grant() string {
	return fmt.Sprintf("kubectl --context TARGET --namespace %[1]s create role %[2]s --verb=create --resource=serviceaccounts/token --resource-name=%[3]s && "+
		"kubectl --context TARGET --namespace %[1]s create rolebinding %[2]s --role=%[2]s --serviceaccount=%[1]s:%[3]s", a.Namespace, RoleName(a.Name), a.Name)
}

// RoleName is the name of the Role with which a ServiceAccount may create its own tokens.
func RoleName(account string) string { return "muster-renew-" + account }
