// Rulesmd writes the rules reference. go generate runs it in clusters/finding.
package main

import (
	"fmt"
	"os"

	"github.com/muster-gitops/muster/clusters/finding"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "rulesmd:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: rulesmd FILE")
	}
	if err := os.WriteFile(args[0], []byte(finding.Reference()), 0o644); err != nil { //nolint:gosec // a public file
		return fmt.Errorf("write reference: %w", err)
	}
	return nil
}
