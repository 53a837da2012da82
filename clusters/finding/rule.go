package finding

//go:generate go run ./internal/rulesmd RULES.md

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Rule documents one code. The catalogue of all rules is its only source: `muster rules`, the rules reference and SARIF
// are printed from it.
type Rule struct {
	Code    Code    `json:"code"`
	Subject Subject `json:"subject"`
	// Severities are the possible severities of findings with this code, the most severe first.
	Severities []Severity `json:"severities"`
	// Cause says in a sentence or two what is wrong, and the consequence if it isn't obvious.
	Cause string `json:"cause"`
	// Fix is the general fix. A finding that can be more specific has its own.
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
	Fleet       Subject = "The fleet as a whole"
	Live        Subject = "Against the management cluster"
)

// Subjects returns all subjects, in the order of the reference.
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

// catalogue is built once: the rules by code, and the rules in the order of the reference.
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

// Rules returns all rules, by subject and then by code.
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

// complete sets the fix of a finding without one to its rule's. A place that is a whole line gets its first column, so
// that all places in files have the same form.
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

// Check reports how a finding violates the catalogue: an unknown code, a severity that its rule doesn't have, or a
// message or fix that is missing or longer than a line. Tests check every finding with it.
func (f Finding) Check() error {
	r, known := RuleOf(f.Code)
	switch {
	case !known:
		return fmt.Errorf("no rule has the code %q", f.Code)
	case !slices.Contains(r.Severities, f.Severity):
		return fmt.Errorf("%s has the severity %q, which its rule does not list", f.Code, f.Severity)
	case f.Message == "" || f.Fix == "":
		return fmt.Errorf("%s has no message or no fix: %s", f.Code, f)
	case strings.ContainsAny(f.Message+f.Fix, "\n\r\x00"):
		return fmt.Errorf("%s has more than one line: %q; %q", f.Code, f.Message, f.Fix)
	case (f.Column > 0) != (f.Line > 0) || f.Line > 0 && f.Path == "":
		return fmt.Errorf("%s has an incomplete place: %+v", f.Code, f)
	}
	return nil
}
