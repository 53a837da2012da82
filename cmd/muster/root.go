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

The commands read a folder of a Git work tree as the controller reads it from a commit, and say what it would do.
A folder's repository is the nearest folder above it with a .git, and nothing outside of that is read. What is read is what
Git would commit: tracked files as they are in the work tree, and files that are neither tracked nor ignored. Outside of a
Git repository every file is read.

Objects and reports are printed to standard output, findings and errors to standard error. Findings in text name files as
seen from the working directory; JSON, SARIF and GitHub annotations name them from the root of the repository.

Encrypted files are opened with the keys of --sops-key (age, or armored OpenPGP) and those that sops would take: SOPS_AGE_KEY,
SOPS_AGE_KEY_FILE and sops/age/keys.txt in your configuration folder. SOPS_AGE_KEY_CMD is not run, because Muster
starts no program but git; write SOPS_AGE_KEY="$(command)" instead.

Exit status: 0 when all is well, 1 when there are error findings, 2 when the work could not be done (wrong usage, no
such path, API server not reachable), 130 after Ctrl-C. NO_COLOR turns colours off.`

// newRootCommand is where commands are registered.
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
				return statusError(exitTrouble)
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{inWordsOfUsers(err)} })
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(newHelpCommand(root))
	root.AddCommand(
		newRenderCommand(s),
		newLintCommand(s),
		newPlanCommand(s),
		newExplainCommand(s),
		newStatusCommand(s),
		newTreeCommand(s),
		newRulesCommand(s),
		newControllerCommand(s),
		newCompletionCommand(s),
		newVersionCommand(s),
	)
	return root
}

func unknownCommand(root *cobra.Command, name string) error {
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(name); len(near) > 0 {
		return fmt.Errorf("there is no command %q; did you mean %s?; see muster --help", name, strings.Join(near, " or "))
	}
	return fmt.Errorf("there is no command %q; see muster --help", name)
}

// inWordsOfUsers replaces what a parser says of the value of a flag, where that is for programmers.
func inWordsOfUsers(err error) error {
	cause := errors.Unwrap(err)
	number, isNumber := errors.AsType[*strconv.NumError](cause)
	var words string
	switch {
	case isNumber && number.Func == "ParseBool":
		words = "it is neither true nor false"
	case isNumber:
		words = "it is no whole number"
	case errors.Is(cause, resource.ErrFormatWrong):
		words = "it is no size such as 8Mi"
	default:
		return err
	}
	return errors.New(strings.TrimSuffix(err.Error(), cause.Error()) + words)
}

// exclude refuses two flags together, and keeps the shell from completing the one after the other.
func exclude(cmd *cobra.Command, a, b string) {
	cmd.MarkFlagsMutuallyExclusive(a, b)
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed(a) && cmd.Flags().Changed(b) {
			return usagef("--%s and --%s exclude each other", a, b)
		}
		if before == nil {
			return nil
		}
		return before(cmd, args)
	}
}

// atMost refuses more arguments than a command takes.
func atMost(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef("%q is one argument too many", args[n])
		}
		return nil
	}
}

// completeFiles lets the shell complete a flag with names of files.
func completeFiles(cmd *cobra.Command, flag string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)); err != nil {
		panic(err) // the caller has just added the flag
	}
}

// choice is a flag that takes one of a few words.
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
	return fmt.Errorf("it is none of %s", strings.Join(c.options, ", "))
}

// addChoice adds a flag, with completion, whose first option is the default.
func addChoice(cmd *cobra.Command, name, short, help string, options ...string) *choice {
	c := &choice{value: options[0], options: options}
	cmd.Flags().VarP(c, name, short, help)
	if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(options, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was added one line above
	}
	return c
}
