package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"
)

const rootHelp = `Muster is GitOps for the external clusters of the Mondoo Operator.

Commands with a PATH read that folder as the controller reads it from a commit: only what Git would commit, and nothing outside
of the repository. Without PATH, it is the folder that the only AuditSync in the repository reads, or else the working directory.

Encrypted files are decrypted with the keys of --sops-key and those that sops would use: SOPS_AGE_KEY, SOPS_AGE_KEY_FILE and
sops/age/keys.txt in your configuration folder. SOPS_AGE_KEY_CMD is not run; use SOPS_AGE_KEY="$(command)".

Objects and reports go to standard output, findings and errors to standard error. NO_COLOR turns colours off.

Exit status: 0 on success, 1 when there are error findings, 2 when the command failed (wrong usage, no such path, API
server not reachable), 130 after Ctrl-C.`

// newRootCommand registers the commands.
func newRootCommand(s *shell) *cobra.Command {
	root := &cobra.Command{
		Use:           "muster",
		Short:         "GitOps for the external clusters of the Mondoo Operator",
		Long:          rootHelp,
		Version:       version(),
		SilenceErrors: true, // run prints them, redacted
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				cmd.SetOut(s.stderr)
				if err := cmd.Help(); err != nil {
					return err
				}
				return statusError(exitFailure)
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{friendlyFlagError(err)} })
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(newHelpCommand(root))
	for _, group := range groups(s) {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title + ":"})
		for _, cmd := range group.commands {
			cmd.GroupID = group.title
		}
		root.AddCommand(group.commands...)
	}
	root.AddCommand(newCompletionCommand(s), newVersionCommand(s), newRemoveFolderCommand(s))
	return root
}

// commandGroup is a heading in the list of commands.
type commandGroup struct {
	title    string
	commands []*cobra.Command
}

func groups(s *shell) []commandGroup {
	return []commandGroup{
		{"Set up", []*cobra.Command{newInitCommand(s), newAddCommand(s), newImportCommand(s), newSetupCommand(s), newSchemaCommand(s)}},
		{"Files", []*cobra.Command{newEditCommand(s), newSetCommand(s), newRotateCommand(s), newRemoveCommand(s), newKeysCommand(s)}},
		{"Checks", []*cobra.Command{newLintCommand(s), newRenderCommand(s), newPlanCommand(s), newExplainCommand(s), newTreeCommand(s),
			newPreflightCommand(s), newRulesCommand(s)}},
		{"Live", []*cobra.Command{newStatusCommand(s), newDoctorCommand(s), newEventsCommand(s), newLogsCommand(s), newReconcileCommand(s),
			newSuspendCommand(s), newResumeCommand(s), newApproveCommand(s)}},
		{"Controller", []*cobra.Command{newControllerCommand(s)}},
	}
}

func unknownCommand(root *cobra.Command, name string) error {
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(name); len(near) > 0 {
		return fmt.Errorf("unknown command %q; did you mean %s?; see muster --help", name, strings.Join(near, " or "))
	}
	return fmt.Errorf("unknown command %q; see muster --help", name)
}

// friendlyFlagError replaces a flag parser's message where it is written for programmers.
func friendlyFlagError(err error) error {
	cause := errors.Unwrap(err)
	number, isNumber := errors.AsType[*strconv.NumError](cause)
	var message string
	switch {
	case isNumber && number.Func == "ParseBool":
		message = "must be true or false"
	case isNumber:
		message = "must be a whole number"
	case errors.Is(cause, resource.ErrFormatWrong):
		message = "must be a size such as 8Mi"
	default:
		return err
	}
	return errors.New(strings.TrimSuffix(err.Error(), cause.Error()) + message)
}

// exclude rejects two flags together, and keeps the shell from completing one after the other.
func exclude(cmd *cobra.Command, a, b string) {
	cmd.MarkFlagsMutuallyExclusive(a, b)
	previous := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed(a) && cmd.Flags().Changed(b) {
			return usagef("--%s and --%s can't be used together", a, b)
		}
		if previous == nil {
			return nil
		}
		return previous(cmd, args)
	}
}

// atMost rejects more arguments than a command accepts.
func atMost(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef("%q is an unexpected argument", args[n])
		}
		return nil
	}
}

// choice is a flag that accepts one of a few values.
type choice struct {
	value   string
	options []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.options, "|") }

func (c *choice) Set(value string) error {
	if slices.Contains(c.options, value) {
		c.value = value
		return nil
	}
	return fmt.Errorf("must be one of %s", strings.Join(c.options, ", "))
}

// addChoice adds a flag, with completion, whose first option is the default.
func addChoice(cmd *cobra.Command, name, short, help string, options ...string) *choice {
	c := &choice{value: options[0], options: options}
	cmd.Flags().VarP(c, name, short, help)
	completeFlag(cmd, name, cobra.FixedCompletions(options, cobra.ShellCompDirectiveNoFileComp))
	return c
}
