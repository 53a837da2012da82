package main

import (
	"context"
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

// notes are what users must know about each cluster.
func (im *importer) notes() (list []finding.Finding) {
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
	return append(list, im.sharedNotes()...)
}

// imported is what import adds to a result.
type imported struct {
	Clusters []importedCluster `json:"clusters"`
	Left     []author.Left     `json:"left"`
	// InGit counts the clusters that were in Git already. Of these, Differ differ from their live entries.
	InGit  int          `json:"inGit"`
	Differ []difference `json:"differ"`
	// Shared are the fields that clusters have in common, and no longer in their files.
	Shared []author.Shared `json:"shared,omitempty"`
}

type importedCluster struct {
	Name  string   `json:"name"`
	Notes []string `json:"notes,omitempty"`
}

// summary counts what was imported.
func (im *importer) summary(changes []author.Change) string {
	return fmt.Sprintf("%s and %s imported into %s; %s in Git already; %s left out", plural(len(im.result.Clusters), "cluster"),
		plural(len(im.result.Manifests), "Secret"), plural(len(changes), "file"), plural(im.known.skipped, "cluster"), plural(len(im.result.Left), "cluster"))
}

// print writes what was imported, and the commands that finish as a script.
func (im *importer) print(changes []author.Change) error {
	im.tell("muster: " + im.summary(changes))
	steps, err := im.next(changes)
	if err != nil {
		return err
	}
	for i, step := range steps {
		lines := strings.Split(im.redactor.String(strings.Join(step.Commands, "\n")), "\n")
		for i, line := range lines {
			lines[i] = printable(line)
		}
		about := folded(fmt.Sprintf("# %d. %s", i+1, printable(step.About)), widthOf(im.stdout), "# ")
		if _, err := fmt.Fprintf(im.stdout, "%s\n%s\n", about, strings.Join(lines, "\n")); err != nil {
			return err
		}
	}
	return nil
}

// runJSON writes the files, and prints the result for programs.
func (im *importer) runJSON(ctx context.Context, changes []author.Change) error {
	im.allow(im.newConfigs())
	p, err := im.propose(ctx, changes)
	if err != nil {
		return err
	}
	p.imported = &imported{Clusters: []importedCluster{}, Left: []author.Left{}, InGit: im.known.skipped, Differ: append([]difference{}, im.known.differ...), Shared: im.shared.values}
	for _, d := range im.result.Clusters {
		p.imported.Clusters = append(p.imported.Clusters, importedCluster{d.Cluster.Metadata.Name, im.maskedTexts(d.Notes)})
	}
	for _, left := range im.result.Left {
		left.Reason = im.redactor.String(left.Reason)
		p.imported.Left = append(p.imported.Left, left)
	}
	unlisted, err := im.unlisted(ctx, changes)
	if err != nil {
		return err
	}
	p.notes = append(im.notes(), unlisted...)
	if !im.dryRun {
		if p.next, err = im.next(changes); err != nil {
			return err
		}
	}
	return im.carryOut(im.folder, p)
}
