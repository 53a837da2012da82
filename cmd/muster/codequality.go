package main

import (
	"fmt"

	"github.com/muster-gitops/muster/clusters/finding"
)

// codeQuality is a finding in GitLab's Code Quality report, which is the part of Code Climate's format that GitLab reads.
type codeQuality struct {
	Description string       `json:"description"`
	CheckName   finding.Code `json:"check_name"`
	Fingerprint string       `json:"fingerprint"`
	Severity    string       `json:"severity"`
	Location    struct {
		Path  string `json:"path"`
		Lines struct {
			Begin int `json:"begin"`
		} `json:"lines"`
	} `json:"location"`
}

var codeQualitySeverity = map[finding.Severity]string{finding.Error: "critical", finding.Warning: "minor", finding.Info: "info"}

// codeQualityOf returns the report. GitLab shows one finding for each fingerprint, so findings that differ in nothing but
// their line are numbered.
func codeQualityOf(findings []finding.Finding) []codeQuality {
	report := []codeQuality{}
	seen := map[string]int{}
	for _, f := range findings {
		id := fingerprint(f)
		if seen[id]++; seen[id] > 1 {
			id = fmt.Sprintf("%s-%d", id, seen[id])
		}
		severity := codeQualitySeverity[f.Severity]
		if f.Accepted != "" {
			severity = codeQualitySeverity[finding.Info]
		}
		q := codeQuality{Description: visible(textOf(f)), CheckName: f.Code, Fingerprint: id, Severity: severity}
		if q.Location.Path = f.Path; f.Path == "" {
			q.Location.Path = "."
		}
		q.Location.Lines.Begin = max(1, f.Line)
		report = append(report, q)
	}
	return report
}
