package review

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/plan"
)

// findingsOf returns a plan's findings, without those about held removals: a Review has the removals themselves.
func findingsOf(p *plan.Plan) []finding.Finding {
	if p == nil {
		return nil
	}
	return slices.DeleteFunc(finding.Sorted(p.Findings), func(f finding.Finding) bool { return f.Code == plan.CodeHeld })
}

// same identifies a finding across commits. Lines shift when a file is edited, so neither the place in the file nor
// lines in the message count. The severity counts: a warning that becomes an error is a new error.
type same struct {
	code                   finding.Code
	severity               finding.Severity
	path, cluster, message string
	accepted               bool
}

func sameOf(f finding.Finding) same {
	return same{f.Code, f.Severity, f.Path, f.Cluster, lineNumbers.ReplaceAllString(f.Message, "$1"), f.Accepted != ""}
}

// lineNumbers are line numbers in messages, as in "line 3", "lines 3 and 7" and "eu.yaml:3:5".
var lineNumbers = regexp.MustCompile(`(\blines? |\bcolumns? |\.[A-Za-z]+:)[0-9]+(?:(?:, | and |[:–-])[0-9]+)*`)

// compareFindings sorts findings into those that the merge adds, those that it ends and those that it leaves. Of several
// that are the same, those at an unchanged place are left first.
func compareFindings(before, after []finding.Finding) (added, mended, left []finding.Finding) {
	added, mended = []finding.Finding{}, []finding.Finding{}
	before, after, left = apart(before, after)
	had := make(map[same][]finding.Finding, len(before))
	for _, f := range before {
		had[sameOf(f)] = append(had[sameOf(f)], f)
	}
	take := func(f finding.Finding, match func(finding.Finding) bool) bool {
		key := sameOf(f)
		at := slices.IndexFunc(had[key], match)
		if at < 0 {
			return false
		}
		had[key] = slices.Delete(had[key], at, at+1)
		left = append(left, f)
		return true
	}
	var moved []finding.Finding
	for _, f := range after {
		if !take(f, func(b finding.Finding) bool { return b.Line == f.Line && b.Column == f.Column }) {
			moved = append(moved, f)
		}
	}
	for _, f := range moved {
		if !take(f, func(finding.Finding) bool { return true }) {
			added = append(added, f)
		}
	}
	for _, rest := range had {
		mended = append(mended, rest...)
	}
	added, mended, left = pairFleetWide(added, mended, left)
	return finding.Sorted(added), finding.Sorted(mended), finding.Sorted(left)
}

// apart returns what differs in two lists without repetitions, and what is in both. Most findings of a fleet are in both, and need no
// closer comparison.
func apart(before, after []finding.Finding) (onlyBefore, onlyAfter, both []finding.Finding) {
	rest := make(map[finding.Finding]bool, len(before))
	for _, f := range before {
		rest[f] = true
	}
	both = []finding.Finding{}
	for _, f := range after {
		if rest[f] {
			delete(rest, f)
			both = append(both, f)
		} else {
			onlyAfter = append(onlyAfter, f)
		}
	}
	onlyBefore = slices.DeleteFunc(slices.Clone(before), func(f finding.Finding) bool { return !rest[f] })
	return onlyBefore, onlyAfter, both
}

// pairFleetWide leaves findings about several clusters, of which the text and the place change with each cluster of the fleet:
// "3 clusters (a, b, c) are scanned too rarely" is the same finding as that about 2.
func pairFleetWide(added, mended, left []finding.Finding) (_, _, _ []finding.Finding) {
	added = slices.DeleteFunc(added, func(f finding.Finding) bool {
		at := slices.IndexFunc(mended, func(m finding.Finding) bool {
			return f.Cluster == "" && m.Cluster == "" && m.Code == f.Code && m.Severity == f.Severity && counted.MatchString(f.Message) && counted.MatchString(m.Message)
		})
		if at < 0 {
			return false
		}
		mended = slices.Delete(mended, at, at+1)
		left = append(left, f)
		return true
	})
	return added, mended, left
}

// counted is the beginning of a message about several clusters.
var counted = regexp.MustCompile(`^([0-9]+ clusters|the cluster) `)

// only returns the findings of a severity. Accepted findings count as infos: the cluster's team knows them.
func only(findings []finding.Finding, severity finding.Severity) []finding.Finding {
	var list []finding.Finding
	for _, f := range findings {
		if effective(f) == severity {
			list = append(list, f)
		}
	}
	return list
}

func effective(f finding.Finding) finding.Severity {
	if f.Accepted != "" {
		return finding.Info
	}
	return f.Severity
}

// compareTexts compares pairs of texts, until a pair differs.
func compareTexts(pairs ...string) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		if c := cmp.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
}

// sentence returns the message with the fix, or with why the finding is accepted.
func sentence(f finding.Finding) string {
	text := strings.TrimSuffix(f.Message, ".")
	switch {
	case f.Accepted != "":
		return text + ". Accepted: " + f.Accepted
	case f.Fix != "":
		return text + ". Fix: " + f.Fix
	}
	return text
}
