package finding

//go:generate go run ./internal/rulesmd RULES.md

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Rule is what there is to know about one code, whichever file breaks it. The catalogue of all rules is the one place for
// it: `muster rules`, the rules reference and SARIF are printed from it.
type Rule struct {
	Code    Code    `json:"code"`
	Subject Subject `json:"subject"`
	// Severities are those that findings of this code may have, gravest first.
	Severities []Severity `json:"severities"`
	// Cause is one sentence that says what is wrong, and what comes of it where that isn't plain.
	Cause string `json:"cause"`
	// Fix is the way out in general. A finding whose place allows to say more has a Fix of its own.
	Fix string `json:"fix"`
	// Example shows what breaks the rule: lines of a file, or what happened.
	Example string `json:"example"`
}

// Subject groups rules.
type Subject string

// The subjects, in the order of the reference.
const (
	Files       Subject = "Files and kustomizations"
	ClusterFile Subject = "The cluster file"
	Credentials Subject = "What credentials hold"
	Encryption  Subject = "Encryption"
	Fleet       Subject = "The fleet together"
	Live        Subject = "Against the management cluster"
)

// Subjects are all subjects, in the order of the reference.
func Subjects() []Subject {
	return []Subject{Files, ClusterFile, Credentials, Encryption, Fleet, Live}
}

// The severities that rules have.
var (
	errorOnly    = []Severity{Error}
	warningOnly  = []Severity{Warning}
	infoOnly     = []Severity{Info}
	errorWarning = []Severity{Error, Warning}
	errorInfo    = []Severity{Error, Info}
	warningInfo  = []Severity{Warning, Info}
)

// catalogue is made once: the rules by code, and the codes in the order of the reference.
var catalogue = sync.OnceValues(func() (map[Code]Rule, []Rule) {
	byCode, list := map[Code]Rule{}, []Rule{}
	for _, part := range []struct {
		subject Subject
		rules   []Rule
	}{{Files, fileRules}, {ClusterFile, clusterRules}, {Credentials, credentialRules}, {Encryption, encryptionRules}, {Fleet, fleetRules}, {Live, liveRules}} {
		slices.SortFunc(part.rules, func(a, b Rule) int { return strings.Compare(string(a.Code), string(b.Code)) })
		for _, r := range part.rules {
			r.Subject = part.subject
			byCode[r.Code] = r
			list = append(list, r)
		}
	}
	return byCode, list
})

// Rules are all rules, by subject and then by code.
func Rules() []Rule {
	_, list := catalogue()
	return slices.Clone(list)
}

// RuleOf returns the rule of a code.
func RuleOf(code Code) (Rule, bool) {
	byCode, _ := catalogue()
	r, ok := byCode[code]
	return r, ok
}

// complete gives a finding without a way out of its own that of its rule. A place that is a whole line gets its beginning,
// so that every place in a file has one form.
func (f Finding) complete() Finding {
	if f.Fix == "" {
		if r, ok := RuleOf(f.Code); ok {
			f.Fix = r.Fix
		}
	}
	if f.Line > 0 && f.Column == 0 {
		f.Column = 1
	}
	return f
}

// Check says in what a finding falls short of the catalogue: a code that has no rule, a severity that the rule does not
// have, a cause or a way out that is missing or more than a line. Tests hold every finding to it.
func (f Finding) Check() error {
	r, known := RuleOf(f.Code)
	switch {
	case !known:
		return fmt.Errorf("no rule has the code %q", f.Code)
	case !slices.Contains(r.Severities, f.Severity):
		return fmt.Errorf("%s has the severity %q, which its rule does not list", f.Code, f.Severity)
	case f.Message == "" || f.Fix == "":
		return fmt.Errorf("%s has no cause or no way out: %s", f.Code, f)
	case strings.ContainsAny(f.Message+f.Fix, "\n\r\x00"):
		return fmt.Errorf("%s has more than one line: %q; %q", f.Code, f.Message, f.Fix)
	case (f.Column > 0) != (f.Line > 0) || f.Line > 0 && f.Path == "":
		return fmt.Errorf("%s has half a place: %+v", f.Code, f)
	}
	return nil
}
