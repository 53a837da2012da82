package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
)

// The part of JUnit's XML that GitLab, Jenkins and the usual GitHub actions read. It has no standard; the attributes are those
// that all of them accept.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Failure *junitFailure `xml:"failure"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitFailure struct {
		Message string       `xml:"message,attr"`
		Type    finding.Code `xml:"type,attr"`
		Text    string       `xml:",chardata"`
	}
)

// printJUnit writes the findings of a command: a test case for each file, which fails if the file has errors. Other findings are its
// output.
func printJUnit(w io.Writer, command string, files []string, findings []finding.Finding) error {
	of := map[string][]finding.Finding{}
	for _, name := range files {
		of[name] = nil
	}
	for _, f := range findings {
		of[f.Path] = append(of[f.Path], f)
	}
	suite := junitSuite{Name: command}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		c := junitCaseOf(command, name, of[name])
		if suite.Tests++; c.Failure != nil {
			suite.Failures++
		}
		suite.Cases = append(suite.Cases, c)
	}
	text, err := xml.MarshalIndent(junitSuites{Tests: suite.Tests, Failures: suite.Failures, Suites: []junitSuite{suite}}, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}

func junitCaseOf(command, file string, findings []finding.Finding) junitCase {
	c := junitCase{Name: visible(file), Class: command, File: visible(file)}
	if file == "" { // findings about no file
		c.Name = "."
	}
	var failures, out []string
	for _, f := range findings {
		line := visible(f.String())
		if f.Severity != finding.Error {
			out = append(out, line)
			continue
		}
		if c.Failure == nil {
			c.Failure = &junitFailure{Message: visible(textOf(f)), Type: f.Code}
		}
		failures = append(failures, line)
	}
	if c.Failure != nil {
		c.Failure.Text = strings.Join(failures, "\n")
	}
	c.Out = strings.Join(out, "\n")
	return c
}
