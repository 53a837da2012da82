package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	kjson "sigs.k8s.io/json"
)

// DockerConfigJSON checks the text of a Docker config.json for private registries. Messages number the registries in the order
// of their names, because the names may be secret too.
//
// Its Terms are those of the logins that say when they end: JSON Web Tokens, and the passwords of Amazon ECR.
func DockerConfigJSON(content []byte, now time.Time) (Facts, []Problem) {
	r := &report{now: now}
	if !r.text(content, "the registry configuration", CodeRegistrySyntax) {
		return r.facts, r.problems
	}
	config, ok := r.dockerConfig(content)
	if !ok {
		return r.facts, r.problems
	}
	if config.Store != "" || len(config.Helpers) > 0 {
		r.fail(CodeRegistryHelper, "credsStore or credHelpers names a program, which the scanner does not have", "remove both, and put the logins in auths: kubectl create secret docker-registry does that")
	}
	if len(config.Auths) == 0 {
		r.fail(CodeRegistryAuth, "the registry configuration has no auths", "add one for each registry: kubectl create secret docker-registry does that")
	}
	for i, name := range slices.Sorted(maps.Keys(config.Auths)) {
		what := fmt.Sprintf("registry %d of %d in auths", i+1, len(config.Auths))
		if problem := config.Auths[name].problem(); problem != "" {
			r.fail(CodeRegistryAuth, what+" "+problem, "set auth, or username and password")
		} else if len(r.facts.Terms) < maxProblems {
			r.registryTerm(config.Auths[name], "the login of "+what)
		}
		if len(r.problems) == maxProblems {
			break
		}
	}
	return r.facts, r.problems
}

// maxProblems limits the problems that are reported for one registry configuration, which may have tens of thousands.
const maxProblems = 20

// registryTerm records the login's end, if that can be read. An expired login is a warning, because the cluster is still scanned.
func (r *report) registryTerm(l registryLogin, what string) {
	t := l.term()
	t.what = what
	if !t.Until.IsZero() && r.until(t) {
		r.warn(CodeRegistryLoginExpired, t.Text(Expired), "replace it: private images are not scanned without it")
	}
}

// dockerConfig has the fields of a config.json that are used.
type dockerConfig struct {
	Auths   map[string]registryLogin `json:"auths"`
	Store   string                   `json:"credsStore"`
	Helpers map[string]string        `json:"credHelpers"`
}

// registryLogin is the login of one registry. docker login stores the tokens for some registries.
type registryLogin struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// term returns how long the login works; Until is zero if it doesn't say.
func (l registryLogin) term() Term {
	for _, token := range []string{l.IdentityToken, l.RegistryToken, l.password()} {
		if t := claimsOf(token).term(KindRegistryLogin, ""); !t.Until.IsZero() {
			return t
		}
	}
	return ecrTerm(l.password())
}

// password is the password in auth, or else in its own field.
func (l registryLogin) password() string {
	if decoded, err := base64.StdEncoding.DecodeString(l.Auth); err == nil {
		if _, password, cut := bytes.Cut(decoded, []byte(":")); cut && len(password) > 0 {
			return string(bytes.TrimRight(password, "\x00"))
		}
	}
	return l.Password
}

// ecrLifetime is that of every Amazon ECR password: https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html.
const ecrLifetime = 12 * time.Hour

// ecrTerm returns the term of an Amazon ECR password, which is JSON with its expiration, in base64.
func ecrTerm(password string) Term {
	var content struct {
		Type       string      `json:"type"`
		Expiration numericDate `json:"expiration"`
	}
	decoded, err := base64.StdEncoding.DecodeString(password)
	if err != nil || json.Unmarshal(decoded, &content) != nil || content.Type != "DATA_KEY" || content.Expiration.time.IsZero() {
		return Term{}
	}
	end := content.Expiration.time
	return Term{Kind: KindRegistryLogin, From: end.Add(-ecrLifetime), Until: end}
}

// dockerConfig parses the text. It returns false if that fails.
func (r *report) dockerConfig(content []byte) (dockerConfig, bool) {
	var config dockerConfig
	var fields map[string]any
	twice, err := kjson.UnmarshalStrict(content, &fields)
	if err != nil || fields == nil {
		if decoded, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(content))); err == nil && json.Valid(decoded) {
			r.fail(CodeEncoded, "the registry configuration is base64", "decode it, for example with base64 -d: kubectl shows Secrets encoded")
		} else {
			r.fail(CodeRegistrySyntax, "the registry configuration is not a JSON object", "use the text of a Docker config.json")
		}
		return config, false
	}
	if len(twice) > 0 {
		r.fail(CodeRegistrySyntax, "the registry configuration has a duplicate field", "remove one of the two")
		return config, false
	}
	if _, ok := fields["auths"]; !ok && isLegacy(fields) {
		r.fail(CodeRegistrySyntax, "the registry configuration is in the old .dockercfg format", `wrap it in {"auths": …}`)
		return config, false
	}
	if kjson.UnmarshalCaseSensitivePreserveInts(content, &config) != nil {
		r.fail(CodeRegistrySyntax, "a field of the registry configuration has the wrong type", "use the text of a Docker config.json")
		return config, false
	}
	return config, true
}

// isLegacy reports whether the registries are at the top level, without auths around them.
func isLegacy(fields map[string]any) bool {
	for _, value := range fields {
		if login, isLogin := value.(map[string]any); isLogin && (login["auth"] != nil || login["username"] != nil) {
			return true
		}
	}
	return false
}

// problem returns the problem of a login, or "".
func (l registryLogin) problem() string {
	// With a token, docker login leaves the password in auth empty.
	if l.IdentityToken != "" || l.RegistryToken != "" {
		return ""
	}
	if l.Auth != "" {
		decoded, err := base64.StdEncoding.DecodeString(l.Auth)
		user, password, cut := bytes.Cut(decoded, []byte(":"))
		// Docker pads passwords with zero bytes in some versions.
		if err != nil || !cut || len(user) == 0 || len(bytes.TrimRight(password, "\x00")) == 0 {
			return "has an auth that is not base64 of user:password"
		}
		return ""
	}
	switch {
	case l.Username == "" && l.Password == "":
		return "has no login"
	case l.Username == "" || l.Password == "":
		return "has a user name or a password, but not both"
	}
	return ""
}
