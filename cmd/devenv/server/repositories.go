package server

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// repositories are the bare repositories below one folder, with names such as "platform/fleet".
type repositories struct{ root string }

// RepositoryError reports an invalid name. Err is fs.ErrInvalid, fs.ErrExist or fs.ErrNotExist.
type RepositoryError struct {
	Name string
	Err  error
}

func (e *RepositoryError) Error() string { return fmt.Sprintf("repository %q: %v", e.Name, e.Err) }

func (e *RepositoryError) Unwrap() error { return e.Err }

// path returns the folder of the repository, whether or not it exists. Names come from clients: none leads out of root.
func (r repositories) path(name string) (string, error) {
	trimmed := strings.TrimSuffix(strings.TrimPrefix(name, "/"), ".git")
	if trimmed == "" || !filepath.IsLocal(trimmed) {
		return "", &RepositoryError{Name: name, Err: fs.ErrInvalid}
	}
	return filepath.Join(r.root, trimmed+".git"), nil
}

// create creates an empty bare repository with the branch main, which behaves like a forge: it sends any object that it has
// by its hash, and it accepts pushes.
func (r repositories) create(ctx context.Context, name string) error {
	dir, err := r.path(name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); err == nil {
		return &RepositoryError{Name: name, Err: fs.ErrExist}
	}
	if err := r.git(ctx, "init", "--quiet", "--bare", "--initial-branch=main", dir); err != nil {
		return err
	}
	for key, value := range map[string]string{
		"http.receivepack":              "true",
		"uploadpack.allowAnySHA1InWant": "true",
		"uploadpack.allowFilter":        "true",
		"receive.autogc":                "false", // starts a process that outlives the push, and maybe the folder
	} {
		if err := r.git(ctx, "-C", dir, "config", key, value); err != nil {
			return err
		}
	}
	return nil
}

func (r repositories) git(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = r.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// env is the environment of every git that serves: no configuration of the machine or its user may affect tests.
func (r repositories) env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.root,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
	}
}
