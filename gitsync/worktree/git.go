package worktree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// ErrNoGit is the error if the git command is not installed.
var ErrNoGit = errors.New("the git command is not installed, and Muster needs it to find out which files Git would commit; install git")

// git runs git for one repository.
type git struct {
	dir string // where it runs; "" for the process's working directory
	env []string
}

// local are the variables that bind git to one repository, as listed by git rev-parse --local-env-vars, except those for
// configuration. They include variables that change how paths are read.
var local = []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
	"GIT_NAMESPACE", "GIT_PREFIX", "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_INTERNAL_SUPER_PREFIX"}

var pathspecs = []string{"GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"}

// guards keep git from prompting, fetching and writing. Messages are in English, because the code looks for one of them.
var guards = []string{"LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1",
	"GIT_ALLOW_PROTOCOL=none"} // no configuration overrides it

func without(env, names []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(names, name)
	})
}

// gitFor returns git for the work tree at root: with the environment's repository if that is the one at root, otherwise with
// the one that git finds from root.
func gitFor(ctx context.Context, root string, env []string) git {
	env = append(without(env, pathspecs), guards...)
	if top := topOf(ctx, env); top != "" && sameFolder(top, root) {
		return git{env: env}
	}
	return git{dir: root, env: without(env, local)}
}

// Root is the root of the work tree that the environment names, or "". Without such a variable, the root is the nearest
// folder with a .git.
func Root(ctx context.Context, env []string) string {
	return topOf(ctx, append(without(env, pathspecs), guards...))
}

func topOf(ctx context.Context, env []string) string {
	named := func(variable string) bool {
		return strings.HasPrefix(variable, "GIT_DIR=") || strings.HasPrefix(variable, "GIT_INDEX_FILE=")
	}
	if !slices.ContainsFunc(env, named) {
		return ""
	}
	top, err := git{env: env}.top(ctx)
	if err != nil {
		return ""
	}
	return top
}

// top is the root of the work tree.
func (g git) top(ctx context.Context) (string, error) {
	out, err := g.run(ctx, "rev-parse", "--show-toplevel")
	return strings.TrimSuffix(string(out), "\n"), err
}

// Create makes a folder a repository with the branch main.
func Create(ctx context.Context, dir string, env []string) error {
	_, err := git{dir: dir, env: append(without(env, local), "LC_ALL=C")}.run(ctx, "init", "--quiet", "--initial-branch=main")
	return err
}

// Origin is the address of the remote origin of the repository at a folder, and the current branch. Either is empty if there is
// none.
func Origin(ctx context.Context, dir string, env []string) (remote, branch string) {
	g := gitFor(ctx, dir, env)
	line := func(args ...string) string {
		out, err := g.run(ctx, args...)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	return line("config", "--get", "remote.origin.url"), line("symbolic-ref", "--quiet", "--short", "HEAD")
}

func sameFolder(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// list is the output of git ls-files for the whole work tree.
func (g git) list(ctx context.Context, what ...string) ([]string, error) {
	// A file system monitor is a program that the repository's configuration names, so it is disabled. Files outside of a
	// sparse checkout are not committed without add --sparse, even if they exist.
	args := append([]string{"-c", "core.fsmonitor=false", "-c", "sparse.expectFilesOutsideOfPatterns=true", "ls-files", "-z", "--full-name"}, what...)
	out, err := g.run(ctx, append(args, "--", ":/")...)
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
}

// maxBlob is far more than what is read of any file.
const maxBlob = 64 << 20

// blob is the content of an object.
func (g git) blob(hash string) ([]byte, error) {
	size, err := g.size(hash)
	if err != nil {
		return nil, err
	}
	if size > maxBlob {
		return nil, fmt.Errorf("the file has %d bytes, and the limit is %d", size, maxBlob)
	}
	return g.run(context.Background(), "cat-file", "blob", hash)
}

func (g git) size(hash string) (int64, error) {
	out, err := g.run(context.Background(), "cat-file", "-s", hash)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
}

func (g git) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // the arguments are constants in this file, and a path after --
	cmd.Dir, cmd.Env = g.dir, g.env
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, ErrNoGit
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case strings.Contains(said.String(), "not a git repository (or any"):
		return nil, ErrNotRepository
	}
	if words := strings.Join(strings.Fields(said.String()), " "); words != "" {
		return nil, fmt.Errorf("git: %s", words)
	}
	return nil, fmt.Errorf("git: %w", err)
}
