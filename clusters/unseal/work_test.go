package unseal_test

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestRulesAreBounded: sops compiles the rules of a file again for each key on the path to each value.
func TestRulesAreBounded(t *testing.T) {
	key := sealtest.NewKey(t)
	const rule, plain = "^(token)$", "other: plain\n"
	file := key.Encrypt(t, "a.yaml", "token: x\n"+plain, sealtest.Rule{EncryptedRegex: rule})
	ruled := func(rest string) string { return strings.Replace(file, rule, "'"+rule+rest+"'", 1) }
	valued := func(values string) string { return strings.Replace(file, plain, values, 1) }
	nested := func(values int) string {
		return "other: " + strings.Repeat("{a: ", 90) + "[" + strings.Repeat("x, ", values) + "]" + strings.Repeat("}", 90) + "\n"
	}
	comments := func(n int) string {
		return strings.Replace(valued("other:\n"+strings.Repeat("  # a comment\n  - x\n", n)), "encrypted_regex: "+rule, "encrypted_comment_regex: x", 1)
	}
	for _, row := range []struct {
		reason, text string
		want         finding.Code
	}{
		{"a rule", file, ""},
		{"a rule of many words", ruled(strings.Repeat("|word", 150)), ""},
		{"a long rule", ruled(strings.Repeat("|word", 250)), seal.CodeSopsBlock},
		{"a short rule that is a long one", ruled("|[a-z]{999}"), seal.CodeSopsBlock},
		{"values nested deep", valued(nested(100)), seal.CodeTampered},
		{"many values nested deep", valued(nested(9000)), seal.CodeSopsBlock},
		{"values and comments", comments(100), seal.CodeTampered},
		{"many values and comments", comments(1000), seal.CodeSopsBlock},
	} {
		for form, f := range map[string]*load.File{"a file of clusters": load1(t, map[string]string{"f/a.yaml": row.text}).Files["f/a.yaml"], "a file of any name": {Path: "k", Data: row.text}} {
			if f == nil {
				continue // load refuses it: it is not an object
			}
			_, bad := key.Opener(t).Open(t.Context(), f)
			var got finding.Code
			if bad != nil {
				got = bad.Code
			}
			if got != row.want {
				t.Errorf("%s, in %s: %v, want %s", row.reason, form, bad, row.want)
			}
		}
	}
}
