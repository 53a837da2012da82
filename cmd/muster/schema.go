package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/config/schema"
)

const schemaHelp = `Schema prints the JSON Schema of cluster files (ExternalCluster) or of AuditSyncs, as this version of Muster reads them.

An editor with the YAML language server (VS Code with the YAML extension, Neovim, Emacs, JetBrains IDEs and others) completes and
checks a file whose first line names the schema. --header prints that line. Each release has another URL, so the line keeps
its meaning; any other build names the URL of the main branch.

Editors that can't reach the URL use a saved schema: --at has the place, a URL or a path relative to the file.`

const schemaExample = `  # The first line of a cluster file
  muster schema --header

  # Without access to the internet: save the schema in the repository
  muster schema > externalcluster.json
  muster schema --header --at ../externalcluster.json

  # Check a plain cluster file without Muster
  muster schema > externalcluster.json
  check-jsonschema --schemafile externalcluster.json clusters/eu.yaml`

func newSchemaCommand(s *shell) *cobra.Command {
	var header bool
	var at string
	kinds := make([]string, 0, len(schema.All()))
	for _, known := range schema.All() {
		kinds = append(kinds, known.Kind)
	}
	cmd := &cobra.Command{
		Use: "schema [KIND]", Short: "Print the JSON Schema of cluster files or AuditSyncs, for editors", Long: schemaHelp, Example: schemaExample,
		Args: atMost(1), ValidArgs: kinds,
	}
	cmd.Flags().BoolVar(&header, "header", false, "print the first line of a file that names the schema, and not the schema")
	cmd.Flags().StringVar(&at, "at", "", "with --header: the place of a saved schema, a URL or a path relative to the file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		known := schema.ExternalCluster
		if len(args) == 1 {
			i := slices.IndexFunc(schema.All(), func(x schema.Schema) bool { return strings.EqualFold(x.Kind, args[0]) })
			if i < 0 {
				return usagef("there is no schema of %q, only of %s", args[0], strings.Join(kinds, " and "))
			}
			known = schema.All()[i]
		}
		line := known.Header(shortVersion())
		switch {
		case cmd.Flags().Changed("at") && !header:
			return usagef("--at needs --header")
		case cmd.Flags().Changed("at") && (at == "" || strings.ContainsFunc(at, func(c rune) bool { return c <= ' ' })):
			return usagef("--at must be a URL or a path without spaces")
		case cmd.Flags().Changed("at"):
			line = known.HeaderFor(at)
		}
		if header {
			_, err := fmt.Fprintln(s.stdout, printable(line))
			return err
		}
		if _, err := s.stdout.Write(known.Text()); err != nil {
			return fmt.Errorf("print schema: %w", err)
		}
		_, err := fmt.Fprint(s.stderr, schemaNote(line, widthOf(s.stderr)))
		return err
	}
	return cmd
}

// schemaNote tells how an editor uses the schema.
func schemaNote(line string, width int) string {
	var b strings.Builder
	writeParagraph(&b, "", "note: an editor with the YAML language server checks a file that begins with this line:", width)
	fmt.Fprintln(&b, line)
	if !schema.IsRelease(shortVersion()) {
		writeParagraph(&b, "", "note: this is not a release, so the line names the schema of the main branch; see muster schema --help for a saved one", width)
	}
	return b.String()
}
