package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/encrypt"
	"github.com/muster-gitops/muster/clusters/seal"
)

const setHelp = `Set changes fields of a cluster file, named as in the file below spec. Comments, order and all other lines stay. A list has
commas, and {} is an empty mapping.

Secrets (kubeconfig, serviceAccountAuth.token, privateRegistries.dockerConfigJson) are never arguments, because other users of
the machine can read those. They come from a file or standard input (--from-file), or are asked for in a terminal: name the
field without a value.

With mac_only_encrypted, readable fields need no key. Others are encrypted again as sops set does, by the file's own rule. A
file in plain text is encrypted by the rules of .sops.yaml when it gets its first secret.

The change is checked as a pull request is. With errors nothing is written.

Exit status: 0, 1 when the change has errors and was not written, 2 when the command failed, 130 after Ctrl-C.`

const setExample = `  # Scan every two hours, and leave out two namespaces
  muster set prod-eu-west-1 schedule='H */2 * * *' filtering.namespaces.exclude='kube-*,build' --path clusters/production

  # A new token, from standard input or asked for
  kubectl create token mondoo-scanner -n mondoo-scan | muster set prod-eu-west-1 --from-file serviceAccountAuth.token=-
  muster set prod-eu-west-1 serviceAccountAuth.token

  # From a token to a kubeconfig
  muster set prod-eu-west-1 --unset serviceAccountAuth --from-file kubeconfig=eu.kubeconfig`

// setFlags are the changes that a command line asks for.
type setFlags struct {
	path             string
	fromFiles, unset []string
}

func newSetCommand(s *shell) *cobra.Command {
	var flags folderFlags
	var w writeFlags
	var set setFlags
	cmd := &cobra.Command{
		Use: "set CLUSTER [FIELD=VALUE]…", Short: "Change fields of a cluster file, encrypted ones too", Long: setHelp, Example: setExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("name a cluster")
			}
			return nil
		},
		ValidArgsFunction: set.complete,
	}
	flags.add(cmd)
	w.add(cmd)
	cmd.Flags().StringVar(&set.path, "path", "", "`folder` with the cluster (default: the one that the only AuditSync in the repository reads)")
	cmd.Flags().StringArrayVar(&set.fromFiles, "from-file", nil, "take a value from a file, as `FIELD=FILE`; \"-\" is standard input; can be repeated")
	cmd.Flags().StringArrayVar(&set.unset, "unset", nil, "remove a `field`; can be repeated")
	completeFiles(cmd, "from-file")
	if err := cmd.MarkFlagDirname("path"); err != nil {
		panic(err) // the flag was added above
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var path []string
		if set.path != "" {
			path = []string{set.path}
		}
		f, err := flags.open(s, cmd, path)
		if err != nil {
			return err
		}
		defer f.close()
		changes, err := set.changes(cmd.Context(), s, args[1:])
		if err != nil {
			return err
		}
		return f.set(cmd.Context(), args[0], &w, changes)
	}
	return cmd
}

// complete completes the cluster.
func (set *setFlags) complete(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return clusterNames(cmd.Context(), cmp.Or(set.path, ".")), cobra.ShellCompDirectiveNoFileComp
}

// changes reads the values. Removals come first, so that a method can be replaced by another.
func (set *setFlags) changes(ctx context.Context, s *shell, args []string) ([]author.FieldChange, error) {
	var list []author.FieldChange
	for _, name := range set.unset {
		field, err := author.ParseField(name)
		if err != nil {
			return nil, usagef("--unset %s: %w", name, err)
		}
		list = append(list, author.FieldChange{Field: field})
	}
	stdin := 0
	for _, text := range set.fromFiles {
		name, file, ok := strings.Cut(text, "=")
		if !ok || file == "" {
			return nil, usagef("--from-file %s: write FIELD=FILE", name)
		}
		if file == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return nil, usagef("--from-file: standard input is for one field only")
	}
	for _, text := range set.fromFiles {
		name, file, _ := strings.Cut(text, "=")
		change, err := fromFile(s, name, file)
		if err != nil {
			return nil, err
		}
		list = append(list, change)
	}
	for _, text := range args {
		change, err := fromArgument(ctx, s, text)
		if err != nil {
			return nil, err
		}
		list = append(list, change)
	}
	if len(list) == 0 {
		return nil, usagef("nothing to change; name fields as FIELD=VALUE, --from-file FIELD=FILE or --unset FIELD")
	}
	return list, nil
}

func fromFile(s *shell, name, file string) (author.FieldChange, error) {
	field, err := author.ParseField(name)
	if err != nil {
		return author.FieldChange{}, usagef("--from-file %s: %w", name, err)
	}
	text, err := readBounded(s, file, name)
	if err != nil {
		return author.FieldChange{}, err
	}
	return valueOf(s, field, string(text))
}

// fromArgument reads FIELD=VALUE, or asks for the value of FIELD.
func fromArgument(ctx context.Context, s *shell, text string) (author.FieldChange, error) {
	name, value, given := strings.Cut(text, "=")
	field, err := author.ParseField(name)
	if err != nil { // without the text, which may be a value
		return author.FieldChange{}, usagef("%w", err)
	}
	switch {
	case given && author.IsSecret(field):
		return author.FieldChange{}, usagef("%s is secret, and other users can read arguments: use --from-file %[1]s=FILE (- is standard input), or name it without a value to be asked",
			name)
	case given:
		return valueOf(s, field, value)
	case s.terminal() == nil:
		return author.FieldChange{}, usagef("%s has no value; write %[1]s=VALUE or --from-file %[1]s=FILE", name)
	}
	value, err = s.askSecret(ctx, name)
	if err != nil {
		return author.FieldChange{}, err
	}
	return valueOf(s, field, value)
}

// valueOf checks the value of a field. A value of one line loses the newline that files and programs end it with.
func valueOf(s *shell, field []string, text string) (author.FieldChange, error) {
	name := strings.Join(field[1:], ".")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if line := strings.TrimSpace(text); !strings.Contains(line, "\n") {
		text = line
	}
	if author.IsSecret(field) {
		s.redactor.Add(text)
		if text == "" {
			return author.FieldChange{}, usagef("%s is empty; to remove it, use --unset %[1]s", name)
		}
	}
	value, err := author.ParseValue(field, text)
	if err != nil {
		return author.FieldChange{}, usagef("%w", err)
	}
	return author.FieldChange{Field: field, Value: value}, nil
}

// set changes fields of a cluster's file.
func (f *folder) set(ctx context.Context, name string, w *writeFlags, changes []author.FieldChange) error {
	if err := w.addRecipients(f); err != nil {
		return err
	}
	c, err := f.locateCluster(ctx, name)
	if err != nil {
		return f.withFindings(err)
	}
	change, ok := c.setReadable(changes)
	if !ok {
		if failure := c.open(ctx, f); failure != nil {
			return w.fail(f, *failure)
		}
		plain, err := author.SetFields(c.plain(), c.Documents[c.document].Index, changes...)
		if err != nil {
			return fmt.Errorf("%s: %w", f.fromWorkingDir(c.Path), err)
		}
		change, err = c.change(f, plain)
		if bad := unencryptable(c, err); bad != nil {
			return w.fail(f, *bad)
		}
		if err != nil {
			return err
		}
	}
	if string(change.After) == c.Data {
		return w.unchanged(f, c.Path)
	}
	p, err := f.propose(ctx, []author.Change{change})
	if err != nil {
		return err
	}
	return f.show(w, p)
}

// setReadable changes an encrypted file without its key, if the changes allow that.
func (c *source) setReadable(changes []author.FieldChange) (author.Change, bool) {
	change := author.Change{Path: c.Path, Before: []byte(c.Data)}
	if !seal.IsEncrypted(c.Data) {
		return change, false
	}
	fields := make([][]string, len(changes))
	for i, ch := range changes {
		fields[i] = ch.Field
	}
	if !encrypt.Readable(c.File, fields...) {
		return change, false
	}
	var err error
	change.After, err = author.SetFields(change.Before, c.Documents[c.document].Index, changes...)
	return change, err == nil && encrypt.SameSealed(change.Before, change.After)
}
