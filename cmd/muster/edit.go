package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/encrypt"
	"github.com/muster-gitops/muster/clusters/finding"
)

const editHelp = `Edit opens the file of a cluster in your editor, decrypted, and encrypts it again as sops edit does: with the same data key,
recipients and rules. Unchanged values keep their ciphertext. A file in plain text is encrypted by the rules of .sops.yaml
when it gets its first secret.

A kubeconfig in a separate file (spec.kubeconfigFile) is opened with --kubeconfig, and stays there.

What the editor leaves is checked as a pull request is. With errors nothing is written; in a terminal you can go on editing.

The plain text is in a folder for you alone: in XDG_RUNTIME_DIR or /dev/shm, which are in memory, or else in TMPDIR. The folder
is removed at the end, even if Muster is killed. Vim is started without swap, backup and undo files. Check what other editors
keep elsewhere.

The editor is SOPS_EDITOR, VISUAL or EDITOR, or in a terminal vi. It is the one program that Muster starts besides git.

Exit status: 0, 1 when the file has errors and was not written, 2 when the command or the editor failed, 130 after Ctrl-C.`

const editExample = `  # Change a token
  muster edit prod-eu-west-1 clusters/production

  # Change the file that its kubeconfigFile names
  muster edit prod-eu-west-1 clusters/production --kubeconfig

  # With another editor, which has to stay in the foreground
  EDITOR='code --wait' muster edit prod-eu-west-1 clusters/production`

func newEditCommand(s *shell) *cobra.Command {
	var flags folderFlags
	var w writeFlags
	cmd := &cobra.Command{
		Use: "edit CLUSTER [PATH]", Short: "Edit the file of a cluster, decrypted, in your editor", Long: editHelp, Example: editExample,
		Args: clusterAndFolder, ValidArgsFunction: completeClusterAndFolder,
	}
	flags.add(cmd)
	w.add(cmd)
	kubeconfig := cmd.Flags().Bool("kubeconfig", false, "open the file with the cluster's kubeconfig, which its kubeconfigFile names")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := flags.open(s, cmd, args[1:])
		if err != nil {
			return err
		}
		defer f.close()
		if err := w.addRecipients(f); err != nil {
			return err
		}
		c, err := f.locateCluster(cmd.Context(), args[0])
		if err != nil {
			return f.withFindings(err)
		}
		if *kubeconfig {
			if c, err = c.kubeconfigFile(f, args[0]); err != nil {
				return err
			}
		}
		if failure := c.open(cmd.Context(), f); failure != nil {
			return w.fail(f, *failure)
		}
		err = f.edit(cmd.Context(), c, &w)
		if errors.Is(err, errInterrupted) {
			fmt.Fprintln(s.stderr, "muster: interrupted; nothing was written")
			return statusError(exitStopped)
		}
		return err
	}
	return cmd
}

// withFindings prints the findings that explain why a cluster is missing.
func (f *folder) withFindings(err error) error {
	if missing, ok := errors.AsType[*missingError](err); ok {
		return errors.Join(f.printFindings(f.stderr, f.repository, missing.findings), err)
	}
	return err
}

// edit lets the user edit a text until it is right, unchanged, or given up.
func (f *folder) edit(ctx context.Context, c *source, w *writeFlags) (err error) {
	before := c.plain()
	e, err := f.startEditing(c.Path, before)
	if err != nil {
		return err
	}
	defer func() {
		if failed := e.folder.remove(); failed != nil {
			f.tell("muster: the plain text in " + e.folder.path + " may still be there; remove it: " + failed.Error())
			err = errors.Join(err, statusError(exitFailure))
		}
	}()
	for {
		text, err := e.edit(ctx)
		if err != nil {
			return err
		}
		again, err := f.finish(ctx, c, w, before, text)
		if err != nil || !again {
			return err
		}
	}
}

// finish checks and writes what the editor left. It reports whether the user wants to edit it again.
func (f *folder) finish(ctx context.Context, c *source, w *writeFlags, before, text []byte) (again bool, _ error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt) // it was the editor's until now
	defer stop()
	if bytes.Equal(before, text) {
		if !c.kubeconfig && c.kubeconfigName() != "" {
			f.tell("Its kubeconfig is in a separate file; to edit that, use --kubeconfig.")
		}
		return false, w.unchanged(f, c.Path)
	}
	p, findings, err := f.check(ctx, c, text)
	if ctx.Err() != nil {
		return false, errInterrupted
	}
	switch {
	case err != nil:
		return false, err
	case len(findings) == 0:
		return false, f.show(w, p)
	case f.terminal() == nil:
		return false, w.fail(f, findings...)
	}
	if err := f.printFindings(f.stderr, f.repository, findings); err != nil {
		return false, err
	}
	again, err = f.confirm(ctx, "Edit the file again?", true)
	switch {
	case ctx.Err() != nil:
		return false, errInterrupted
	case err == nil && !again:
		if w.json() {
			return false, w.fail(f, findings...)
		}
		fmt.Fprintln(f.stderr, "muster: "+nothingWritten)
		return false, statusError(exitFindings)
	}
	return again, err
}

// check encrypts a text, and judges the change. The findings are what is wrong with it.
func (f *folder) check(ctx context.Context, c *source, text []byte) (*proposal, []finding.Finding, error) {
	c.hide(f.shell, text)
	if findings, err := c.syntaxErrors(ctx, f, text); err != nil || len(findings) > 0 {
		return nil, findings, err
	}
	change, err := c.change(f, text)
	if bad := unencryptable(c, err); bad != nil {
		return nil, []finding.Finding{*bad}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	p, err := f.propose(ctx, []author.Change{change})
	if err != nil {
		return nil, nil, err
	}
	return p, p.errors(), nil
}

// codeNotEncrypted is the code of the finding about a text that can't be encrypted.
const codeNotEncrypted finding.Code = "not-encrypted"

// unencryptable returns the finding for an error of package encrypt. It is nil for any other.
func unencryptable(c *source, err error) *finding.Finding {
	bad := &finding.Finding{Code: codeNotEncrypted, Severity: finding.Error, Path: c.Path}
	if rule, ok := errors.AsType[*encrypt.RuleError](err); ok {
		bad.Message, bad.Fix = "the file can't be encrypted: "+rule.Reason, rule.Fix
		if rule.Config != "" {
			bad.Path, bad.Line = rule.Config, rule.Line
		}
		return bad
	}
	if file, ok := errors.AsType[*encrypt.FileError](err); ok {
		bad.Message, bad.Fix = "the file can't be encrypted: "+file.Reason, file.Fix
		return bad
	}
	return nil
}

// show prints what a proposal does, and carries it out.
func (f *folder) show(w *writeFlags, p *proposal) error {
	if !w.dryRun && !w.json() && len(p.errors()) == 0 {
		if err := f.printPlanned(p); err != nil {
			return err
		}
	}
	return w.carryOut(f, p)
}
