package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/judge"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/merge"
	"github.com/muster-gitops/muster/gitsync/worktree"
)

// mergeFlags select two commits, to plan what merging the one into the other would do.
type mergeFlags struct{ base, head string }

func (m mergeFlags) given() bool { return m.base != "" || m.head != "" }

// judged is what merging head into base would do.
type judged struct {
	*review.Review
	mergeFlags
	// setUp is what must exist elsewhere for the clusters that are added.
	setUp []review.Fold
	// files are those that the merge adds or changes.
	files []string
}

// judge plans the merge of two commits, as the check of a pull request does. The work tree isn't read.
func (f *folder) judge(ctx context.Context, m mergeFlags) (*judged, error) {
	if m.base == "" {
		return nil, usagef("--head needs --base, the branch that it would be merged into")
	}
	if f.loose {
		return nil, usagef("--base %s: %s is not in a Git repository", m.base, f.root)
	}
	m.head = cmp.Or(m.head, "HEAD")
	compared, err := worktree.Compare(ctx, f.root, os.Environ(), m.base, m.head)
	if err != nil {
		return nil, err
	}
	defer compared.Close()
	r, err := f.request(ctx, compared)
	if err != nil {
		return nil, err
	}
	result, err := (&judge.Judge{}).Review(ctx, *r)
	if err != nil {
		return nil, err
	}
	j := &judged{mergeFlags: m}
	for _, c := range r.Changes {
		if c.After {
			j.files = append(j.files, c.Path)
		}
	}
	if result != nil {
		j.Review, j.setUp = result.Review, result.SetUp()
	} else { // it changes nothing that is read for the path
		j.Review = review.New(review.Input{Sync: r.Options.Sync, Namespace: r.Options.Namespace, Base: r.BaseCommit, Head: r.HeadCommit, Path: f.path,
			Trust: review.Full, Live: r.Live != nil, Before: &plan.Plan{}, After: &plan.Plan{}})
	}
	if j.Sync == unnamed {
		j.Sync = ""
	}
	return j, nil
}

// request merges the trees, and completes what is to be judged: with the policy of the base, which the head can't change, and
// with the management cluster, if there is one.
func (f *folder) request(ctx context.Context, compared *gitsync.Comparison) (*judge.Request, error) {
	base, after := compared.Base.FS(), compared.Head.FS()
	merged, err := merge.Trees(ctx, compared.Ancestor.FS(), base, after)
	if err != nil {
		return nil, err
	}
	r := &judge.Request{Name: "merge", Base: base, BaseCommit: compared.Base.Commit().Hash, HeadCommit: compared.Head.Commit().Hash,
		Path: f.path, Trust: review.Full, Opener: openerFor(f.ring), Redactor: f.redactor, Policy: controllers.Policy(nil, ""), Now: time.Now()}
	if r.Opener == nil {
		r.Trust = review.NoKeys
	}
	for _, c := range merged.Conflicts {
		r.Conflicts = append(r.Conflicts, review.Conflict{Path: c.Path, Reason: string(c.Reason)})
	}
	if merged.FS != nil {
		r.Merged, after = merged.FS, merged.FS
	}
	changes, err := merge.Changes(ctx, base, after)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		r.Changes = append(r.Changes, judge.Change(c))
	}
	return r, f.complete(ctx, r, after)
}

// complete adds the options and the live state. From here on, the folder is that of the base, or the new one if the base has none.
func (f *folder) complete(ctx context.Context, r *judge.Request, after fs.FS) (err error) {
	f.fs = r.Base
	if f.opts.Policy, err = f.policyFor(f.target); err != nil {
		return err
	}
	if _, err := fs.Stat(r.Base, f.path); errors.Is(err, fs.ErrNotExist) {
		if _, err := fs.Stat(after, f.path); err != nil {
			return &load.PathError{Path: f.path, Reason: "no such folder in either commit"}
		}
		f.fs = after
	}
	var live *state
	live, r.Options, err = f.gatherIfLive(ctx)
	r.Options.Sync = cmp.Or(r.Options.Sync, unnamed)
	if err != nil || live == nil {
		return err
	}
	if r.Trust == review.NoKeys { // the live state has values, so each encrypted file is reported, as without --base
		r.Trust, r.Opener = review.Full, openerOrNone(f.ring)
	}
	r.Policy = controllers.Policy(live.syncs[r.Options.Sync], "")
	r.Live = &live.Live
	return f.cluster.addSecrets(ctx, &live.Live, r.Options.Sync, secretNames(&fleet.Opened{Sync: r.Options.Sync}, live.Inventories))
}

// unnamed is the name of the AuditSync if none is known. Without a name, Muster would not take any Secret for its own.
const unnamed = "unnamed"

// findings are what is wrong because of the merge: new findings, and conflicts as errors.
func (j *judged) findings() []finding.Finding {
	list := append([]finding.Finding{}, j.New...)
	for _, c := range j.Conflicts {
		list = append(list, finding.Finding{Code: codeConflict, Severity: finding.Error, Path: c.Path, Message: "this can't be merged: " + c.Reason,
			Fix: "merge the base into the branch, and resolve the conflict"})
	}
	return finding.Sorted(list)
}

// codeConflict is the code of the finding about a file that can't be merged.
const codeConflict finding.Code = "merge-conflict"
