package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/redact"
)

// sign marks an action in a plan.
var sign = map[plan.Action]string{plan.Add: "+", plan.Change: "~", plan.Move: ">", plan.Remove: "-", plan.Hold: "!"}

var actionColour = map[plan.Action]colour{plan.Add: green, plan.Change: yellow, plan.Move: cyan, plan.Remove: red, plan.Hold: yellow}

// printPlan writes a plan with secrets masked.
func (s *shell) printPlan(format string, p planned) error {
	steps := make([]plan.Step, len(p.Steps))
	for i, step := range p.Steps {
		steps[i] = s.maskedStep(step)
	}
	if format == "json" {
		return writeJSON(s.stdout, s.planDocument(p, steps))
	}
	paint, now := s.painter(s.stdout), time.Now()
	var b strings.Builder
	subjects, width := make([]string, len(steps)), 0
	for i, step := range steps {
		subjects[i] = printable(subject(step))
		width = max(width, utf8.RuneCountInString(subjects[i]))
	}
	for i, step := range steps {
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(subjects[i]))
		line := subjects[i] + pad + "  " + printable(step.Origin)
		if why := reason(step, now); why != "" {
			line = strings.TrimRight(line, " ") + "  " + paint(dim, printable(why))
		}
		writeStep(&b, paint, "", step, strings.TrimRight(line, " "))
	}
	if len(steps) > 0 {
		b.WriteString("\n")
	}
	_, err := fmt.Fprint(s.stdout, b.String()+summary(p)+"\n")
	return err
}

// writeStep writes a step, described by text, with the fields that it changes.
func writeStep(b *strings.Builder, paint func(colour, string) string, indent string, step plan.Step, text string) {
	fmt.Fprintf(b, "%s%s %s\n", indent, paint(actionColour[step.Action], sign[step.Action]), text)
	for _, field := range step.Fields {
		fmt.Fprintf(b, "%s    %s\n", indent, printable(change(step.Kind, field)))
	}
}

// subject names what a step is about: "cluster prod-eu (mondoo-client)".
func subject(step plan.Step) string {
	text := step.Kind + " " + step.Name
	if step.Kind == plan.KindCluster && step.AuditConfig != "" {
		text += " (" + step.AuditConfig + ")"
	}
	return text
}

func reason(step plan.Step, now time.Time) string {
	switch {
	case step.NamedBy != "":
		return "held: " + step.NamedBy + " names it"
	case step.Action == plan.Hold:
		return "held: " + string(step.Reason)
	case step.Drift:
		return "drift: " + step.Blame(func(a plan.Author) string { return whoAndWhen(a, now) })
	}
	return string(step.Reason)
}

// whoAndWhen is a field manager with the time of its change: "kubectl-edit 2 minutes ago (2026-11-23T03:50:00Z)".
func whoAndWhen(a plan.Author, now time.Time) string {
	if a.Time.IsZero() {
		return a.Name()
	}
	return fmt.Sprintf("%s %s (%s)", a.Name(), ago(now.Sub(a.Time)), a.Time.UTC().Format(time.RFC3339))
}

// ago is a time in the past, in the largest unit that it fills. A negative duration is possible: clocks of two machines may
// differ a little.
func ago(past time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch n := int(past / unit.length); {
		case n == 1:
			return "1 " + unit.name + " ago"
		case n > 1:
			return fmt.Sprintf("%d %ss ago", n, unit.name)
		}
	}
	return "less than a minute ago"
}

// change is a field with its old and new values. Values of Secrets are never shown.
func change(kind string, f plan.Field) string {
	switch {
	case kind == plan.KindSecret && strings.HasPrefix(f.Path, "data."), f.From == "" && f.To == "":
		return f.Path + ": changed"
	case f.From == "":
		return f.Path + ": " + f.To + " (new)"
	case f.To == "":
		return f.Path + ": " + f.From + " (removed)"
	default:
		return f.Path + ": " + f.From + " → " + f.To
	}
}

func (s *shell) maskedStep(step plan.Step) plan.Step {
	step.Name, step.Origin, step.Reason = s.redactor.String(step.Name), s.redactor.String(step.Origin), plan.Reason(s.redactor.String(string(step.Reason)))
	step.NamedBy = s.redactor.String(step.NamedBy)
	fields := make([]plan.Field, len(step.Fields))
	for i, f := range step.Fields {
		to := s.redactor.String(f.To)
		if to != f.To {
			f.From = redact.Mask // the old value was a secret as well, which the redactor doesn't know
		}
		fields[i] = plan.Field{Path: f.Path, From: s.redactor.String(f.From), To: to}
	}
	step.Fields = fields
	step.ChangedBy = slices.Clone(step.ChangedBy)
	for i := range step.ChangedBy {
		step.ChangedBy[i].Manager = s.redactor.String(step.ChangedBy[i].Manager)
	}
	return step
}

// totals counts the steps of a plan.
type totals struct {
	Add         int `json:"add"`
	Change      int `json:"change"`
	Move        int `json:"move"`
	Remove      int `json:"remove"`
	Held        int `json:"held"`
	Quarantined int `json:"quarantined"`
}

func (p planned) totals() totals {
	n := map[plan.Action]int{}
	for _, step := range p.Steps {
		n[step.Action]++
	}
	return totals{n[plan.Add], n[plan.Change], n[plan.Move], n[plan.Remove], n[plan.Hold], p.quarantined}
}

func summary(p planned) string {
	t := p.totals()
	text := fmt.Sprintf("%d to add, %d to change, %d to remove, %d held", t.Add, t.Change, t.Remove, t.Held)
	if t.Move > 0 {
		text += fmt.Sprintf(", %d moved", t.Move)
	}
	text += fmt.Sprintf("; %d quarantined", t.Quarantined)
	switch {
	case p.Stopped:
		return "No plan: first fix the error that affects every cluster."
	case p.changes() == 0 && t.Held == 0 && finding.Errors(p.Findings) == 0:
		return "No changes. " + text
	}
	return text
}

// planDocument is the plan for programs.
func (s *shell) planDocument(p planned, steps []plan.Step) any {
	findings := []finding.Finding{}
	for _, f := range finding.Sorted(p.Findings) {
		findings = append(findings, s.masked(f))
	}
	return struct {
		Namespace string              `json:"namespace"`
		Sync      string              `json:"sync,omitempty"`
		Revision  string              `json:"revision,omitempty"`
		Stopped   bool                `json:"stopped"`
		Summary   totals              `json:"summary"`
		Steps     []plan.Step         `json:"steps"`
		Foreign   map[string][]string `json:"foreign"`
		Findings  []finding.Finding   `json:"findings"`
	}{p.Namespace, p.Sync, p.Revision, p.Stopped, p.totals(), steps, p.Foreign, findings}
}
