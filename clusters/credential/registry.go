package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	kjson "sigs.k8s.io/json"
)

// DockerConfigJSON checks the text of a Docker config.json for private registries. Registries are counted in the order of
// their names, since those may be secret too.
func DockerConfigJSON(content []byte) []Problem {
	r := &report{}
	if !r.text(content, "the registry configuration", CodeRegistrySyntax) {
		return r.problems
	}
	config, ok := r.dockerConfig(content)
	if !ok {
		return r.problems
	}
	if config.Store != "" || len(config.Helpers) > 0 {
		r.fail(CodeRegistryHelper, "credsStore or credHelpers names a program, which the scanner does not have", "remove both, and put the logins into auths: kubectl create secret docker-registry does it")
	}
	if len(config.Auths) == 0 {
		r.fail(CodeRegistryAuth, "the registry configuration has no auths", "add one for each registry: kubectl create secret docker-registry does it")
	}
	for i, name := range slices.Sorted(maps.Keys(config.Auths)) {
		if what := config.Auths[name].wrong(); what != "" {
			r.fail(CodeRegistryAuth, fmt.Sprintf("registry %d of %d in auths %s", i+1, len(config.Auths), what), "give auth, or username and password")
		}
		if len(r.problems) == maxProblems {
			break
		}
	}
	return r.problems
}

// maxProblems is how many problems of one registry configuration are told. It may hold tens of thousands.
const maxProblems = 20

// dockerConfig is as much of a config.json as is used.
type dockerConfig struct {
	Auths   map[string]registryLogin `json:"auths"`
	Store   string                   `json:"credsStore"`
	Helpers map[string]string        `json:"credHelpers"`
}

// registryLogin is one registry's. The tokens are what docker login stores for some registries.
type registryLogin struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// dockerConfig parses the text; false when that can't be done.
func (r *report) dockerConfig(content []byte) (dockerConfig, bool) {
	var config dockerConfig
	var fields map[string]any
	twice, err := kjson.UnmarshalStrict(content, &fields)
	if err != nil || fields == nil {
		if decoded, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(content))); err == nil && json.Valid(decoded) {
			r.fail(CodeEncoded, "the registry configuration is base64", "decode it, as with base64 -d: kubectl shows Secrets encoded")
		} else {
			r.fail(CodeRegistrySyntax, "the registry configuration is not a JSON object", "give the text of a Docker config.json")
		}
		return config, false
	}
	if len(twice) > 0 {
		r.fail(CodeRegistrySyntax, "the registry configuration has a field twice", "remove one of the two")
		return config, false
	}
	if _, ok := fields["auths"]; !ok && isLegacy(fields) {
		r.fail(CodeRegistrySyntax, "the registry configuration is in the old form of .dockercfg", `put it into {"auths": …}`)
		return config, false
	}
	if kjson.UnmarshalCaseSensitivePreserveInts(content, &config) != nil {
		r.fail(CodeRegistrySyntax, "a field of the registry configuration is of the wrong kind", "give the text of a Docker config.json")
		return config, false
	}
	return config, true
}

// isLegacy tells whether the registries stand at the top, without auths around them.
func isLegacy(fields map[string]any) bool {
	for _, value := range fields {
		if login, isLogin := value.(map[string]any); isLogin && (login["auth"] != nil || login["username"] != nil) {
			return true
		}
	}
	return false
}

// wrong says what is wrong with a login, or nothing.
func (l registryLogin) wrong() string {
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
