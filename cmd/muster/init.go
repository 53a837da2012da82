package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/gitsync/worktree"
)

const initHelp = `Init writes what a repository needs: .sops.yaml, .gitignore, a folder for each environment with a sample, and the
manifest of its AuditSync. It prints the commands that finish the installation.

FOLDER is the top of the repository. It is made, and becomes a Git repository, if it is none.

Without recipients, init makes an age key outside of the repository, in sops/age of your configuration folder, and prints where.
The controller needs that key, and whoever edits credentials. Adding clusters needs no key. With recipients of your own, no key
is made.

Init can be repeated. It leaves every existing file alone, except that it adds missing lines to .gitignore.

Exit status: 0, 2 when the command failed.`

const initExample = `  # A repository with one environment
  muster init fleet --url https://git.example.com/platform/fleet.git

  # An overlay for each environment, and a key of AWS KMS
  muster init --layout overlays --environments production,staging --kms arn:aws:kms:eu-west-1:111122223333:key/1234`

// initFlags are the flags of muster init.
type initFlags struct {
	author.Repository
	layout, output *choice
	// remote reports whether the repository has a remote origin, and unknown that nothing tells its address.
	remote, unknown bool
}

func newInitCommand(s *shell) *cobra.Command {
	f := &initFlags{}
	cmd := &cobra.Command{Use: "init [FOLDER]", Short: "Write what a repository needs", Long: initHelp, Example: initExample,
		Args: atMost(1), ValidArgsFunction: completeFolders}
	f.layout = addChoice(cmd, "layout", "", "one folder for each environment, or kustomize overlays with a common component", "flat", "overlays")
	f.output = addChoice(cmd, "output", "o", "output format of the result", "text", "json")
	cmd.Flags().StringSliceVar(&f.Environments, "environments", []string{"production"}, "`names` of the environments, which are also those of their AuditSyncs")
	cmd.Flags().StringVar(&f.URL, "url", "", "address from which the controller fetches the repository (default: that of the remote origin)")
	cmd.Flags().StringVar(&f.Branch, "branch", "", "branch that the controller follows (default: the current one)")
	addNamespace(cmd, &f.Namespace)
	cmd.Flags().StringVar(&f.AuditConfig, "audit-config", defaultAuditConfig, "existing MondooAuditConfig that gets the clusters")
	r := &f.Recipients
	cmd.Flags().StringSliceVar(&r.Age, "age", nil, "age `recipient`, or SSH public key; can be repeated, as can the other recipients")
	cmd.Flags().StringSliceVar(&r.PGP, "pgp", nil, "`fingerprint` of a PGP key")
	cmd.Flags().StringSliceVar(&r.AWS, "kms", nil, "`ARN` of an AWS KMS key")
	cmd.Flags().StringSliceVar(&r.GCP, "gcp-kms", nil, "resource `ID` of a Google Cloud KMS key")
	cmd.Flags().StringSliceVar(&r.Azure, "azure-kv", nil, "`identifier` of an Azure Key Vault key")
	cmd.Flags().StringSliceVar(&r.Vault, "hc-vault-transit", nil, "`URI` of a key of Vault's transit engine")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return f.run(cmd.Context(), s, pathArgument(args))
	}
	return cmd
}

func (f *initFlags) check() error {
	f.Overlays = f.layout.value == "overlays"
	if err := checkNamespace(f.Namespace); err != nil {
		return err
	}
	if len(validation.IsDNS1123Subdomain(f.AuditConfig)) > 0 {
		return usagef("--audit-config %q is not a valid MondooAuditConfig name", f.AuditConfig)
	}
	if len(f.Environments) == 0 {
		return usagef("--environments needs at least one name")
	}
	for i, name := range f.Environments {
		if len(validation.IsDNS1123Label(name)) > 0 || f.Overlays && name == "components" {
			return usagef("--environments: %q can't be the name of an environment", name)
		}
		if slices.Contains(f.Environments[:i], name) {
			return usagef("--environments has %s twice", name)
		}
	}
	if f.URL != "" && author.RemoteURL(f.URL) == "" {
		return usagef("--url %q is not an https or ssh address", f.URL)
	}
	if strings.Contains(strings.Join(f.Recipients.Age, ","), "AGE-SECRET-KEY-") {
		return usagef("--age has a private key, which is now in the history of your shell; make another one (age-keygen), and give its recipient, which starts with age1")
	}
	return nil
}

func (f *initFlags) run(ctx context.Context, s *shell, folder string) error {
	root, err := f.repository(ctx, s, folder)
	if err != nil {
		return err
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("open %s: %w", folder, withoutPath(err))
	}
	repo := &repository{root: root, fs: dir.FS(), dir: dir}
	defer repo.close()
	f.origin(ctx, repo)
	given := !f.Recipients.Empty()
	key, err := f.key(s, repo)
	if err != nil {
		return err
	}
	changes, err := missing(repo, f.Files())
	if err != nil {
		return err
	}
	if err := repo.write(changes); err != nil {
		return err
	}
	if given && !slices.ContainsFunc(changes, func(c author.Change) bool { return c.Path == ".sops.yaml" }) {
		s.tell("muster: .sops.yaml exists and is left alone, so the recipients that you named are not in it; check those that it has")
	}
	return f.print(s, repo, changes, key)
}

// repository makes the folder a repository if it is none, and returns its root.
func (f *initFlags) repository(ctx context.Context, s *shell, folder string) (string, error) {
	abs, err := filepath.Abs(folder)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", folder, err)
	}
	if err := os.MkdirAll(abs, 0o755); err != nil { //nolint:gosec // as git init does
		return "", fmt.Errorf("make %s: %w", folder, withoutPath(err))
	}
	switch root := gitRoot(ctx, abs); {
	case root == "":
		if err := worktree.Create(ctx, abs, os.Environ()); err != nil {
			return "", fmt.Errorf("make %s a repository: %w", folder, err)
		}
		s.tell("Made a Git repository in " + folder)
	case root != abs:
		return "", fmt.Errorf("%s is in the repository %s; run muster init there", folder, root)
	}
	return abs, nil
}

// origin completes where the controller fetches the repository: from an AuditSync of the last time, or from Git.
func (f *initFlags) origin(ctx context.Context, repo *repository) {
	remote, branch := worktree.Origin(ctx, repo.root, os.Environ())
	f.remote = remote != ""
	f.URL, f.Branch = author.RemoteURL(f.URL), cmp.Or(f.Branch, branch, "main")
	for _, m := range auditSyncsIn(repo.fs) {
		f.URL = cmp.Or(f.URL, author.RemoteURL(m.Spec.Source.URL)) // it goes into a command, and a file may have any
	}
	f.URL = cmp.Or(f.URL, author.RemoteURL(remote))
	f.unknown = f.URL == ""
	f.URL = cmp.Or(f.URL, placeholderURL)
}

// placeholderURL is in place of an address that is not known.
const placeholderURL = "https://git.example.com/platform/fleet.git"

// maxIgnore limits a .gitignore.
const maxIgnore = 1 << 20

// missing are the files that don't exist, and what .gitignore lacks.
func missing(repo *repository, files []author.Change) ([]author.Change, error) {
	var changes []author.Change
	for _, c := range files {
		info, err := fs.Lstat(repo.fs, c.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			changes = append(changes, c)
			continue
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", c.Path, withoutPath(err))
		case c.Path != ".gitignore" || !info.Mode().IsRegular():
			continue
		case info.Size() > maxIgnore:
			return nil, fmt.Errorf("read %s: it is larger than %d KiB; make it shorter", c.Path, maxIgnore>>10)
		}
		before, err := fs.ReadFile(repo.fs, c.Path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", c.Path, withoutPath(err))
		}
		if after := withLines(before, c.After); !bytes.Equal(before, after) {
			changes = append(changes, author.Change{Path: c.Path, Before: before, After: after})
		}
	}
	return changes, nil
}

// withLines adds the lines that a text lacks.
func withLines(text, lines []byte) []byte {
	have := strings.Split(string(text), "\n")
	var added strings.Builder
	for line := range strings.Lines(string(lines)) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "#") && !slices.Contains(have, line) {
			added.WriteString(line + "\n")
		}
	}
	if added.Len() > 0 && len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(slices.Clone(text), '\n')
	}
	return append(slices.Clone(text), added.String()...)
}
