package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/judge"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/clusters/setup"
	"github.com/muster-gitops/muster/controllers"
)

// proposal is what a command would write, and what that would do.
type proposal struct {
	*judged
	changes []author.Change
	// setups are what must exist elsewhere for clusters that are added.
	setups []setup.Setup
	// kept is what a removal leaves, and why.
	kept []string
	// imported is the result of an import, with its own findings and steps; nil for other commands.
	imported *imported
	notes    []finding.Finding
	next     []nextStep
}

// workTree stands for the commit of a work tree.
const workTree = "work tree"

// propose judges changes of the work tree as the check of a pull request does. Nothing is written yet.
func (f *folder) propose(ctx context.Context, changes []author.Change) (*proposal, error) {
	before := f.fs
	r := &judge.Request{Name: "proposal", Base: before, Merged: author.With(before, changes...), BaseCommit: workTree, HeadCommit: workTree,
		Path: f.path, Trust: review.Full, Opener: openerFor(f.ring), Redactor: f.redactor, Policy: controllers.Policy(nil, ""), Now: time.Now()}
	if r.Opener == nil {
		r.Trust = review.NoKeys
	}
	for _, c := range changes {
		r.Changes = append(r.Changes, judge.Change{Path: c.Path, Before: c.Before != nil, After: c.After != nil})
	}
	if err := f.complete(ctx, r, r.Merged); err != nil {
		return nil, err
	}
	f.fs = before
	result, err := (&judge.Judge{}).Review(ctx, *r)
	if err != nil {
		return nil, err
	}
	p := &proposal{judged: &judged{}, changes: changes}
	if result == nil {
		p.Review = review.New(review.Input{Sync: r.Options.Sync, Namespace: r.Options.Namespace, Path: f.path, Trust: review.Full,
			Before: &plan.Plan{}, After: &plan.Plan{}})
		return p, nil
	}
	p.Review, p.setups = result.Review, result.Setups()
	return p, nil
}

// errors are what is wrong with the change itself.
func (p *proposal) errors() []finding.Finding {
	var list []finding.Finding
	for _, f := range p.findings() {
		if f.Severity == finding.Error {
			list = append(list, f)
		}
	}
	return list
}

// paths are the files that the proposal writes.
func (p *proposal) paths() (list []string) {
	for _, c := range p.changes {
		if c.After != nil {
			list = append(list, c.Path)
		}
	}
	return list
}

// writeFlags are those of every command that writes files.
type writeFlags struct {
	dryRun bool
	// pgp are files with public PGP keys to encrypt for.
	pgp    []string
	output *choice
	// written is true once the files are written, even if the command fails afterwards.
	written bool
}

func (w *writeFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.dryRun, "dry-run", false, "print what would be written, and write nothing")
	cmd.Flags().StringArrayVar(&w.pgp, "pgp-key", nil, "`file` with an armored public PGP key to encrypt for (default: .sops.pub.asc of the repository); can be repeated")
	completeFiles(cmd, "pgp-key")
	w.addOutput(cmd)
}

// addOutput adds the format of the result.
func (w *writeFlags) addOutput(cmd *cobra.Command) {
	w.output = addChoice(cmd, "output", "o", "output format of the result", "text", "json")
}

func (w *writeFlags) json() bool { return w.output.value == "json" }

// publicKeys are where a repository keeps the public PGP keys of its recipients, as in Flux's guide to SOPS.
const publicKeys = ".sops.pub.asc"

// addRecipients adds the public keys to the ring, and tells which of them expire soon.
func (w *writeFlags) addRecipients(f *folder) error {
	if err := w.readRecipients(f); err != nil {
		return err
	}
	now := time.Now()
	for _, key := range f.ring.PGPTerms(now) {
		if stage, _ := (credential.Term{From: key.From, Until: key.Until}).Stage(now, 0); stage != credential.Lasting {
			fmt.Fprintf(f.stderr, "muster: the PGP key %s expires on %s; nothing can be encrypted for it afterwards: renew it, and export it again\n",
				key.Fingerprint, key.Until.UTC().Format(time.DateOnly))
		}
	}
	return nil
}

// readRecipients reads the public keys.
func (w *writeFlags) readRecipients(f *folder) error {
	for _, name := range w.pgp {
		text, err := readBounded(f.shell, name, "public key")
		if err != nil {
			return err
		}
		if err := f.ring.AddPublicPGP(name, string(text)); err != nil {
			return err
		}
	}
	file, err := f.fs.Open(publicKeys)
	if errors.Is(err, fs.ErrNotExist) || len(w.pgp) > 0 {
		return nil
	} else if err != nil {
		return fmt.Errorf("read %s: %w", publicKeys, withoutPath(err))
	}
	defer func() { _ = file.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return fmt.Errorf("read %s: %w", publicKeys, withoutPath(err))
	}
	return f.ring.AddPublicPGP(publicKeys, string(text))
}

// carryOut writes a proposal, unless it has errors or is a dry run, which prints the files. It returns the exit status as an error.
func (w *writeFlags) carryOut(f *folder, p *proposal) error {
	return w.perform(f, p, f.printBriefly)
}

// carryOutFully is carryOut that also shows what the files do, and what is left to do.
func (w *writeFlags) carryOutFully(f *folder, p *proposal) error {
	return w.perform(f, p, f.printProposal)
}

func (w *writeFlags) perform(f *folder, p *proposal, show func(p *proposal, dryRun bool) error) error {
	bad := p.errors()
	switch {
	case len(bad) > 0 && w.json():
		return f.printResult(f.resultOf(p, w.dryRun, p.findings()))
	case len(bad) > 0:
		return w.fail(f, bad...)
	case !w.dryRun:
		if err := f.write(p.changes); err != nil {
			return err
		}
		w.written = true
	}
	findings := p.findings()
	if !w.dryRun {
		t, err := locate(context.Background(), f.root) // Git is asked again
		if err != nil {
			return err
		}
		defer t.close()
		findings = append(findings, t.checkShown(p.paths())...)
	}
	if w.json() {
		r := f.resultOf(p, w.dryRun, findings)
		r.Written = !w.dryRun && len(p.changes) > 0
		return f.printResult(r)
	}
	if err := show(p, w.dryRun); err != nil {
		return fmt.Errorf("print changes: %w", err)
	}
	f.tellRecipients(p.changes)
	return f.printFindings(f.stderr, f.repository, findings)
}

// fail reports findings that keep a command from writing.
func (w *writeFlags) fail(f *folder, findings ...finding.Finding) error {
	if w.json() {
		return f.printResult(result{Summary: nothingWritten, Findings: findings})
	}
	if err := f.printFindings(f.stderr, f.repository, findings); err != nil {
		return err
	}
	fmt.Fprintln(f.stderr, "muster: "+nothingWritten)
	return statusError(exitFindings)
}

const nothingWritten = "nothing was written"

// unchanged reports that a file is already as the user wants it.
func (w *writeFlags) unchanged(f *folder, file string) error {
	if w.json() {
		return f.printResult(result{Summary: "nothing changes", Unchanged: []string{file}})
	}
	fmt.Fprintf(f.stderr, "Not changed: %s\n", printable(f.fromWorkingDir(file)))
	return nil
}

// readBounded reads a file that the user names, or standard input for "-".
func readBounded(s *shell, name, what string) ([]byte, error) {
	in := s.stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		defer func() { _ = file.Close() }() // only read
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxKeyFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s from %s: %w", what, cmp.Or(strings.TrimPrefix(name, "-"), "standard input"), err)
	case len(text) > maxKeyFile:
		return nil, fmt.Errorf("read %s from %s: it is larger than %d KiB", what, name, maxKeyFile>>10)
	}
	return text, nil
}
