package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/setup"
)

// printProposal writes what the written files do, and what is left to do. In a dry run it writes the files, too.
func (f *folder) printProposal(p *proposal, format string, dryRun bool) error {
	if format == "json" {
		return f.printProposalJSON(p, dryRun)
	}
	var b strings.Builder
	if dryRun {
		writeContents(&b, p.changes)
	} else {
		for _, c := range p.changes {
			verb := map[bool]string{true: "Wrote", false: "Removed"}[c.After != nil]
			fmt.Fprintf(&b, "%s %s\n\n", verb, printable(f.fromWorkingDir(c.Path)))
		}
	}
	start := b.Len()
	f.writeChanges(&b, p.judged)
	if b.Len() > start {
		b.WriteString("\n")
	}
	_, text := p.Status()
	would := map[bool]string{true: "This would do", false: "This does"}[dryRun]
	fmt.Fprintf(&b, "%s, once it is merged: %s\n", would, printable(strings.TrimSpace(strings.TrimPrefix(text, "keyless check: "))))
	for _, x := range p.setups {
		fmt.Fprintf(&b, "\nBefore the scan of %s works (the commands: muster setup %[1]s %s):\n\n", printable(x.Cluster), f.argument(f.path))
		for i, step := range x.Steps {
			fmt.Fprintf(&b, "    %d. %s (%s)\n", i+1, step.Title, step.Where)
		}
	}
	if !dryRun {
		fmt.Fprintf(&b, "\nThen commit and push:\n\n    %s\n", printable(f.commitCommand(p)))
	}
	_, err := fmt.Fprint(f.stdout, f.redactor.String(b.String()))
	return err
}

// printBriefly names the files that were written. In a dry run, it prints them.
func (f *folder) printBriefly(p *proposal, dryRun bool) error {
	for i, c := range p.changes {
		if !dryRun {
			verb := map[bool]string{true: "Wrote", false: "Removed"}[c.After != nil]
			fmt.Fprintf(f.stderr, "%s %s\n", verb, printable(f.fromWorkingDir(c.Path)))
			continue
		}
		separator := map[bool]string{true: "", false: "---\n"}[i == 0]
		if _, err := fmt.Fprintf(f.stdout, "%s# %s\n%s", separator, printable(c.Path), f.redactor.String(strings.TrimPrefix(string(c.After), "---\n"))); err != nil {
			return err
		}
	}
	return nil
}

func writeContents(b *strings.Builder, changes []author.Change) {
	for _, c := range changes {
		fmt.Fprintf(b, "# %s\n%s\n", printable(c.Path), strings.TrimPrefix(string(c.After), "---\n"))
	}
}

// tellRecipients names who can open files that are encrypted for the first time. .sops.yaml chooses them, and whoever wrote the branch
// wrote that.
func (f *folder) tellRecipients(changes []author.Change) {
	files := map[string][]string{}
	for _, c := range changes {
		if r, known := recipient.OfFile(c.After); known && !seal.IsEncrypted(string(c.Before)) {
			who := strings.Join(shown(r.All()), ", ")
			files[who] = append(files[who], f.fromWorkingDir(c.Path))
		}
	}
	for _, who := range slices.Sorted(maps.Keys(files)) {
		f.tell("encrypted for " + who + ": " + firstFew(files[who]))
	}
}

// commitCommand is the git command that commits the files.
func (f *folder) commitCommand(p *proposal) string {
	git, name := "git ", f.fromWorkingDir
	if top := f.fromWorkingDir("."); strings.Trim(top, "./") != "" { // the working directory isn't in the repository
		git += "-C " + setup.Quote(printable(top)) + " "
		name = func(file string) string { return file }
	}
	verb := "change "
	var names []string
	for _, c := range p.changes {
		names = append(names, setup.Quote(printable(name(c.Path))))
		if c.Before == nil {
			verb = "add "
		}
	}
	slices.Sort(names)
	list := strings.Join(names, " ")
	return git + "add -- " + list + " && " + git + "commit -m " + setup.Quote("clusters: "+verb+strings.Join(p.clusterNames(), ", ")) + " -- " + list + " && " + git + "push"
}

func (p *proposal) clusterNames() []string {
	var names []string
	for _, c := range slices.Concat(p.Changes, p.Held) {
		if !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

// writtenJSON is a file of a proposal. Content is set in a dry run.
type writtenJSON struct {
	Path    string `json:"path"`
	Action  string `json:"action"`
	Content string `json:"content,omitempty"`
}

// setupJSON is what a cluster needs elsewhere, as shell commands.
type setupJSON struct {
	Cluster  string `json:"cluster"`
	Method   string `json:"method"`
	Commands string `json:"commands"`
}

func (f *folder) printProposalJSON(p *proposal, dryRun bool) error {
	files := []writtenJSON{}
	for _, c := range p.changes {
		file := writtenJSON{Path: c.Path, Action: "change"}
		switch {
		case c.Before == nil:
			file.Action = "add"
		case c.After == nil:
			file.Action = "remove"
		}
		if dryRun {
			file.Content = f.redactor.String(string(c.After))
		}
		files = append(files, file)
	}
	var setUp []setupJSON
	for _, x := range p.setups {
		setUp = append(setUp, setupJSON{x.Cluster, x.Method, x.Commands()})
	}
	ok, summary := p.Status()
	return writeJSON(f.stdout, struct {
		OK      bool          `json:"ok"`
		Written bool          `json:"written"`
		Summary string        `json:"summary"`
		Files   []writtenJSON `json:"files"`
		*review.Review
		SetUp []setupJSON `json:"setUp,omitempty"`
	}{ok, !dryRun, summary, files, p.Review, setUp})
}
