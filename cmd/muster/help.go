package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// maxHelpWidth is the maximum length of a line of help, however wide the terminal is.
const maxHelpWidth = 120

// newHelpCommand replaces cobra's, which prints the help of the whole program for an unknown command.
func newHelpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Explain a command", Example: "  muster help render", Args: atMost(2), // completion bash
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			if cmd, rest, err := root.Find(args); err == nil && len(rest) == 0 {
				for _, c := range cmd.Commands() {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(root, strings.Join(args, " "))
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

const completionHelp = `Completion prints a script that lets a shell complete Muster's commands, flags, formats, rules and folders.

As a plugin of kubectl, Muster is completed by kubectl (1.26 or newer), whose own completion has to be set up. kubectl looks
for the program kubectl_complete-muster in PATH. That is what completion kubectl prints; on Windows, and wherever links
work, it can also be a link to this binary.`

const completionExample = `  # bash: for this shell; add the line to ~/.bashrc to keep it
  source <(muster completion bash)

  # zsh
  muster completion zsh > "${fpath[1]}/_muster"

  # fish
  muster completion fish > ~/.config/fish/completions/muster.fish

  # PowerShell
  muster completion powershell | Out-String | Invoke-Expression

  # kubectl muster: kubectl runs this file, which has to be in a folder of PATH
  muster completion kubectl > ~/.local/bin/kubectl_complete-muster && chmod +x ~/.local/bin/kubectl_complete-muster`

// newCompletionCommand replaces cobra's, which succeeds for a shell that it doesn't know.
func newCompletionCommand(s *shell) *cobra.Command {
	shells := map[string]func(*cobra.Command, io.Writer) error{
		"bash":       func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"zsh":        (*cobra.Command).GenZshCompletion,
		"fish":       func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
		"powershell": (*cobra.Command).GenPowerShellCompletionWithDesc,
		"kubectl":    writePluginCompletion,
	}
	return &cobra.Command{
		Use: "completion bash|zsh|fish|powershell|kubectl", Short: "Print the completion script of a shell", Long: completionHelp, Example: completionExample,
		ValidArgs: []cobra.Completion{"bash", "zsh", "fish", "powershell", "kubectl"}, Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("name a shell: %s", strings.Join(cmd.ValidArgs, ", "))
			}
			script, known := shells[args[0]]
			if !known {
				return usagef("completion is not supported for %q, only for %s", args[0], strings.Join(cmd.ValidArgs, ", "))
			}
			if s.name == pluginName && args[0] != "kubectl" {
				return usagef("kubectl completes its plugins itself, in every shell; use muster completion kubectl")
			}
			return script(cmd.Root(), s.stdout)
		},
	}
}

// fitHelp wraps the help of all commands to the width of a terminal. The width is 0 for anything else.
func fitHelp(root *cobra.Command, width int) {
	flags := maxHelpWidth
	if width > 0 {
		flags = min(width, maxHelpWidth)
	}
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "Flags.FlagUsages ", fmt.Sprintf("Flags.FlagUsagesWrapped %d ", flags)))
	fitText(root, width)
}

func fitText(cmd *cobra.Command, width int) {
	cmd.Long = reflowed(cmd.Long, width)
	for _, c := range cmd.Commands() {
		fitText(c, width)
	}
}

// reflowed wraps the paragraphs of a text, except indented ones. With a width of 0 it returns the text unchanged.
func reflowed(text string, width int) string {
	if width == 0 {
		return text
	}
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		if p != "" && !strings.HasPrefix(p, " ") {
			paragraphs[i] = strings.Join(wrapped(p, min(width, maxHelpWidth)), "\n")
		}
	}
	return strings.Join(paragraphs, "\n\n")
}
