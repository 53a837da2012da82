package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/judge"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/gitsync/merge"
	"github.com/muster-gitops/muster/gitsync/worktree"
)

// mergeFlags select two commits, to plan what merging the one into the other would do.
type mergeFlags struct{ base, head string }

func (m mergeFlags) given() bool { return m.base != "" || m.head != "" }

// judged is what merging head into base would do.
type judged struct {
	*judge.Result
	path       string
	base, head string
}

// judge plans the merge of two commits, as the check of a pull request does. The work tree isn't read.
func (f *folder) judge(ctx context.Context, m mergeFlags) (*judged, error) {
	if m.base == "" {
		return nil, usagef("--head needs --base, the branch that it would be merged into")
	}
	if f.loose {
		return nil, usagef("--base %s: %s is not in a Git repository", m.base, f.root)
	}
	if m.head == "" {
		m.head = "HEAD"
	}
	live, opts, err := f.gatherIfLive(ctx)
	if err != nil {
		return nil, err
	}
	compared, err := worktree.Compare(ctx, f.root, os.Environ(), m.base, m.head)
	if err != nil {
		return nil, err
	}
	defer compared.Close()
	merged, err := merge.Trees(ctx, compared.Ancestor.FS(), compared.Base.FS(), compared.Head.FS())
	if err != nil {
		return nil, err
	}
	r := judge.Request{Name: "merge", Base: compared.Base.FS(), BaseCommit: compared.Base.Commit().Hash, HeadCommit: compared.Head.Commit().Hash,
		Path: f.path, Trust: review.Full, Options: opts, Opener: openerFor(f.ring), Redactor: f.redactor, Policy: controllers.Policy(nil, ""), Now: time.Now()}
	if r.Opener == nil {
		r.Trust = review.NoKeys
	}
	if live != nil {
		r.Policy = controllers.Policy(live.syncs[opts.Sync], "")
		if err := f.cluster.addSecrets(ctx, &live.Live, opts.Sync, secretNames(&fleet.Opened{Sync: opts.Sync}, live.Inventories)); err != nil {
			return nil, err
		}
		r.Live = &live.Live
	}
	for _, c := range merged.Conflicts {
		r.Conflicts = append(r.Conflicts, review.Conflict{Path: c.Path, Reason: string(c.Reason)})
	}
	after := compared.Head.FS()
	if merged.FS != nil {
		r.Merged, after = merged.FS, merged.FS
	}
	changes, err := merge.Changes(ctx, r.Base, after)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		r.Changes = append(r.Changes, judge.Change(c))
	}
	result, err := (&judge.Judge{}).Review(ctx, r)
	if err != nil {
		return nil, err
	}
	return &judged{Result: result, path: f.path, base: r.BaseCommit, head: r.HeadCommit}, nil
}

// printJudged writes what a merge would do.
func (s *shell) printJudged(format string, repo *repository, j *judged) error {
	if j.Result == nil {
		j.Result = &judge.Result{Review: review.New(review.Input{Base: j.base, Head: j.head, Path: j.path, Trust: review.Full, Before: &plan.Plan{}, After: &plan.Plan{}})}
	}
	switch format {
	case "text":
		return s.printJudgedText(repo, j)
	case "json":
		return writeJSON(s.stdout, j.Review)
	case "markdown":
		_, err := fmt.Fprintln(s.stdout, s.redactor.String(j.Markdown(review.Options{})))
		return err
	}
	return s.printReports(format, []report{{repo, j.findings()}})
}

// findings are what is wrong because of the merge: new findings, and conflicts as errors.
func (j *judged) findings() []finding.Finding {
	list := append([]finding.Finding{}, j.New...)
	for _, c := range j.Conflicts {
		list = append(list, finding.Finding{Code: codeConflict, Severity: finding.Error, Path: c.Path, Message: "can't be merged: " + c.Reason,
			Fix: "merge the base into the branch, and resolve the conflict"})
	}
	return finding.Sorted(list)
}

// codeConflict is the code of the finding about a file that can't be merged.
const codeConflict finding.Code = "merge-conflict"

func (s *shell) printJudgedText(repo *repository, j *judged) error {
	if j.Plan != nil {
		if err := s.printPlan("text", planned{Plan: j.Plan}); err != nil {
			return err
		}
	}
	for _, rule := range j.Rules {
		fmt.Fprintf(s.stdout, "%s: %s\n", printable(rule.Path), printable(rule.What))
	}
	_, text := j.Status()
	if _, err := fmt.Fprintf(s.stdout, "merging %s into %s: %s\n", short(j.head), short(j.base), printable(strings.TrimSpace(text))); err != nil {
		return err
	}
	return s.printFindings(s.stderr, repo, j.findings())
}
