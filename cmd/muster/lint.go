package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/spf13/cobra"
	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
)

const lintHelp = `Lint checks folders as the controller does, and prints its findings. It needs no key. With a key, it also checks the content
of encrypted files.

A PATH that is a folder is read as one tree, as by an AuditSync with that path. If AuditSyncs in the repository have their
paths below it, each of these paths is a separate tree: without a PATH, muster lint checks all environments of a repository
that contains their AuditSyncs. In any other repository, name each environment.

A PATH that is a file is checked as part of its tree. That is the path of the AuditSync in the repository that reads it, or
the nearest parent folder with a kustomization.yaml, or the file's own folder. Findings about other files are left out. This
makes lint a hook for pre-commit, which passes the changed files.

What clusters inherit from an audit config that isn't in Git, such as a schedule, is unknown here. With --live it is read
from the management cluster.

In a Git work tree, encrypted files are compared with the last commit that has another version of them, or with --base. If a
value has changed but the MAC has not, the file can't be decrypted. Lint detects that without a key.

Findings are printed to standard output. Text names files relative to the working directory; all other formats name them
relative to the root of the repository: JSON, SARIF (2.1.0), GitHub annotations, GitLab Code Quality and JUnit, where each
file is a test case.`

const lintExample = `  # Check two environments
  muster lint clusters/production clusters/staging

  # Check what Git is about to commit
  git diff --cached --name-only --diff-filter=d -z -- clusters | xargs -0 -r muster lint --fail-on warning

  # Annotate a pull request in GitHub Actions, without keys
  muster lint clusters/production clusters/staging --no-keys -o github

  # Check all environments that have an AuditSync in the repository, for code scanning
  muster lint -o sarif > muster.sarif`

func newLintCommand(s *shell) *cobra.Command {
	var flags folderFlags
	var where liveFlags
	cmd := &cobra.Command{
		Use: "lint [PATH]...", Short: "Check cluster files", Long: lintHelp, Example: lintExample,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	output := addChoice(cmd, "output", "o", "output format", "text", "json", "sarif", "github", "junit", "gitlab")
	base := cmd.Flags().String("base", "", "`commit` or branch to compare encrypted files with (default: HEAD, and the commit before it)")
	failOn := addChoice(cmd, "fail-on", "", "lowest severity of findings that makes lint exit with 1", "error", "warning")
	flags.add(cmd)
	flags.addNone(cmd)
	where.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opts, err := flags.options()
		if err != nil {
			return err
		}
		ring, err := flags.ring(s)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			args = []string{"."}
		}
		c, err := where.connect(s, opts.Namespace)
		if err != nil {
			return err
		}
		as := folder{shell: s, opts: opts, ring: ring, cluster: c, auditConfigGiven: cmd.Flags().Changed("audit-config"),
			policyFor: flags.policyFor, policyGiven: flags.policy != ""}
		reports, err := as.lint(cmd.Context(), args, *base)
		if err != nil {
			return err
		}
		if err := s.printReports("muster lint", output.value, reports); err != nil {
			return fmt.Errorf("print findings: %w", err)
		}
		if fails(reports, finding.Severity(failOn.value)) {
			return statusError(exitFindings)
		}
		return nil
	}
	return cmd
}

// report is the findings of one repository, and the files that were checked.
type report struct {
	repo     *repository
	files    []string
	findings []finding.Finding
}

// tree is a folder to lint. If whole is false, only some of its files matter.
type tree struct {
	*target
	whole bool
	files []string
}

// lint checks each folder once, even if several paths lead to it.
func (f folder) lint(ctx context.Context, args []string, base string) ([]report, error) {
	envs := environments{}
	trees, split, err := treesOf(ctx, args, envs)
	if err != nil {
		return nil, err
	}
	var reports []report
	add := func(repo *repository, files []string, findings []finding.Finding) {
		at := slices.IndexFunc(reports, func(known report) bool { return known.repo.root == repo.root })
		if at < 0 {
			reports = append(reports, report{repo: repo})
			at = len(reports) - 1
		}
		reports[at].files = append(reports[at].files, files...)
		reports[at].findings = finding.Sorted(append(reports[at].findings, findings...))
	}
	read := map[string]map[string]bool{} // the files of all trees, by repository
	for _, t := range trees {
		defer t.close()
		findings, loaded, err := f.lintTree(ctx, t, base)
		if err != nil {
			return nil, err
		}
		if read[t.root] == nil {
			read[t.root] = map[string]bool{}
		}
		for name := range loaded.Files {
			read[t.root][name] = true
		}
		files := t.files
		if t.whole {
			files = loaded.Paths()
		}
		add(t.repository, files, findings)
	}
	for _, t := range split {
		add(t.repository, nil, envs.unreadClusters(t, read[t.root]))
	}
	return reports, nil
}

// lintTree checks one tree, and returns the findings and the files that it read.
func (f folder) lintTree(ctx context.Context, t *tree, base string) (_ []finding.Finding, _ *load.Tree, err error) {
	f.target = t.target
	if f.opts.Policy, err = f.policyFor(t.target); err != nil {
		return nil, nil, err
	}
	_, opts, err := f.gatherIfLive(ctx)
	if err != nil {
		return nil, nil, err
	}
	if opts.Before, err = t.before(base); err != nil {
		return nil, nil, err
	}
	r, err := f.render(ctx, t.target, opts, openerFor(f.ring))
	if err != nil {
		return nil, nil, err
	}
	findings, closed, loaded := r.fresh().Findings, r.closed, r.sealed.Source.Loaded
	if !t.whole {
		findings = findingsAbout(t.files, r.opened, findings, loaded)
		closed = slices.DeleteFunc(closed, func(file string) bool { return !slices.Contains(t.files, file) })
	}
	return f.noteClosed(findings, t.path, closed, finding.Info), loaded, nil
}

// treesOf are the trees of the paths. split are the folders among the paths that aren't trees themselves, but contain the
// environments of several AuditSyncs.
func treesOf(ctx context.Context, args []string, envs environments) (trees []*tree, split []*target, _ error) {
	for _, arg := range args {
		t, err := locate(ctx, arg)
		if err != nil {
			return nil, nil, err
		}
		paths := []string{t.path}
		if t.file != "" {
			paths[0] = cmp.Or(envs.enclosing(t), treeOf(t))
		} else if below := envs.below(t); len(below) > 0 {
			paths, split = below, append(split, t)
		}
		for _, path := range paths {
			at := slices.IndexFunc(trees, func(known *tree) bool { return known.root == t.root && known.path == path })
			if at < 0 {
				trees = append(trees, &tree{target: &target{repository: t.repository, path: path, file: t.file}})
				at = len(trees) - 1
			}
			if t.file == "" {
				trees[at].whole = true
			} else {
				trees[at].files = append(trees[at].files, t.file)
			}
		}
	}
	return trees, split, nil
}

// treeOf is the folder with which a file is rendered.
func treeOf(t *target) string {
	for dir := t.path; ; dir = path.Dir(dir) {
		for _, name := range konfig.RecognizedKustomizationFileNames() {
			if _, err := fs.Lstat(t.fs, path.Join(dir, name)); err == nil {
				return dir
			}
		}
		if dir == "." {
			return t.path
		}
	}
}

// findingsAbout keeps the findings about some files: those in the files, and those about clusters that the files define. If
// something shared is broken, it also keeps the errors of the tree, because nothing has checked the files then.
func findingsAbout(files []string, opened *fleet.Opened, findings []finding.Finding, loaded *load.Tree) []finding.Finding {
	type cluster struct{ name, file string }
	defined := map[cluster]bool{}
	for _, c := range opened.Clusters {
		defined[cluster{c.Name, c.Origin.Path}] = true
	}
	used := func(file string) bool {
		// Without its kustomization, Muster can't tell which files the tree uses.
		return loaded.Files[file] != nil || opened.Broken[file] || loaded.Kustomizations[loaded.Path] == nil
	}
	unchecked := opened.Stopped && slices.ContainsFunc(files, used)
	var kept []finding.Finding
	for _, f := range findings {
		concerns := func(file string) bool {
			return f.Path == file || f.Cluster != "" && defined[cluster{f.Cluster, file}]
		}
		if slices.ContainsFunc(files, concerns) || unchecked && f.Severity == finding.Error || f.Code == codeNoRepository {
			kept = append(kept, f)
		}
	}
	for _, file := range files {
		reported := slices.ContainsFunc(kept, func(f finding.Finding) bool { return f.Path == file })
		if !used(file) && !reported {
			kept = append(kept, finding.Finding{Code: load.CodeUnused, Severity: finding.Info, Path: file,
				Message: "Muster doesn't use this file: no rendered object comes from it"})
		}
	}
	return kept
}

// fails reports whether one of the findings that aren't accepted has at least the severity from.
func fails(reports []report, from finding.Severity) bool {
	return slices.ContainsFunc(reports, func(r report) bool {
		return slices.ContainsFunc(r.findings, func(f finding.Finding) bool {
			return f.Severity == finding.Error || f.Severity == from && f.Accepted == ""
		})
	})
}
