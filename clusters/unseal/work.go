package unseal

import (
	"regexp/syntax"

	"github.com/getsops/sops/v3"
)

// Limits on the sops library, which compiles the rules of a file again for each key on the path to each value.
const (
	// maxRuleText and maxRuleSize limit a rule's text and its compiled steps. The recommended rule has 76 characters and 100
	// steps.
	maxRuleText = 1 << 10
	maxRuleSize = 1000
	// maxWork limits how often a rule is compiled: about 50 seconds of the longest rules.
	maxWork = 500_000
)

const longRule = "a rule of the sops block (such as encrypted_regex) is too long"

// hasLongRule reports whether a rule exceeds its limits. For sops, an invalid regular expression matches nothing.
func hasLongRule(m sops.Metadata) bool {
	for _, rule := range []string{m.UnencryptedRegex, m.EncryptedRegex, m.UnencryptedCommentRegex, m.EncryptedCommentRegex} {
		if len(rule) > maxRuleText {
			return true
		}
		if parsed, err := syntax.Parse(rule, syntax.Perl); err == nil {
			if steps, err := syntax.Compile(parsed.Simplify()); err != nil || len(steps.Inst) > maxRuleSize {
				return true
			}
		}
	}
	return false
}

// work returns how often sops compiles the rules of a file to decrypt it.
func work(tree sops.Tree) int {
	m := tree.Metadata
	leaves, keys, comments := 0, 0, 0
	for _, branch := range tree.Branches {
		count(branch, 0, &leaves, &keys, &comments)
	}
	if m.UnencryptedCommentRegex == "" && m.EncryptedCommentRegex == "" {
		return keys
	}
	return min(keys+leaves*comments, 2*maxWork)
}

// count adds up the values of a tree, the keys on the paths to them, and the comments, which also count as values.
func count(v any, depth int, leaves, keys, comments *int) {
	switch v := v.(type) {
	case sops.TreeBranch:
		for _, item := range v {
			if _, comment := item.Key.(sops.Comment); comment {
				*comments++
			}
			count(item.Value, depth+1, leaves, keys, comments)
		}
	case []any:
		for _, item := range v {
			if _, comment := item.(sops.Comment); comment {
				*comments++
			}
			count(item, depth, leaves, keys, comments)
		}
	default:
		*leaves++
		*keys += depth
	}
}
