package worktree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/muster-gitops/muster/gitsync"
)

// Compare reads two commits of the repository at root, and their common ancestor, as gitsync.Repository.Compare fetches them
// from a remote. Base and head are revisions as git rev-parse reads them. env is the environment of the process. Nothing is
// fetched, so a shallow clone may lack the common ancestor.
func Compare(ctx context.Context, root string, env []string, base, head string) (*gitsync.Comparison, error) {
	g := gitFor(ctx, root, env)
	var commits [3]string
	for i, revision := range []string{base, head} {
		hash, err := g.commit(ctx, revision)
		if err != nil {
			return nil, err
		}
		commits[i] = hash
	}
	ancestor, err := g.ancestor(ctx, commits[0], commits[1])
	if err != nil {
		return nil, err
	}
	commits[2] = ancestor
	snapshots, err := g.snapshots(ctx, commits[:])
	if err != nil {
		return nil, err
	}
	return &gitsync.Comparison{Base: snapshots[0], Head: snapshots[1], Ancestor: snapshots[2]}, nil
}

// RevisionError reports a revision that names no commit.
type RevisionError struct{ Revision string }

func (e *RevisionError) Error() string {
	return fmt.Sprintf("%q is not a commit, branch or tag of this repository; fetch it first, or see git log", e.Revision)
}

func (g git) commit(ctx context.Context, revision string) (string, error) {
	out, err := g.run(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	if exit, failed := errors.AsType[*exec.ExitError](err); failed && exit.ExitCode() == 1 {
		return "", &RevisionError{revision}
	}
	return strings.TrimSpace(string(out)), err
}

func (g git) ancestor(ctx context.Context, base, head string) (string, error) {
	out, err := g.run(ctx, "merge-base", "--all", base, head)
	best := strings.Fields(string(out))
	if exit, failed := errors.AsType[*exec.ExitError](err); failed && exit.ExitCode() == 1 {
		return "", g.noAncestor(ctx, base, head)
	}
	if err == nil && len(best) != 1 {
		return "", &gitsync.NoAncestorError{Base: base, Head: head, Several: true}
	}
	return strings.Join(best, ""), err
}

func (g git) noAncestor(ctx context.Context, base, head string) error {
	if out, err := g.run(ctx, "rev-parse", "--is-shallow-repository"); err == nil && strings.TrimSpace(string(out)) == "true" {
		return fmt.Errorf("this clone is shallow, and lacks the common ancestor of %s and %s; fetch the whole history (git fetch --unshallow; in GitHub Actions fetch-depth: 0, in GitLab CI GIT_DEPTH: 0)", base, head)
	}
	return &gitsync.NoAncestorError{Base: base, Head: head}
}

// snapshots reads commits with all their files, and without their history.
func (g git) snapshots(ctx context.Context, commits []string) ([]*gitsync.Snapshot, error) {
	objects, err := g.run(ctx, append([]string{"rev-list", "--objects", "--no-object-names", "--no-walk"}, commits...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", "pack-objects", "--stdout", "--quiet", "--delta-base-offset")
	cmd.Dir, cmd.Env, cmd.Stdin = g.dir, g.env, bytes.NewReader(objects)
	var said bytes.Buffer
	cmd.Stderr = &said
	pack, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	snapshots, err := gitsync.ReadPack(ctx, pack, gitsync.Limits{}, commits...)
	if err != nil {
		cancel()
	}
	if failed := cmd.Wait(); failed != nil && said.Len() > 0 {
		for _, s := range snapshots {
			_ = s.Close()
		}
		return nil, fmt.Errorf("git pack-objects: %s", strings.Join(strings.Fields(said.String()), " "))
	}
	return snapshots, err
}
