package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/access"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/recipient"
)

// findings are the files that differ from their rules, and what could not be read.
func (l accessListing) findings() (list []finding.Finding) {
	for _, f := range l.Files {
		for _, message := range l.differences(f) {
			list = append(list, finding.Finding{Code: compile.CodeRecipients, Severity: finding.Warning, Path: f.Path, Message: message})
		}
	}
	for _, p := range l.Problems {
		list = append(list, finding.Finding{Code: compile.CodeSopsConfig, Severity: finding.Warning, Path: p.Path, Line: p.Line, Message: p.Reason,
			Fix: "correct it; until then, something may be missing here"})
	}
	return list
}

// differences tell how a file differs from its rule. Of one recipient, the list itself has the files that it should not open.
func (l accessListing) differences(f access.File) (list []string) {
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	missing, extra, d := f.Difference.Missing, f.Difference.Extra, f.Difference
	if l.who != "" {
		missing, extra, d = slices.DeleteFunc(slices.Clone(missing), func(id string) bool { return !l.isShown(id) }), nil, recipient.Difference{}
	}
	if f.Empty() {
		add("no one can open the file: its sops block has no recipient, or is unreadable")
		return list
	}
	rule := l.rule(f)
	if len(missing) > 0 {
		add("not encrypted for %s, which the rule in %s requires", l.labels(missing), rule)
	}
	if len(extra) > 0 {
		add("encrypted for %s, which the rule in %s does not list", l.labels(extra), rule)
	}
	if d.Grouped {
		add("the key groups differ from those of the rule in %s", rule)
	}
	if d.Wanted > 0 {
		add("%d of the key groups can open the file, but the rule in %s requires %d", d.Threshold, rule, d.Wanted)
	}
	if slices.ContainsFunc(f.All(), func(id string) bool { return recipient.Kind(id) == "" }) {
		add("a recipient is unreadable; if it is a private key, everyone who can read the repository has it: replace the key")
	}
	return list
}

// isShown reports whether a recipient is in the list.
func (l accessListing) isShown(id string) bool {
	return slices.ContainsFunc(l.Recipients, func(r access.Recipient) bool { return recipient.Key(r.ID) == recipient.Key(id) })
}

// fails reports whether --check fails: because of a difference, or because there may be one that could not be seen.
func (l accessListing) fails() bool {
	extra := func(r access.Recipient) bool { return len(r.Extra) > 0 }
	return len(l.findings()) > 0 || l.who != "" && slices.ContainsFunc(l.Recipients, extra)
}

func (l accessListing) labels(ids []string) string {
	var names []string
	for _, id := range ids {
		names = append(names, l.label(id))
	}
	return firstFew(names)
}

// summary ends the text: the counts, and what to do.
func (l accessListing) summary(width int) string {
	var b strings.Builder
	if len(l.findings()) > 0 {
		b.WriteString("\n")
	}
	differing, fixable, noRule := 0, 0, []string{}
	for _, f := range l.Files {
		if f.Differs() {
			differing++
		}
		if f.Empty() {
			continue // no recipient can encrypt it anew
		}
		if f.Differs() {
			fixable++
		}
		if f.Rule == "" {
			noRule = append(noRule, printable(l.repo.fromWorkingDir(f.Path)))
		}
	}
	if l.who != "" {
		l.writeRemoval(&b, width)
	} else {
		writeParagraph(&b, "", fmt.Sprintf("%s%s, %s; %s from .sops.yaml", plural(l.total, "encrypted file"), l.where(), plural(len(l.Recipients), "recipient"), differs(differing)), width)
	}
	if fixable > 0 && l.who == "" {
		writeParagraph(&b, "", "To encrypt for the recipients in .sops.yaml:", width)
		fmt.Fprintf(&b, "  muster rotate --recipients %s\n", l.repo.argument(l.path))
	}
	if len(noRule) > 0 {
		writeParagraph(&b, "", fmt.Sprintf("note: %s no rule in a .sops.yaml, so the recipients stay as they are: %s", filesHave(len(noRule)), firstFew(noRule)), width)
	}
	if len(l.TooLarge) > 0 {
		writeParagraph(&b, "", "note: larger than Muster reads, so left out: "+printable(firstFew(l.TooLarge)), width)
	}
	return b.String()
}

// where is the path that was read. Other files of the repository may have recipients, too.
func (l accessListing) where() string {
	if l.path == "." {
		return " in the repository"
	}
	return " in " + l.repo.argument(l.path)
}

func differs(n int) string {
	if n == 1 {
		return "1 file differs"
	}
	return fmt.Sprintf("%d files differ", n)
}

func filesHave(n int) string {
	if n == 1 {
		return "1 file has"
	}
	return fmt.Sprintf("%d files have", n)
}

// writeRemoval writes how a recipient is removed.
func (l accessListing) writeRemoval(b *strings.Builder, width int) {
	opens, places := map[string]bool{}, []string{}
	for _, r := range l.Recipients {
		for _, o := range r.Opens {
			opens[o.Path] = true
		}
		for _, place := range r.Places {
			places = append(places, printable(l.repo.fromWorkingDir(place)))
		}
	}
	writeParagraph(b, "", fmt.Sprintf("%s is a recipient of %d of %s%s", printable(l.who), len(opens), plural(l.total, "encrypted file"), l.where()), width)
	if len(opens)+len(places) == 0 {
		return
	}
	b.WriteString("\nTo remove this recipient:\n")
	if len(places) > 0 {
		writeParagraph(b, "  # ", "Delete the recipient from "+strings.Join(places, ", ")+", then:", width)
	}
	fmt.Fprintf(b, "  muster rotate --recipients %s\n", l.repo.argument(l.path))
	writeParagraph(b, "  # ", "Whoever could open a file may have kept its data key. Change the data keys:", width)
	fmt.Fprintf(b, "  muster rotate --data-keys %s\n", l.repo.argument(l.path))
	writeParagraph(b, "  # ", "They may also have kept what was in the file, and Git keeps its old versions. Replace the credentials themselves.", width)
}
