package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/access"
	"github.com/muster-gitops/muster/clusters/recipient"
)

const accessHelp = `Keys tells who can open what, from the files alone. It needs no key and decrypts nothing.

It reads every encrypted file below PATH that Git would commit, whether a kustomization uses it or not, and compares its
recipients with the creation rules of the nearest .sops.yaml. PATH may be a file. Without PATH, it is the folder of the only
AuditSync in the repository; "muster keys ." reads everything.

A recipient has the name that .sops.yaml gives it: the comment at the end of its line, its anchor, or the comment line above
an item of a list. Or give names with --names, in a YAML file with one recipient a line: "age1…: alice".

The list has how many files a recipient opens, and whether the rules for these files list it. In a file with key groups a
recipient may open only together with others ("jointly"). A recipient "lacks" files that are not encrypted for it although
their rule says so.

With --recipient it lists what one recipient opens, by its name, or as it is written in .sops.yaml, and the commands that
remove it.

Exit status: 0, with --check 1 if there are findings: a file differs from its rule, has no readable recipient or can't be
read; 2 when it failed.`

const accessExample = `  # Who can open what?
  muster keys clusters/production

  # Alice left. What could she open in the whole repository, and how is she removed?
  muster keys . --recipient alice

  # Fail in CI when a file differs from .sops.yaml
  muster keys --check`

func newKeysCommand(s *shell) *cobra.Command {
	var names, who string
	var check bool
	cmd := &cobra.Command{
		Use: "keys [PATH]", Short: "Show who can open which encrypted file", Long: accessHelp, Example: accessExample, Args: atMost(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	output := addChoice(cmd, "output", "o", "output format", "text", "json")
	by := addChoice(cmd, "by", "", "what to list; JSON has both", "recipient", "file")
	cmd.Flags().StringVar(&names, "names", "", "YAML `file` with the names of recipients, one a line: \"age1…: alice\"")
	completeFiles(cmd, "names")
	cmd.Flags().StringVar(&who, "recipient", "", "show only this recipient, by its name or as in .sops.yaml")
	cmd.Flags().BoolVar(&check, "check", false, "exit with 1 if there are findings, such as a file that differs from its rule")
	exclude(cmd, "recipient", "by")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		known, err := readNames(names)
		if err != nil {
			return err
		}
		t, err := choose(cmd.Context(), args, locate)
		if err != nil {
			return err
		}
		defer t.close()
		at := t.path
		if t.file != "" {
			at = t.file
		}
		report, err := access.Read(cmd.Context(), t.fs, at, known)
		if err != nil {
			return err
		}
		listing := accessListing{Report: report, repo: t.repository, path: at, by: by.value, total: len(report.Files)}
		for _, r := range report.Recipients {
			listing.names.Add(r.ID, r.Name)
		}
		if cmd.Flags().Changed("recipient") {
			if listing.Report, err = only(report, who); err != nil {
				return err
			}
			listing.who = who
		}
		if err := s.printAccess(output.value, listing); err != nil {
			return fmt.Errorf("print recipients: %w", err)
		}
		if check && listing.fails() {
			return statusError(exitFindings)
		}
		return nil
	}
	return cmd
}

// maxNames bounds the size of the file in --names.
const maxNames = 1 << 20

func readNames(file string) (recipient.Names, error) {
	if file == "" {
		return recipient.Names{}, nil
	}
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return recipient.Names{}, fmt.Errorf("read names: %w", err)
	case info.IsDir():
		return recipient.Names{}, fmt.Errorf("read names from %s: it is a folder; give a YAML file", file)
	case info.Size() > maxNames:
		return recipient.Names{}, fmt.Errorf("read names from %s: the file is larger than %d MiB", file, maxNames>>20)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return recipient.Names{}, fmt.Errorf("read names: %w", err)
	}
	names, err := recipient.ParseNames(data)
	if err != nil {
		return recipient.Names{}, fmt.Errorf("read names from %s: %w", file, err)
	}
	return names, nil
}

// only is the part of a report about one person. A recipient that is in no file and no rule opens nothing. A name that no
// recipient has is an error, because it may be misspelt.
func only(report *access.Report, who string) (*access.Report, error) {
	found := report.Find(who)
	if _, ok := recipient.Parse(who); len(found) == 0 && !ok {
		if who == "" {
			return nil, usagef("--recipient is empty; give a name, or a recipient as in .sops.yaml")
		}
		var names []string
		for _, r := range report.Recipients {
			if r.Name != "" {
				names = append(names, r.Name)
			}
		}
		if names = slices.Compact(names); len(names) == 0 {
			return nil, errors.New("no recipient has this name: .sops.yaml has no names in comments; add some, use --names FILE, or give the recipient itself")
		}
		return nil, fmt.Errorf("no recipient has this name; there are %s. Someone who is no longer in .sops.yaml has a name only with --names FILE; or give the recipient itself", firstFew(names))
	}
	return report.Only(found), nil
}
