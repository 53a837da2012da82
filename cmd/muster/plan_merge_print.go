package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/review"
)

// printJudged writes what a merge would do.
func (s *shell) printJudged(format string, repo *repository, j *judged) error {
	switch format {
	case "text":
		return s.printJudgedText(repo, j)
	case "json":
		ok, summary := j.Status()
		return writeJSON(s.stdout, struct {
			OK      bool   `json:"ok"`
			Summary string `json:"summary"`
			*review.Review
		}{ok, summary, j.Review})
	case "markdown":
		_, err := fmt.Fprintln(s.stdout, s.redactor.String(j.Markdown(review.Options{SetUp: j.setUp})))
		return err
	}
	return s.printReports("muster plan", format, []report{{repo, j.files, j.findings()}})
}

func (s *shell) printJudgedText(repo *repository, j *judged) error {
	var b strings.Builder
	s.writeChanges(&b, j)
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	_, text := j.Status()
	text, keyless := strings.CutPrefix(text, "keyless check: ")
	merging := fmt.Sprintf("Merging %s into %s", revisionText(j.head, j.Head), revisionText(j.base, j.Base))
	if keyless {
		merging += ", checked without keys"
	}
	b.WriteString(folded(merging+": "+printable(strings.TrimSpace(text)), widthOf(s.stdout), "    ") + "\n")
	if _, err := fmt.Fprint(s.stdout, b.String()); err != nil {
		return err
	}
	return s.printFindings(s.stderr, repo, j.findings())
}

// writeChanges writes the changes of a merge, and the removals that would wait.
func (s *shell) writeChanges(b *strings.Builder, j *judged) {
	paint := s.painter(s.stdout)
	changes := slices.Concat(j.Changes, j.Held)
	width := 0
	for i := range changes {
		width = max(width, utf8.RuneCountInString(printable(subject(stepOf(&changes[i])))))
	}
	for i := range changes {
		writeChange(b, paint, &changes[i], width)
	}
	for _, rule := range j.Rules {
		fmt.Fprintf(b, "%s: %s\n", printable(rule.Path), printable(rule.What))
	}
	if j.Digest != "" {
		fmt.Fprintf(b, "! waits until exactly these are approved after the merge, with this annotation on the AuditSync, COMMIT being the commit of the merge:\n"+
			"    %s=COMMIT-%s\n", inventory.ApproveAnnotation, j.Digest)
	}
}

// revisionText is a revision as the user gave it, and its commit.
func revisionText(given, commit string) string {
	if strings.HasPrefix(commit, given) {
		return short(commit)
	}
	return printable(given) + " (" + short(commit) + ")"
}

func stepOf(c *review.Change) plan.Step {
	return plan.Step{Action: c.Action, Kind: c.Kind, Name: c.Name, AuditConfig: c.AuditConfig, Reason: plan.Reason(c.Reason), NamedBy: c.NamedBy}
}

// writeChange writes a change with its details, in the columns of a plan.
func writeChange(b *strings.Builder, paint func(colour, string) string, c *review.Change, width int) {
	name := printable(subject(stepOf(c)))
	line := name + strings.Repeat(" ", width-utf8.RuneCountInString(name)) + "  " + printable(c.Path)
	why := reason(stepOf(c), time.Time{})
	if c.Action == plan.Move && c.From != "" {
		why = "was " + c.From
	}
	if why != "" {
		line = strings.TrimRight(line, " ") + "  " + paint(dim, printable(why))
	}
	fmt.Fprintf(b, "%s %s\n", paint(actionColour[c.Action], sign[c.Action]), strings.TrimRight(line, " "))
	for _, detail := range details(c) {
		fmt.Fprintf(b, "    %s\n", printable(detail))
	}
}

// details are the fields and credentials that a change concerns.
func details(c *review.Change) []string {
	var list []string
	for i := range c.Credentials {
		list = append(list, credentialText(&c.Credentials[i]))
	}
	if when := c.Schedule; when != nil && when.Resolved != "" {
		f := plan.Field{Path: "schedule", From: when.Before, To: when.Resolved}
		if when.Written != "" && when.Written != when.Resolved {
			f.To += " (from " + when.Written + ")"
		}
		list = append(list, fieldText(c, f))
	}
	for _, f := range c.Fields {
		if f.Path != "schedule" || c.Schedule == nil {
			list = append(list, fieldText(c, f))
		}
	}
	return list
}

func fieldText(c *review.Change, f plan.Field) string {
	if c.Action == plan.Add && f.From == "" && f.To != "" {
		return f.Path + ": " + f.To
	}
	return change(c.Kind, f)
}

// credentialText tells that a Secret of a cluster changes. It has no value.
func credentialText(c *review.Credential) string {
	did := map[plan.Action]string{plan.Add: "new", plan.Change: "changed", plan.Move: "moves with the cluster", plan.Remove: "removed"}[c.Action]
	text := c.Content + ": " + did
	if c.Elsewhere {
		text += ", and sent to another server than before, or its server is verified in another way"
	}
	if !c.Expires.IsZero() && c.Action != plan.Remove {
		text += ", expires " + c.Expires.Format(time.DateOnly)
	}
	return text
}
