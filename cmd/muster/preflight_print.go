package main

import (
	"fmt"
	"strings"

	"github.com/muster-gitops/muster/clusters/preflight"
)

// report prints the results, and returns the exit status.
func (c *checker) report(format string) error {
	if format == "json" {
		list := []checkedCluster{}
		for _, one := range c.checked {
			one.Cluster, one.AuditConfig, one.File = c.redactor.String(one.Cluster), c.redactor.String(one.AuditConfig), c.redactor.String(one.File)
			list = append(list, one)
		}
		if err := writeJSON(c.stdout, map[string]any{"clusters": list}); err != nil {
			return fmt.Errorf("print results: %w", err)
		}
	} else if err := c.print(); err != nil {
		return fmt.Errorf("print results: %w", err)
	}
	if len(c.findings) > 0 { // so there is a tree, and all of them are of one repository
		if err := c.printFindings(c.stderr, c.trees[0].repository, c.findings); err != nil {
			return fmt.Errorf("print findings: %w", err)
		}
	}
	if failed := c.count(); failed || len(c.findings) > 0 {
		return statusError(exitFindings)
	}
	return nil
}

// count prints how many clusters passed, to standard error, and reports whether one failed.
func (c *checker) count() (failed bool) {
	var passed, bad, skipped int
	for _, one := range c.checked {
		switch {
		case one.Failure() != nil:
			bad++
		case one.NotChecked != "":
			skipped++
		default:
			passed++
		}
	}
	fmt.Fprintf(c.stderr, "%s: %d passed, %d failed, %d not checked from here\n", plural(len(c.checked), "cluster"), passed, bad, skipped)
	return bad > 0
}

// print writes a block for each cluster.
func (c *checker) print() error {
	var b strings.Builder
	paint, width := c.painter(c.stdout), widthOf(c.stdout)
	for i, one := range c.checked {
		if i > 0 {
			b.WriteString("\n")
		}
		title := one.Cluster
		if one.File != "" {
			title += " (" + one.repo.fromWorkingDir(one.File) + ")"
		}
		b.WriteString(paint(bold, printable(c.redactor.String(title))) + "\n")
		b.WriteString(preflightText(one.Result, paint, width))
	}
	_, err := fmt.Fprint(c.stdout, b.String())
	return err
}

// marks are how a state looks.
var marks = map[preflight.State]cell{preflight.Passed: {"√", green}, preflight.Failed: {"×", red}, preflight.NotReached: {"-", dim}, preflight.NotChecked: {"-", dim}}

// preflightText is the list of a cluster's checks, as `linkerd check` has it. Checks that couldn't be made are one line.
func preflightText(r preflight.Result, paint func(colour, string) string, width int) string {
	var b strings.Builder
	const indent = 16 // of a message
	line := func(mark cell, name, text string) {
		lines := []string{text}
		if width > 0 {
			lines = wrapped(text, max(20, width-indent))
		}
		head := fmt.Sprintf("  %s %-11s ", painted(paint, mark), name)
		b.WriteString(strings.TrimRight(head+strings.Join(lines, "\n"+strings.Repeat(" ", indent)), " ") + "\n")
	}
	var unreached []string
	for _, check := range r.Checks {
		message := printable(check.Message)
		switch {
		case check.State == preflight.NotReached:
			unreached = append(unreached, string(check.Name))
		case check.State == preflight.NotChecked && message == "":
			// The reason is the same for all.
		case check.State == preflight.NotChecked:
			line(marks[check.State], string(check.Name), "not checked: "+message)
		case check.State == preflight.Failed:
			line(marks[check.State], string(check.Name), message+" ["+string(check.Cause)+"]")
			line(cell{text: " "}, "", "Fix: "+printable(check.Fix))
		default:
			line(marks[check.State], string(check.Name), message)
		}
	}
	if len(unreached) > 0 {
		line(marks[preflight.NotReached], "not reached:", strings.Join(unreached, ", "))
	}
	if r.NotChecked != "" {
		line(marks[preflight.NotChecked], "not checked", "from here: "+printable(r.NotChecked))
	}
	return b.String()
}
