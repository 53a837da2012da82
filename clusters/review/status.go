package review

import (
	"fmt"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/plan"
)

// Status returns the commit status for the head: ok is false only if merging would leave the branch with an error that it
// doesn't have now, or if it can't be merged. The text is one line, the most important first. Forges cut it.
func (r *Review) Status() (ok bool, text string) {
	prefix := ""
	if r.Trust == Keyless || r.Trust == NoKeys {
		prefix = "keyless check: "
	}
	if n := len(r.Conflicts); n > 0 {
		text := "can't be merged: conflict in " + plainText(r.Conflicts[0].Path)
		if n > 1 {
			text += fmt.Sprintf(" and %s", plural(n-1, "other file", "other files"))
		}
		return false, text
	}
	errors := only(r.New, finding.Error)
	switch {
	case len(errors) > 0:
		text = plural(len(errors), "new error", "new errors") + ": " + place(finding.Cause(errors))
		if changes := r.actions(plainName); changes != "" {
			text += "; otherwise " + changes
		}
		return false, prefix + text
	case r.Stopped:
		return true, prefix + "the base is broken, and this doesn't change that: " + place(finding.Cause(r.Standing))
	}
	return true, prefix + r.summary(plainName)
}

// plainText returns a text for places that know no Markdown.
func plainText(text string) string { return visible(text, maxValue) }

func plainName(name string) string { return visible(name, maxName) }

// summary tells what the pull request does, such as "adds 1 cluster (eu-west-2), changes 2; 1 warning".
func (r *Review) summary(name func(string) string) string {
	var parts []string
	if errors := only(r.New, finding.Error); len(errors) > 0 {
		text := plural(len(errors), "new error", "new errors")
		if f := finding.Cause(errors); f.Path != "" {
			text += " (" + name(fmt.Sprintf("%s:%d", f.Path, max(f.Line, 1))) + ")"
		}
		parts = append(parts, text)
	}
	if n := len(r.LeftOut); n > 0 {
		parts = append(parts, plural(n, "cluster is", "clusters are")+" left out ("+some(r.LeftOut, name)+")")
	}
	if changes := r.actions(name); changes != "" {
		parts = append(parts, changes)
	}
	if n := len(only(r.New, finding.Warning)); n > 0 {
		parts = append(parts, plural(n, "warning", "warnings"))
	}
	if n := len(r.Rules); n > 0 {
		parts = append(parts, "changes "+plural(n, "rule file", "rule files"))
	}
	if n := len(only(r.Mended, finding.Error)); n > 0 {
		parts = append(parts, "fixes "+plural(n, "error", "errors"))
	}
	if n := len(only(r.Standing, finding.Error)); n > 0 && !r.Stopped {
		parts = append(parts, plural(n, "error was", "errors were")+" there before")
	}
	if len(parts) == 0 || len(r.Changes)+len(r.Held) == 0 && len(only(r.New, finding.Error)) == 0 {
		parts = append([]string{"changes no cluster"}, parts...)
	}
	return strings.Join(parts, "; ")
}

// actions is "removes 1 cluster (old), adds 2 (a, b)". The noun is only in the first.
func (r *Review) actions(name func(string) string) string {
	var parts []string
	noun := func(n int) string {
		if len(parts) > 0 {
			return fmt.Sprint(n)
		}
		return plural(n, "cluster", "clusters")
	}
	for _, a := range []struct {
		action plan.Action
		verb   string
	}{{plan.Remove, "removes"}, {plan.Add, "adds"}, {plan.Change, "changes"}, {plan.Move, "moves"}} {
		if names := r.names(a.action); len(names) > 0 {
			parts = append(parts, a.verb+" "+noun(len(names))+" ("+some(names, name)+")")
		}
	}
	waiting, kept, others := 0, 0, 0
	for i := range r.Held {
		switch h := &r.Held[i]; {
		case h.Standing:
		case h.Approvable:
			waiting++
		default:
			kept++
		}
	}
	for i := range r.Changes {
		if r.Changes[i].Kind != plan.KindCluster {
			others++
		}
	}
	if waiting > 0 {
		parts = append([]string{plural(waiting, "removal waits for approval", "removals wait for approval")}, parts...)
	}
	if kept > 0 {
		parts = append(parts, "keeps "+plural(kept, "object", "objects")+" no longer in Git")
	}
	if others > 0 {
		parts = append(parts, "changes "+plural(others, "other object", "other objects"))
	}
	return strings.Join(parts, ", ")
}

// names returns the clusters with an action.
func (r *Review) names(action plan.Action) []string {
	var names []string
	for i := range r.Changes {
		if c := &r.Changes[i]; c.Kind == plan.KindCluster && c.Action == action {
			names = append(names, c.Name)
		}
	}
	return names
}

// some lists the first names.
func some(names []string, name func(string) string) string {
	var list []string
	for _, n := range names[:min(len(names), few)] {
		list = append(list, name(n))
	}
	if n := len(names) - few; n > 0 {
		list = append(list, fmt.Sprintf("%d more", n))
	}
	return strings.Join(list, ", ")
}

// place is a finding with its place, as one line.
func place(f *finding.Finding) string {
	if f == nil {
		return "see its findings"
	}
	text := f.Message
	if f.Path != "" {
		text = fmt.Sprintf("%s:%d: %s", f.Path, max(f.Line, 1), f.Message)
	}
	return visible(text, maxMessage)
}
