package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/explain"
	"github.com/muster-gitops/muster/clusters/finding"
)

// The rules themselves are in clusters/finding, in the files rules_*.go.

const rulesHelp = `Rules lists everything that Muster may report, or explains one rule by the code in brackets at the end of a finding.

JSON has the whole catalogue; Markdown is the rules reference, clusters/finding/RULES.md.`

const rulesExample = `  # All rules
  muster rules

  # What does [same-minute] mean, and how do I fix it?
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
				return fmt.Errorf("unknown rule %q%s; muster rules lists them", args[0], suggestion(args[0], rules))
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
		_, err := fmt.Fprint(s.stdout, reflowed(rules[0].Explain(), widthOf(s.stdout)))
		return err
	}
	paint, width := s.painter(s.stdout), widthOf(s.stdout)
	var b strings.Builder
	for len(rules) > 0 {
		subject := rules[0].Subject
		end := slices.IndexFunc(rules, func(r finding.Rule) bool { return r.Subject != subject })
		if end < 0 {
			end = len(rules)
		}
		fmt.Fprintln(&b, paint(bold, string(subject)))
		tableOf(rules[:end]).write(&b, paint, "  ", 2, width)
		if rules = rules[end:]; len(rules) > 0 {
			b.WriteString("\n")
		}
	}
	_, err := fmt.Fprint(s.stdout, b.String())
	return err
}

func tableOf(rules []finding.Rule) table {
	var t table
	for _, r := range rules {
		var names []string
		for _, severity := range r.Severities {
			names = append(names, string(severity))
		}
		t = append(t, []cell{{string(r.Code), ""}, {strings.Join(names, ", "), severityColour[r.Severities[0]]}, {r.Cause, ""}})
	}
	return t
}

// suggestion names the rules whose codes are similar to the one asked for, or else those that share a part with it.
func suggestion(asked string, rules []finding.Rule) string {
	var codes, parts []string
	for _, r := range rules {
		code := string(r.Code)
		codes = append(codes, code)
		has := func(part string) bool { return len(part) > 2 && slices.Contains(strings.Split(code, "-"), part) }
		if slices.ContainsFunc(strings.Split(asked, "-"), has) {
			parts = append(parts, code)
		}
	}
	near := explain.Near(asked, codes)
	if len(near) == 0 {
		near = parts[:min(len(parts), 3)]
	}
	if len(near) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(near, " or ") + "?"
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
