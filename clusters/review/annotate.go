package review

import (
	"github.com/muster-gitops/muster/clusters/finding"
)

// Annotation is a finding at a line of a file at the head.
type Annotation struct {
	Path string `json:"path"`
	// Line counts from 1. A finding about a whole file is at its first line.
	Line     int              `json:"line"`
	EndLine  int              `json:"endLine"`
	Severity finding.Severity `json:"severity"`
	Code     finding.Code     `json:"code"`
	Title    string           `json:"title"`
	Message  string           `json:"message"`
}

// Annotations returns the new findings that are at a file, the most severe first. Their texts are for places that know no
// Markdown.
func (r *Review) Annotations() []Annotation {
	var list []Annotation
	for _, severity := range []finding.Severity{finding.Error, finding.Warning, finding.Info} {
		for _, f := range only(r.New, severity) {
			if f.Path == "" {
				continue
			}
			title := string(f.Code)
			if f.Cluster != "" {
				title = f.Cluster + ": " + title
			}
			line := max(f.Line, 1)
			list = append(list, Annotation{Path: f.Path, Line: line, EndLine: line, Severity: severity, Code: f.Code,
				Title: plainText(title), Message: visible(sentence(f), maxMessage)})
		}
	}
	return list
}
