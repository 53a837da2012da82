// Package finding defines findings: what Muster reports about a place in a repository.
//
// A Finding is one fact about one place: what is wrong or worth knowing, where it is in Git, and how to fix it. Every
// stage of the pipeline returns its findings next to its result. Nothing in this package decides, logs or prints. The
// package never holds the content of a file: messages name fields and files, not values that might be secret.
package finding

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity is the effect of a finding on its cluster.
type Severity string

const (
	// Error keeps the cluster out of the change. What was applied for it before stays.
	Error Severity = "error"
	// Warning is applied, but will probably not work as intended.
	Warning Severity = "warning"
	// Info is worth knowing and requires no action.
	Info Severity = "info"
)

// rank orders severities, the most severe first.
func (s Severity) rank() int {
	switch s {
	case Error:
		return 0
	case Warning:
		return 1
	default:
		return 2
	}
}

// Code is the short, stable name of a rule, such as "cluster-name". Codes are part of the contract with users: they
// appear in status, in SARIF and in the output of lint.
type Code string

// Finding is one fact about one place.
type Finding struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	// Cluster is the name of the finding's cluster, empty for a file or the whole path.
	Cluster string `json:"cluster,omitempty"`
	// Path is slash-separated and relative to the root of the repository. It is empty for findings that are about no
	// file.
	Path string `json:"path,omitempty"`
	// Line and Column count from 1. 0 means the whole file.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Message is one line that names the cause.
	Message string `json:"message"`
	// Fix is one line with the fix. It is empty if the message is enough.
	Fix string `json:"fix,omitempty"`
	// Accepted is the reason why the cluster's team accepts the finding; empty if it doesn't. It is never set for an
	// error.
	Accepted string `json:"accepted,omitempty"`
	// Stops is true if the finding blocks many clusters. Errors about single clusters may be its consequences.
	Stops bool `json:"-"`
}

// Place returns the finding's place as "path:line:column", like compilers print it.
func (f Finding) Place() string {
	switch {
	case f.Path == "":
		return ""
	case f.Line == 0:
		return f.Path
	case f.Column == 0:
		return fmt.Sprintf("%s:%d", f.Path, f.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", f.Path, f.Line, f.Column)
	}
}

// String returns the finding on one line: place, severity, code, message and fix.
func (f Finding) String() string {
	var b strings.Builder
	if place := f.Place(); place != "" {
		b.WriteString(place + ": ")
	}
	fmt.Fprintf(&b, "%s: ", f.Severity)
	if f.Cluster != "" {
		fmt.Fprintf(&b, "cluster %s: ", f.Cluster)
	}
	b.WriteString(f.Message)
	switch {
	case f.Accepted != "":
		b.WriteString("; accepted: " + f.Accepted)
	case f.Fix != "":
		b.WriteString("; " + f.Fix)
	}
	fmt.Fprintf(&b, " [%s]", f.Code)
	return b.String()
}

// Sorted returns the findings in a stable order, without duplicates: the most severe first, those that stop others
// before the rest, then by place, cluster, code and message.
func Sorted(findings []Finding) []Finding {
	sorted := slices.Clone(findings)
	slices.SortFunc(sorted, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(a.Severity.rank(), b.Severity.rank()),
			first(a.Stops, b.Stops),
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Cluster, b.Cluster),
			cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Message, b.Message),
			cmp.Compare(a.Fix, b.Fix),
			cmp.Compare(a.Accepted, b.Accepted),
		)
	})
	return slices.Compact(sorted)
}

// first orders true before false.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// Cause returns the one error to show if there is room for only one, or nil. It prefers an error that stops others,
// then one that isn't about a single cluster and so may have caused the others, then the first. The findings may be in
// any order.
func Cause(findings []Finding) *Finding {
	var cause *Finding
	sorted := Sorted(findings)
	for i := range sorted {
		f := &sorted[i]
		switch {
		case f.Severity != Error:
		case f.Stops || f.Cluster == "":
			return f
		case cause == nil:
			cause = f
		}
	}
	return cause
}

// Errors counts the findings of severity Error.
func Errors(findings []Finding) int {
	n := 0
	for _, f := range findings {
		if f.Severity == Error {
			n++
		}
	}
	return n
}
