// Package judge finds out what a pull request would do: it renders the base and the merge result with the same pipeline,
// plans both against the same live state, and reviews the difference.
//
// A Judge keeps the rendered base, so that the check of a pull request costs what the pull request changes. A trusted pull
// request is rendered with keys and planned against the management cluster. That of a stranger goes through a pipeline of
// its own that never has a key: its values are compared by the digests of their ciphertexts, and planned against the state
// after applying the base. Neither writes anything.
//
// The package has no client. The caller merges the trees, decides whom to trust, and hands in the live state.
package judge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"testing/fstest"
	"time"

	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/renew"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/clusters/seal"
)

// Change is a file that differs between the base and the merge result.
type Change struct {
	Path string
	// Before and After report whether the file exists in the base and in the merge result.
	Before, After bool
}

// Request is a pull request to judge.
type Request struct {
	// Name identifies the check among all that run at the same time.
	Name string
	// Base and Merged are the repository before and after the merge. Merged is nil if there are conflicts.
	Base, Merged fs.FS
	Changes      []Change
	Conflicts    []review.Conflict
	// BaseCommit and HeadCommit are the commits that the review holds for.
	BaseCommit, HeadCommit string
	// Path is the folder of the AuditSync.
	Path string
	// Trust decides about keys. With review.Keyless and review.NoKeys, Opener, Redactor and Live aren't used.
	Trust     review.Trust
	AllowedBy string
	Options   compile.Options
	// Opener has the keys. It must be the same as before for a base to be reused.
	Opener   clusters.Opener
	Redactor *redact.Redactor
	// Supply fills in credentials that come from elsewhere, as far as they are known; nil if none are. Nothing is read for it.
	Supply func(*fleet.Opened) *fleet.Opened
	// Live is the state of the management cluster. It is nil without one: the plans are then made against the state after
	// applying the base.
	Live   *plan.Live
	Policy plan.Policy
	Now    time.Time
}

// Judge judges the pull requests of one AuditSync. It is safe for concurrent use: renders wait for each other.
type Judge struct {
	once           sync.Once
	keyed, keyless *clusters.Pipeline
}

// Result is a review, and the plan for the merge result that it was made from; nil if there are conflicts.
type Result struct {
	*review.Review
	Plan *plan.Plan

	fleet *fleet.Opened // the merge result
}

// Review judges a pull request. It returns nil for one that changes nothing that is read for the path. A *load.PathError is the
// fault of the base or the merge result, such as a symbolic link at the path.
func (j *Judge) Review(ctx context.Context, r Request) (*Result, error) {
	j.once.Do(func() { j.keyed, j.keyless = clusters.NewPipeline(), clusters.NewPipeline() })
	dir, err := load.CleanPath(r.Path)
	if err != nil {
		return nil, err
	}
	c := check{Request: r, dir: dir, pipeline: j.keyed}
	if r.Trust == review.Keyless || r.Trust == review.NoKeys {
		c.pipeline, c.Opener, c.Redactor = j.keyless, nil, nil
	}
	if len(r.Conflicts) > 0 {
		return c.conflict(), nil
	}
	return c.review(ctx)
}

// check is the judging of one pull request.
type check struct {
	Request
	dir      string
	pipeline *clusters.Pipeline
	// trees are the files that are read for the base and for the merge result.
	trees []*load.Tree
}

// conflict is the review of a pull request that can't be merged; nil if all its conflicts are elsewhere.
func (c *check) conflict() *Result {
	here := slices.DeleteFunc(slices.Clone(c.Conflicts), func(conflict review.Conflict) bool { return !c.within(conflict.Path) })
	if len(here) == 0 {
		return nil
	}
	in := c.input()
	in.Conflicts = c.Conflicts
	return &Result{Review: review.New(in)}
}

func (c *check) review(ctx context.Context) (*Result, error) {
	base, err := c.render(ctx, c.pipeline, c.Base)
	if err != nil {
		return nil, fmt.Errorf("render the base: %w", err)
	}
	fork := c.pipeline.Fork(c.Name)
	defer fork.Close()
	c.Options.SopsConfig = c.Base
	if c.Opener == nil {
		c.Options.Before = c.committed
	}
	merged, err := c.render(ctx, fork, c.Merged)
	if err != nil {
		return nil, fmt.Errorf("render the merge result: %w", err)
	}
	c.trees = []*load.Tree{base.Source.Loaded, merged.Source.Loaded}
	if !c.touches() {
		return nil, nil
	}
	in := c.input()
	live := c.live(base, merged)
	base, merged = renew.Continue(base, live.Renewed, c.Now), renew.Continue(merged, live.Renewed, c.Now)
	in.BeforeFleet, in.AfterFleet = base, merged
	in.Before, in.After = plan.Compute(base, live, c.policy(c.BaseCommit)), plan.Compute(merged, live, c.policy(c.HeadCommit))
	return &Result{readable(review.New(in)), in.After, merged}, nil
}

// readable replaces the handles of values that are still sealed.
func readable(r *review.Review) *review.Review {
	for _, changes := range [][]review.Change{r.Changes, r.Held} {
		for i := range changes {
			changes[i].Fields = slices.Clone(changes[i].Fields) // the plan has the same ones
			for j := range changes[i].Fields {
				f := &changes[i].Fields[j]
				f.From, f.To = seal.Readable(f.From), seal.Readable(f.To)
			}
		}
	}
	return r
}

func (c *check) input() review.Input {
	in := review.Input{Sync: c.Options.Sync, Namespace: c.Options.Namespace, Base: c.BaseCommit, Head: c.HeadCommit, Path: c.dir, Trust: c.Trust, AllowedBy: c.AllowedBy,
		Rules: c.rules(), Live: c.Live != nil && c.Opener != nil}
	if c.Redactor != nil {
		in.Mask = c.Redactor.String
	}
	return in
}

// render renders a tree, without keys if there are none. A tree without the path is one with an empty folder there: nothing of it
// can be applied, and a pull request may add the folder, or remove it.
func (c *check) render(ctx context.Context, pipeline *clusters.Pipeline, tree fs.FS) (*fleet.Opened, error) {
	sealed, err := pipeline.Compile(ctx, clusters.Source{FS: tree, Path: c.Path}, c.Options, c.Opener)
	if errors.Is(err, fs.ErrNotExist) && isPath(err) {
		empty := fstest.MapFS{c.dir: {Mode: fs.ModeDir | 0o555}}
		sealed, err = pipeline.Compile(ctx, clusters.Source{FS: empty, Path: c.Path}, c.Options, c.Opener)
	}
	if err != nil {
		return nil, err
	}
	if c.Opener == nil {
		return sealed.Unopened(sealed.Digest), nil
	}
	opened, err := pipeline.Open(ctx, sealed, c.Opener, c.Redactor, c.Now)
	if err != nil || c.Supply == nil {
		return opened, err
	}
	return c.Supply(opened), nil
}

func isPath(err error) bool {
	_, ok := errors.AsType[*load.PathError](err)
	return ok
}

// policy is the policy for a commit. A review doesn't depend on an approval that was given for another commit.
func (c *check) policy(commit string) plan.Policy {
	p := c.Policy
	p.Revision, p.Approved, p.Now = commit, "", time.Time{}
	return p
}

// live is the state that both plans are made against.
func (c *check) live(base, merged *fleet.Opened) plan.Live {
	if c.Live != nil && c.Opener != nil {
		return *c.Live
	}
	fresh := plan.Fresh(base, c.Options.Policy.Reserved)
	if c.Options.Offline { // what a new folder names is assumed to exist, as what the base names is
		for name, object := range plan.Fresh(merged, nil).AuditConfigs {
			if fresh.AuditConfigs[name] == nil {
				fresh.AuditConfigs[name] = object
			}
		}
	}
	return plan.Outcome(fresh, plan.Compute(base, fresh, c.policy(c.BaseCommit)))
}

// committed returns a file of the base, if it differs.
func (c *check) committed(name, data string) (string, bool) {
	before, err := fs.ReadFile(c.Base, name)
	return string(before), err == nil && string(before) != data
}

// touches reports whether the pull request changes anything below the path, or anything else that is read for it.
func (c *check) touches() bool {
	return slices.ContainsFunc(c.Changes, func(change Change) bool { return c.reads(change.Path) || c.rule(change.Path) != "" })
}

// reads reports whether a file is below the path, or read for it.
func (c *check) reads(name string) bool {
	return c.within(name) || slices.ContainsFunc(c.trees, func(t *load.Tree) bool { return t.Files[name] != nil })
}

func (c *check) within(name string) bool { return c.dir == "." || strings.HasPrefix(name, c.dir+"/") }

// rules are the changed files that decide about other files.
func (c *check) rules() []review.RuleChange {
	var list []review.RuleChange
	for _, change := range c.Changes {
		what := c.rule(change.Path)
		if what == "" {
			continue
		}
		verb := "changes"
		switch {
		case !change.Before:
			verb = "adds"
		case !change.After:
			verb = "removes"
		}
		list = append(list, review.RuleChange{Path: change.Path, What: verb + " " + what})
	}
	return list
}

// rule is what a file decides; "" for one that decides nothing here. A .sops.yaml applies to everything below it.
func (c *check) rule(name string) string {
	dir, base := path.Dir(name), path.Base(name)
	above := dir == "." || strings.HasPrefix(c.dir+"/", dir+"/")
	switch {
	case base == recipient.ConfigName && (above || c.within(name)):
		return "who can decrypt new files"
	case base == load.IgnoreFile && c.within(name):
		return "which files are read"
	case slices.Contains(konfig.RecognizedKustomizationFileNames(), base) && c.reads(name):
		return "what is built"
	}
	return ""
}
