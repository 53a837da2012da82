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

const lintHelp = `Lint checks folders as the controller does, and prints what it finds. It needs no key: what stands in encrypted files is
checked as well when there is one.

A PATH that is a folder is read as one tree, as an AuditSync with that path reads it. Where AuditSyncs in the repository have
their paths below it, each of these is a tree of its own: muster lint without a PATH checks all environments of a repository
that holds their AuditSyncs. Where it doesn't, name each environment.

A PATH that is a file is checked within its tree, which is the path of the AuditSync in the repository that reads it, or the
nearest folder from the file upwards with a kustomization.yaml, or else the file's own folder; findings about other files are
left out. That makes lint a hook for pre-commit, which names the changed files.

What clusters inherit from an audit config that isn't in Git, such as a schedule, is unknown here. With --live it is read
from the management cluster.

In a work tree of Git, encrypted files are compared with the last commit that has another version of them, or with --base: where
a value has changed and the MAC has not, the file can't be opened, and no key is needed to see it.

Findings are printed to standard output. As text they name files as seen from the working directory; as JSON, SARIF
(2.1.0) and GitHub annotations, from the root of the repository.`

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
	output := addChoice(cmd, "output", "o", "output format", "text", "json", "sarif", "github")
	base := cmd.Flags().String("base", "", "commit or branch to compare encrypted files with (default: HEAD, and the commit before it)")
	failOn := addChoice(cmd, "fail-on", "", "severity from which findings end lint with status 1", "error", "warning")
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
		if err := s.printReports(output.value, reports); err != nil {
			return fmt.Errorf("print findings: %w", err)
		}
		if fails(reports, finding.Severity(failOn.value)) {
			return statusError(exitFindings)
		}
		return nil
	}
	return cmd
}

// report is what lint has found in one repository.
type report struct {
	repo     *repository
	findings []finding.Finding
}

// tree is a folder to lint, whole or for the sake of some files in it.
type tree struct {
	*target
	whole bool
	files []string
}

// lint checks each folder once, however many paths lead to it.
func (f folder) lint(ctx context.Context, args []string, base string) ([]report, error) {
	envs := environments{}
	trees, split, err := treesOf(ctx, args, envs)
	if err != nil {
		return nil, err
	}
	var reports []report
	add := func(repo *repository, findings []finding.Finding) {
		at := slices.IndexFunc(reports, func(known report) bool { return known.repo.root == repo.root })
		if at < 0 {
			reports = append(reports, report{repo: repo})
			at = len(reports) - 1
		}
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
		add(t.repository, findings)
	}
	for _, t := range split {
		add(t.repository, envs.unread(t, read[t.root]))
	}
	return reports, nil
}

// lintTree checks one tree, and returns what was read of it.
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
		findings = about(t.files, r.opened, findings, loaded)
		closed = slices.DeleteFunc(closed, func(file string) bool { return !slices.Contains(t.files, file) })
	}
	return f.noteClosed(findings, t.path, closed, finding.Info), loaded, nil
}

// treesOf are the trees that paths lead to, and the folders among these that are no tree by themselves, but hold the environments of
// several AuditSyncs.
func treesOf(ctx context.Context, args []string, envs environments) (trees []*tree, split []*target, _ error) {
	for _, arg := range args {
		t, err := locate(ctx, arg)
		if err != nil {
			return nil, nil, err
		}
		paths := []string{t.path}
		if t.file != "" {
			paths[0] = cmp.Or(envs.around(t), treeOf(t))
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

// treeOf is the folder that a file is rendered with.
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

// about keeps the findings about some files: those that stand there, those about the clusters that are defined there, and
// the errors of a tree in which something shared is broken, for nobody has checked the files then.
func about(files []string, opened *fleet.Opened, findings []finding.Finding, loaded *load.Tree) []finding.Finding {
	type cluster struct{ name, file string }
	defined := map[cluster]bool{}
	for _, c := range opened.Clusters {
		defined[cluster{c.Name, c.Origin.Path}] = true
	}
	taken := func(file string) bool {
		// Without its kustomization, a tree has no files to tell from.
		return loaded.Files[file] != nil || opened.Broken[file] || loaded.Kustomizations[loaded.Path] == nil
	}
	unchecked := opened.Stopped && slices.ContainsFunc(files, taken)
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
		told := slices.ContainsFunc(kept, func(f finding.Finding) bool { return f.Path == file })
		if !taken(file) && !told {
			kept = append(kept, finding.Finding{Code: load.CodeUnused, Severity: finding.Info, Path: file,
				Message: "this file is not for Muster: nothing that it renders comes from it"})
		}
	}
	return kept
}

// fails says whether one of the findings that nobody has accepted is as grave as from.
func fails(reports []report, from finding.Severity) bool {
	return slices.ContainsFunc(reports, func(r report) bool {
		return slices.ContainsFunc(r.findings, func(f finding.Finding) bool {
			return f.Severity == finding.Error || f.Severity == from && f.Accepted == ""
		})
	})
}
