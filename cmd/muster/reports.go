package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
)

// printReports writes what a command has found, in one of the formats of lint.
func (s *shell) printReports(command, format string, reports []report) error {
	switch format {
	case "json":
		return writeJSON(s.stdout, map[string]any{"findings": s.all(reports)})
	case "sarif":
		return writeJSON(s.stdout, sarif(s.all(reports)))
	case "junit":
		return printJUnit(s.stdout, command, s.checked(reports), s.all(reports))
	case "gitlab":
		return writeJSON(s.stdout, codeQualityOf(s.all(reports)))
	case "github":
		return printAnnotations(s.stdout, s.all(reports))
	}
	for _, r := range reports {
		if err := s.printFindings(s.stdout, r.repo, r.findings); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(s.stderr, count(s.all(reports)))
	return err
}

// all are the findings of all reports, masked; never nil, so that JSON has a list.
func (s *shell) all(reports []report) []finding.Finding {
	list := []finding.Finding{}
	for _, r := range reports {
		for _, f := range r.findings {
			list = append(list, s.masked(f))
		}
	}
	return list
}

// checked are the files of all reports, masked.
func (s *shell) checked(reports []report) []string {
	var files []string
	for _, r := range reports {
		for _, name := range r.files {
			files = append(files, s.redactor.String(name))
		}
	}
	return files
}

func count(findings []finding.Finding) string {
	n, accepted := map[finding.Severity]int{}, 0
	for _, f := range findings {
		if f.Accepted != "" {
			accepted++
			continue
		}
		n[f.Severity]++
	}
	text := fmt.Sprintf("%s, %s", plural(n[finding.Error], "error"), plural(n[finding.Warning], "warning"))
	if accepted > 0 {
		text += fmt.Sprintf(", %d accepted", accepted)
	}
	return text
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// annotation is the workflow command of GitHub Actions for a severity.
var annotation = map[finding.Severity]string{finding.Error: "error", finding.Warning: "warning", finding.Info: "notice"}

// In a workflow command, these characters would end the message or a property.
var (
	escapeMessage  = strings.NewReplacer("%", "%25", "\n", "%0A")
	escapeProperty = strings.NewReplacer("%", "%25", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// printAnnotations writes workflow commands of GitHub Actions, which show findings in a pull request at their lines.
func printAnnotations(w io.Writer, findings []finding.Finding) error {
	for _, f := range findings {
		var properties []string
		add := func(name, value string) {
			properties = append(properties, name+"="+escapeProperty.Replace(visible(value)))
		}
		if f.Path != "" {
			add("file", f.Path)
		}
		if f.Line > 0 {
			add("line", fmt.Sprint(f.Line))
		}
		if f.Column > 0 {
			add("col", fmt.Sprint(f.Column))
		}
		add("title", "muster: "+string(f.Code))
		command := annotation[f.Severity]
		if f.Accepted != "" {
			command = annotation[finding.Info]
		}
		if _, err := fmt.Fprintf(w, "::%s %s::%s\n", command, strings.Join(properties, ","), escapeMessage.Replace(visible(textOf(f)))); err != nil {
			return err
		}
	}
	return nil
}

// visible is printable for each line, for text whose newlines are escaped later.
func visible(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}

// textOf is a finding's text for formats that have separate places for its location and severity.
func textOf(f finding.Finding) string {
	text := f.Message
	if f.Cluster != "" {
		text = "cluster " + f.Cluster + ": " + text
	}
	switch {
	case f.Accepted != "":
		text += "; accepted: " + f.Accepted
	case f.Fix != "":
		text += "; " + f.Fix
	}
	return text
}
