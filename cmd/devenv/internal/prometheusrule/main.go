// Prometheusrule converts a rules file of Prometheus to a PrometheusRule for the Prometheus Operator. It keeps the text,
// including comments: the spec of a PrometheusRule has the same form.
package main

import (
	"fmt"
	"os"
	"strings"
)

//go:generate go run . ../../../../config/prometheus/rules.yaml ../../../../config/prometheus/prometheusrule.yaml

const head = `# Made from rules.yaml by make generate. DO NOT EDIT.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: muster
  labels:
    app.kubernetes.io/name: muster
    app.kubernetes.io/component: controller
spec:
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "prometheusrule:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: prometheusrule RULES PROMETHEUSRULE")
	}
	rules, err := os.ReadFile(args[0])
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	if err := os.WriteFile(args[1], []byte(head+indented(string(rules))), 0o644); err != nil {
		return fmt.Errorf("write PrometheusRule: %w", err)
	}
	return nil
}

// indented indents every line that has text, below spec. The text before the first key is about the file, and stays there.
func indented(rules string) string {
	var out strings.Builder
	_, rules, _ = strings.Cut(rules, "\ngroups:\n")
	for line := range strings.Lines("groups:\n" + rules) {
		if strings.TrimSpace(line) != "" {
			out.WriteString("  ")
		}
		out.WriteString(line)
	}
	return out.String()
}
