package main

import (
	"fmt"
	"strings"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/finding"
)

// The codes of what import reports.
const (
	codeNotImported finding.Code = "not-imported"
	codeImported    finding.Code = "imported"
)

// printNotes writes what users must know about each cluster to standard error.
func (im *importer) printNotes() {
	var list []finding.Finding
	for _, left := range im.result.Left {
		list = append(list, finding.Finding{Code: codeNotImported, Severity: finding.Error, Cluster: left.Name, Message: "it is left out: " + left.Reason, Fix: left.Fix})
	}
	for _, d := range im.known.differ {
		list = append(list, finding.Finding{Code: codeNotImported, Severity: finding.Error, Cluster: d.Cluster, Path: d.Path,
			Message: "it is in Git already, and differs from the live entry in " + strings.Join(d.Fields, ", "), Fix: "edit the file; muster plan shows both values"})
	}
	for _, d := range im.result.Clusters {
		for _, note := range d.Notes {
			list = append(list, finding.Finding{Code: codeImported, Severity: finding.Info, Cluster: d.Cluster.Metadata.Name, Message: note})
		}
	}
	_ = im.printFindings(im.stderr, im.repository, list) // a closed standard error can't be reported
}

// imported is the result for programs.
type imported struct {
	Files    []string          `json:"files"`
	Clusters []importedCluster `json:"clusters"`
	Left     []author.Left     `json:"left"`
	// InGit counts the clusters that were in Git already. Of these, Differ differ from their live entries.
	InGit  int          `json:"inGit"`
	Differ []difference `json:"differ"`
	Next   []nextStep   `json:"next"`
}

type importedCluster struct {
	Name  string   `json:"name"`
	Notes []string `json:"notes,omitempty"`
}

// print writes what was imported, and the commands that finish as a script.
func (im *importer) print(changes []author.Change) error {
	fmt.Fprintf(im.stderr, "muster: %s and %s imported into %s; %s in Git already; %s left out\n", plural(len(im.result.Clusters), "cluster"),
		plural(len(im.result.Manifests), "Secret"), plural(len(changes), "file"), plural(im.known.skipped, "cluster"), plural(len(im.result.Left), "cluster"))
	var steps []nextStep
	if len(changes) > 0 {
		var err error
		if steps, err = im.next(); err != nil {
			return err
		}
	}
	if im.output.value == "json" {
		return im.printJSON(changes, steps)
	}
	for i, step := range steps {
		lines := strings.Split(im.redactor.String(strings.Join(step.Commands, "\n")), "\n")
		for i, line := range lines {
			lines[i] = printable(line)
		}
		if _, err := fmt.Fprintf(im.stdout, "# %d. %s\n%s\n", i+1, printable(step.About), strings.Join(lines, "\n")); err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) printJSON(changes []author.Change, steps []nextStep) error {
	result := imported{Files: []string{}, Clusters: []importedCluster{}, Left: []author.Left{}, InGit: im.known.skipped, Differ: []difference{}, Next: []nextStep{}}
	for _, c := range changes {
		result.Files = append(result.Files, c.Path)
	}
	for _, d := range im.result.Clusters {
		result.Clusters = append(result.Clusters, importedCluster{d.Cluster.Metadata.Name, im.maskedTexts(d.Notes)})
	}
	for _, left := range im.result.Left {
		left.Reason = im.redactor.String(left.Reason)
		result.Left = append(result.Left, left)
	}
	result.Differ = append(result.Differ, im.known.differ...)
	for _, step := range steps {
		result.Next = append(result.Next, nextStep{step.About, im.maskedTexts(step.Commands)})
	}
	return writeJSON(im.stdout, result)
}

// maskedTexts are texts without secrets, never nil.
func (s *shell) maskedTexts(texts []string) []string {
	masked := make([]string, len(texts))
	for i, text := range texts {
		masked[i] = s.redactor.String(text)
	}
	return masked
}
