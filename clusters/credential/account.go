package credential

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Account is the ServiceAccount that a token is for, as the token itself says. Its signature is not checked.
type Account struct {
	Namespace, Name, UID string
	// Secret is where Kubernetes keeps the token. It is empty for a token that was requested.
	Secret string
	// Expires is when the token ends, and Lifetime is how long it was granted for. Both are zero if it doesn't end.
	Expires  time.Time
	Lifetime time.Duration
}

// AccountOf reads the claims of a token that Kubernetes made. It returns false for any other token. The names are valid ones of
// Kubernetes.
func AccountOf(token string) (Account, bool) {
	var claims struct {
		Sub      string
		Iat, Exp numericDate
		Of       struct {
			ServiceAccount struct{ UID string }
		} `json:"kubernetes.io"`
		OldUID string `json:"kubernetes.io/serviceaccount/service-account.uid"`
		Secret string `json:"kubernetes.io/serviceaccount/secret.name"`
	}
	parts := strings.Split(strings.TrimSpace(token), ".")
	if len(parts) != 3 {
		return Account{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return Account{}, false
	}
	a := Account{UID: claims.Of.ServiceAccount.UID + claims.OldUID, Secret: claims.Secret}
	subject, isAccount := strings.CutPrefix(claims.Sub, "system:serviceaccount:")
	a.Namespace, a.Name, _ = strings.Cut(subject, ":")
	if a.Expires = claims.Exp.time; !a.Expires.IsZero() && !claims.Iat.time.IsZero() {
		a.Lifetime = a.Expires.Sub(claims.Iat.time)
	}
	valid := isAccount && len(validation.IsDNS1123Label(a.Namespace)) == 0 && len(validation.IsDNS1123Subdomain(a.Name)) == 0 &&
		a.UID != "" && (a.Secret == "" || len(validation.IsDNS1123Subdomain(a.Secret)) == 0)
	return a, valid
}
