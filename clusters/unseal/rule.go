package unseal

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/getsops/sops/v3"
)

// rule is the rule in a file's sops block for which values are encrypted. At most one of its fields is set.
type rule struct {
	unencryptedSuffix, encryptedSuffix string
	unencryptedRegex, encryptedRegex   *regexp.Regexp
	// byDefault applies to values without a key in their path that the rule mentions.
	byDefault bool
}

// below reports whether the values below a key are encrypted, where above is the answer for the mapping that contains the key.
// Any key on the path to a value can match the rule.
func (r *rule) below(above bool, key string) bool {
	switch {
	case r.encryptedRegex != nil:
		return above || r.encryptedRegex.MatchString(key)
	case r.encryptedSuffix != "":
		return above || strings.HasSuffix(key, r.encryptedSuffix)
	case r.unencryptedRegex != nil:
		return above && !r.unencryptedRegex.MatchString(key)
	case r.unencryptedSuffix != "":
		return above && !strings.HasSuffix(key, r.unencryptedSuffix)
	default:
		return above
	}
}

// rules caches compiled rules, because the files of a fleet share a few.
type rules struct {
	mu   sync.Mutex
	seen map[[4]string]*rule
}

// maxRules limits the cache of an Opener.
const maxRules = 100

// of returns the rule of a file. Rules about comments, and those that sops wouldn't write, are unusual.
func (r *rules) of(m sops.Metadata) (*rule, error) {
	key := [4]string{m.UnencryptedSuffix, m.EncryptedSuffix, m.UnencryptedRegex, m.EncryptedRegex}
	set := slices.DeleteFunc(append(key[:0:0], key[:]...), func(s string) bool { return s == "" })
	if m.UnencryptedCommentRegex != "" || m.EncryptedCommentRegex != "" || len(set) > 1 {
		return nil, errUnusual
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.seen[key]; known != nil {
		return known, nil
	}
	compiled := &rule{unencryptedSuffix: m.UnencryptedSuffix, encryptedSuffix: m.EncryptedSuffix, byDefault: m.EncryptedRegex+m.EncryptedSuffix == ""}
	var err error
	switch {
	case m.UnencryptedRegex != "":
		compiled.unencryptedRegex, err = regexp.Compile(m.UnencryptedRegex)
	case m.EncryptedRegex != "":
		compiled.encryptedRegex, err = regexp.Compile(m.EncryptedRegex)
	}
	if err != nil {
		return nil, errUnusual
	}
	if r.seen == nil || len(r.seen) >= maxRules {
		r.seen = map[[4]string]*rule{}
	}
	r.seen[key] = compiled
	return compiled, nil
}
