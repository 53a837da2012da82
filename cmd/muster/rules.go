package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/finding"
)

// The rules themselves are in clusters/finding, in the files rules_*.go.

const rulesHelp = `Rules prints what Muster may find, or explains one rule by the code that stands in brackets behind a finding.

JSON has all that the catalogue has; Markdown is the rules reference, clusters/finding/RULES.md.`

const rulesExample = `  # All rules
  muster rules

  # What does [same-minute] mean, and what is to be done?
  muster rules same-minute

  # Codes of rules that can be errors
  muster rules -o json | jq -r '.[] | select(.severities | contains(["error"])) | .code'`

func newRulesCommand(s *shell) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "rules [CODE]",
		Short:             "List the rules, or explain one",
		Long:              rulesHelp,
		Example:           rulesExample,
		Args:              atMost(1),
		ValidArgsFunction: completeCodes,
	}
	output := addChoice(cmd, "output", "o", "output format", "text", "json", "markdown")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		rules := finding.Rules()
		if len(args) == 1 {
			rule, ok := finding.RuleOf(finding.Code(args[0]))
			if !ok {
				return usagef("there is no rule %q%s; muster rules lists them", args[0], suggestion(args[0], rules))
			}
			rules = []finding.Rule{rule}
		}
		if err := s.printRules(output.value, rules, len(args) == 1); err != nil {
			return fmt.Errorf("print rules: %w", err)
		}
		return nil
	}
	return cmd
}

func (s *shell) printRules(format string, rules []finding.Rule, one bool) error {
	switch {
	case format == "json":
		return writeJSON(s.stdout, rules)
	case format == "markdown":
		_, err := fmt.Fprint(s.stdout, finding.Markdown(rules))
		return err
	case one:
		_, err := fmt.Fprint(s.stdout, rules[0].Explain())
		return err
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	for i, r := range rules {
		if i == 0 || rules[i-1].Subject != r.Subject {
			if i > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintln(w, r.Subject)
		}
		var names []string
		for _, severity := range r.Severities {
			names = append(names, string(severity))
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", r.Code, strings.Join(names, ", "), r.Cause)
	}
	return w.Flush()
}

// suggestion names the rules that have a part of what was asked for in their codes.
func suggestion(asked string, rules []finding.Rule) string {
	var near []string
	for _, r := range rules {
		for part := range strings.SplitSeq(asked, "-") {
			if len(part) > 2 && slices.Contains(strings.Split(string(r.Code), "-"), part) {
				near = append(near, string(r.Code))
				break
			}
		}
	}
	if len(near) == 0 {
		return ""
	}
	return " (there is " + some(near) + ")"
}

func completeCodes(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var codes []cobra.Completion
	for _, r := range finding.Rules() {
		codes = append(codes, cobra.CompletionWithDesc(string(r.Code), r.Cause))
	}
	return codes, cobra.ShellCompDirectiveNoFileComp
}
