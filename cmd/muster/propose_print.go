package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/setup"
)

// printProposal writes what the written files do, and what is left to do. In a dry run it writes the files, too.
func (f *folder) printProposal(p *proposal, dryRun bool) error {
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
	width := widthOf(f.stdout)
	b.WriteString(folded(would+", once it is merged: "+printable(strings.TrimSpace(strings.TrimPrefix(text, "keyless check: "))), width, "    ") + "\n")
	for _, x := range p.setups {
		b.WriteString("\n" + folded(fmt.Sprintf("Before the scan of %s works (the commands: muster setup %[1]s %s):", printable(x.Cluster), f.argument(f.path)), width, "") + "\n\n")
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

// tellRecipients names who can open files that are encrypted for the first time.
func (f *folder) tellRecipients(changes []author.Change) {
	files := map[string][]string{}
	for _, c := range changes {
		if who := strings.Join(newRecipients(c), ", "); who != "" {
			files[who] = append(files[who], f.fromWorkingDir(c.Path))
		}
	}
	for _, who := range slices.Sorted(maps.Keys(files)) {
		f.tell("encrypted for " + who + ": " + firstFew(files[who]))
	}
}

// commitCommand is the git command that commits a proposal.
func (f *folder) commitCommand(p *proposal) string {
	verb := "change"
	switch added := func(c author.Change) bool { return c.Before == nil }; {
	case slices.ContainsFunc(p.changes, added):
		verb = "add"
	case !slices.ContainsFunc(p.changes, func(c author.Change) bool { return c.After != nil }):
		verb = "remove"
	}
	return f.commitChanges(p.changes, "clusters: "+verb+" "+strings.Join(p.clusterNames(), ", "))
}

// commitChanges is the git command that commits files.
func (f *folder) commitChanges(changes []author.Change, message string) string {
	git, name := "git ", f.fromWorkingDir
	if top := f.fromWorkingDir("."); strings.Trim(top, "./") != "" { // the working directory isn't in the repository
		git += "-C " + setup.Quote(printable(top)) + " "
		name = func(file string) string { return file }
	}
	var names []string
	for _, c := range changes {
		names = append(names, setup.Quote(printable(name(c.Path))))
	}
	slices.Sort(names)
	list := strings.Join(names, " ")
	return git + "add -- " + list + " && " + git + "commit -m " + setup.Quote(message) + " -- " + list + " && " + git + "push"
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

// resultOf is a proposal for programs.
func (f *folder) resultOf(p *proposal, dryRun bool, findings []finding.Finding) result {
	_, summary := p.Status()
	r := result{Summary: summary, Files: filesOf(p.changes, dryRun), Findings: append(findings, p.notes...), Plan: p.Review,
		Kept: p.kept, Next: p.next, imported: p.imported}
	for _, x := range p.setups {
		r.SetUp = append(r.SetUp, setupOf(x))
	}
	if p.imported == nil && !dryRun && len(p.errors()) == 0 {
		r.Next = []nextStep{{"Commit and push", []string{f.commitCommand(p)}}}
	}
	return r
}
