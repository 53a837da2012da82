// Package finding holds what Muster has to say about a place in a repository.
//
// A Finding is one fact about one place: what is wrong (or worth knowing), where it stands in Git, and how to mend it.
// Every stage of the pipeline returns its findings beside its value; nothing in this package decides, logs or prints on
// its own. The package never holds the content of a file: a message names fields and files, not values that might be
// secret.
package finding

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says what a finding does to the cluster it speaks of.
type Severity string

const (
	// Error keeps the cluster out of the change; what was applied for it before stays.
	Error Severity = "error"
	// Warning is applied, and will probably not work as its author expects.
	Warning Severity = "warning"
	// Info is worth knowing and asks for nothing.
	Info Severity = "info"
)

// rank orders severities from the gravest.
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

// Code is the short, stable name of a rule, such as "cluster-name". Codes are part of the contract with users: they stand
// in status, in SARIF and in the output of lint.
type Code string

// Finding is one fact about one place.
type Finding struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	// Cluster is the name of the cluster the finding speaks of, empty for a file or the whole path.
	Cluster string `json:"cluster,omitempty"`
	// Path is slash-separated and relative to the root of the repository. It is empty only for findings about no file.
	Path string `json:"path,omitempty"`
	// Line and Column count from 1; 0 means the whole file.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Message is one line that names the cause.
	Message string `json:"message"`
	// Fix is one line that says how to mend it; empty where the message says it all.
	Fix string `json:"fix,omitempty"`
	// Accepted is the reason for which the cluster's team accepts the finding; empty where nobody does. It is never set for an error.
	Accepted string `json:"accepted,omitempty"`
	// Stops says that nothing is done for many clusters because of it. Errors about single ones may well be its consequences.
	Stops bool `json:"-"`
}

// Place is where a finding stands: "path:line:column", as compilers print it.
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

// String is the finding on one line: place, severity, code, message and fix.
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

// Sorted returns the findings in their one stable order (gravest first, what stops others before those, then by place, cluster, code and
// message), each once.
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

// first orders what is before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// Cause is the error to tell where there is room for one: what stops others, else one that isn't about a single cluster and so may be the
// cause of the others, else the first. It is nil when there is no error. The findings are in any order.
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
