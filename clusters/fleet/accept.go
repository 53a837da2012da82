package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
)

// AcceptPrefix begins the annotations of a cluster file that accept a finding: "muster.dev/accept.CODE: REASON".
const AcceptPrefix = "muster.dev/accept."

// CodeAcceptance is the code of findings about acceptances themselves.
const CodeAcceptance finding.Code = "acceptance"

// acceptance records that a team knows a finding about one of its clusters and why it leaves it as it is. It is in the
// cluster's file, where everyone who can push can write it. So it hides nothing: accepted findings are still listed,
// with the reason. Errors can't be accepted, and neither can findings about recipients, which don't concern only one
// cluster.
type acceptance struct {
	code            finding.Code
	reason, cluster string
	// path, line and column are the place of the annotation.
	path         string
	line, column int
}

// problem returns why an acceptance has no effect, or "".
func (a acceptance) problem() string {
	rule, known := finding.RuleOf(a.code)
	switch {
	case !known:
		return fmt.Sprintf("%s%s has no effect: no rule has this code", AcceptPrefix, a.code)
	case slices.Equal(rule.Severities, []finding.Severity{finding.Error}):
		return fmt.Sprintf("%s%s has no effect: an error can't be accepted", AcceptPrefix, a.code)
	case rule.Subject == finding.Encryption:
		return fmt.Sprintf("%s%s has no effect: a single cluster can't accept findings about encryption", AcceptPrefix, a.code)
	case a.code == CodeAcceptance:
		return fmt.Sprintf("%s%s has no effect: findings about acceptances can't be accepted", AcceptPrefix, a.code)
	case a.why() == "":
		return fmt.Sprintf("%s%s has no effect, because it has no reason", AcceptPrefix, a.code)
	}
	return ""
}

// why returns the reason on one line.
func (a acceptance) why() string {
	words := []rune(strings.Join(strings.Fields(a.reason), " "))
	const most = 200
	if len(words) > most {
		return string(words[:most]) + "…"
	}
	return string(words)
}

// about reports whether a finding has the code, and is about the cluster or its file.
func (a acceptance) about(f finding.Finding) bool {
	return f.Code == a.code && (f.Cluster == a.cluster || f.Cluster == "" && f.Path == a.path)
}

// accept marks the accepted findings, and adds findings about the acceptances. final is true when every stage has added
// its findings, so that an acceptance without a finding is no longer needed. For findings about live objects, that is
// never known.
func accept(r *finding.Report, list []acceptance, final bool) {
	for _, a := range list {
		f := finding.Finding{Code: CodeAcceptance, Severity: finding.Warning, Cluster: a.cluster, Path: a.path, Line: a.line, Column: a.column, Message: a.problem()}
		if f.Message == "" {
			rule, _ := finding.RuleOf(a.code)
			if a.mark(r.Findings) || !final || rule.Subject == finding.Live {
				continue
			}
			f.Severity, f.Message = finding.Info, fmt.Sprintf("%s%s has no effect: the cluster has no such finding", AcceptPrefix, a.code)
			f.Fix = "remove the annotation"
		}
		var own finding.Report
		own.Add(f)
		if !slices.Contains(r.Findings, own.Findings[0]) {
			r.Findings = append(r.Findings, own.Findings...)
		}
	}
}

// mark marks the findings that the acceptance is about, and reports whether there are any.
func (a acceptance) mark(findings []finding.Finding) bool {
	found := false
	for i := range findings {
		f := &findings[i]
		if !a.about(*f) {
			continue
		}
		found = true
		if f.Severity != finding.Error {
			f.Accepted = a.why()
		}
	}
	return found
}

// Accept marks the findings so far that the clusters' annotations accept.
func (f *Sealed) Accept() { accept(&f.Report, acceptances(f.Clusters, f.Position), false) }

// Accept marks the findings that the clusters' annotations accept, after every stage has added its findings.
func (f *Opened) Accept() { accept(&f.Report, acceptances(f.Clusters, f.Position), true) }

func acceptances(clusters []Cluster, position func(Origin, []string) (int, int)) []acceptance {
	var list []acceptance
	for i := range clusters {
		c := &clusters[i]
		if c.File == nil {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(c.File.Metadata.Annotations)) {
			code, ok := strings.CutPrefix(key, AcceptPrefix)
			if !ok {
				continue
			}
			a := acceptance{code: finding.Code(code), reason: c.File.Metadata.Annotations[key], cluster: c.Name, path: c.Origin.Path}
			a.line, a.column = position(c.Origin, []string{"metadata", "annotations", key})
			list = append(list, a)
		}
	}
	return list
}
