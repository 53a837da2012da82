package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/encrypt"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/seal"
)

const rotateHelp = `Rotate replaces keys and tokens.

--recipients encrypts the data key of every encrypted file below PATH for the recipients in .sops.yaml, as sops updatekeys does
for one file. Values stay as they are. Who was a recipient before may know the data keys, and can read the Git history.
Without PATH, it is the folder of the only AuditSync in the repository; "muster rotate . --recipients" changes everything.

--data-keys also makes new data keys and encrypts every value again, as sops rotate does. Do this after a recipient has left,
and replace the credentials, too.

--token CLUSTER replaces the service account token in a cluster file: from --from-file, or asked for in a terminal. The
server and the CA stay.

With --create, it makes that token in the cluster, with your rights there: for the ServiceAccount of the old token, and of the
same kind, one that expires or a new Secret. It shows what it makes, asks, and tries the token at the address in the file
(--preflight). If the token isn't written, a Secret that was made is deleted again. It then tells how the old token ends.

Each file that changes is opened and verified first. All of them are written, or none.

Exit status: 0, 1 when files can't be opened or encrypted, 2 when the command failed, 130 after Ctrl-C.`

const rotateExample = `  # Which recipients would be added and removed?
  muster rotate clusters --recipients --dry-run

  # A colleague has left: take the recipient out of .sops.yaml, then
  muster rotate clusters --data-keys

  # A new token
  kubectl create token mondoo-scanner -n mondoo-scan --duration=8760h | muster rotate clusters --token prod-eu-west-1 --from-file -

  # One that is made in the cluster
  muster rotate clusters --token prod-eu-west-1 --create --from-context prod-eu-west-1`

// rotateFlags choose what is replaced.
type rotateFlags struct {
	recipients, dataKeys bool
	token, fromFile      string
}

func newRotateCommand(s *shell) *cobra.Command {
	var flags folderFlags
	var w writeFlags
	var what rotateFlags
	var create createFlags
	cmd := &cobra.Command{
		Use: "rotate [PATH]", Short: "Replace recipients, data keys or a token", Long: rotateHelp, Example: rotateExample,
		Args: atMost(1), ValidArgsFunction: completeFolders,
	}
	flags.add(cmd)
	w.add(cmd)
	cmd.Flags().BoolVar(&what.recipients, "recipients", false, "encrypt for the recipients of .sops.yaml")
	cmd.Flags().BoolVar(&what.dataKeys, "data-keys", false, "make new data keys, for the recipients of .sops.yaml")
	cmd.Flags().StringVar(&what.token, "token", "", "replace the service account token of this `cluster`")
	cmd.Flags().StringVar(&what.fromFile, "from-file", "", "`file` with the new token; \"-\" is standard input")
	completeFiles(cmd, "from-file")
	create.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := what.check(); err != nil {
			return err
		}
		if err := create.check(cmd, &what); err != nil {
			return err
		}
		f, err := flags.open(s, cmd, args)
		if err != nil {
			return err
		}
		defer f.close()
		if create.create {
			return f.rotateCreated(cmd.Context(), &w, &create, what.token)
		}
		if what.token != "" {
			change, err := what.newToken(cmd.Context(), s)
			if err != nil {
				return err
			}
			return f.set(cmd.Context(), what.token, &w, []author.FieldChange{change})
		}
		return f.rotate(cmd.Context(), &w, what.dataKeys)
	}
	return cmd
}

// check makes sure that exactly one thing is replaced.
func (r *rotateFlags) check() error {
	chosen := 0
	for _, is := range []bool{r.recipients, r.dataKeys, r.token != ""} {
		if is {
			chosen++
		}
	}
	switch {
	case chosen != 1:
		return usagef("choose one of --recipients, --data-keys and --token")
	case r.fromFile != "" && r.token == "":
		return usagef("--from-file needs --token")
	}
	return nil
}

func (r *rotateFlags) newToken(ctx context.Context, s *shell) (author.FieldChange, error) {
	const field = "serviceAccountAuth.token"
	switch {
	case r.fromFile != "":
		return fromFile(s, field, r.fromFile)
	case s.terminal() == nil:
		return author.FieldChange{}, usagef("the new token is missing; use --from-file FILE (- is standard input)")
	default:
		return fromArgument(ctx, s, field)
	}
}

// rotation is what happens to one file.
type rotation struct {
	path    string
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
	// Regrouped is true if the key groups or their threshold change, and not the recipients.
	Regrouped bool `json:"regrouped"`
	// DataKey is true if the file gets a new data key.
	DataKey bool `json:"dataKey"`
}

func (r *rotation) changes() bool {
	return len(r.Added)+len(r.Removed) > 0 || r.Regrouped || r.DataKey
}

// rotate brings every encrypted file of the folder to the rules of .sops.yaml, or none if one fails.
func (f *folder) rotate(ctx context.Context, w *writeFlags, dataKeys bool) error {
	if err := w.addRecipients(f); err != nil {
		return err
	}
	tree, err := load.Load(ctx, f.fs, f.path, load.Limits{}, nil)
	if err != nil {
		return err
	}
	names, err := f.encryptedBelow(ctx)
	if err != nil {
		return err
	}
	var rotations []rotation
	var changes []author.Change
	var bad []finding.Finding
	for _, name := range names {
		r, change, failure, err := f.rotateFile(ctx, tree, name, dataKeys)
		switch {
		case err != nil:
			return err
		case failure != nil:
			bad = append(bad, *failure)
		default:
			if rotations = append(rotations, *r); change != nil {
				changes = append(changes, *change)
			}
		}
	}
	if len(bad) > 0 {
		return w.fail(f, bad...)
	}
	if !w.dryRun {
		if err := f.write(changes); err != nil {
			return err
		}
	}
	return f.printRotations(w, rotations, changes)
}

// encryptedBelow are the encrypted files of the folder, whatever they hold.
func (f *folder) encryptedBelow(ctx context.Context) ([]string, error) {
	var names []string
	err := fs.WalkDir(f.fs, f.path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil || info.Size() > load.DefaultLimits.FileBytes {
			return err // no file of Muster is larger
		}
		data, err := fs.ReadFile(f.fs, name)
		if err == nil && isSOPSFile(name, data) {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.fromWorkingDir(f.path), withoutPath(err))
	}
	return names, nil
}

// isSOPSFile reports whether a file is encrypted, and not a text that shows how an encrypted file looks.
func isSOPSFile(name string, data []byte) bool {
	if !seal.IsEncrypted(string(data)) {
		return false
	}
	_, known := recipient.OfFile(data)
	return known && bytes.Contains(data, []byte("ENC[AES256_GCM,")) || slices.Contains([]string{".yaml", ".yml", ".json", ".env", ".ini"}, path.Ext(name))
}

// rotateFile returns what happens to a file, and its change, if it has one.
func (f *folder) rotateFile(ctx context.Context, tree *load.Tree, name string, dataKeys bool) (*rotation, *author.Change, *finding.Finding, error) {
	file, failure := tree.Read(name)
	if failure != nil {
		return nil, nil, failure, nil
	}
	rule, err := encrypt.RuleFor(f.root, name)
	if bad := unencryptable(&source{File: file}, err); bad != nil {
		return nil, nil, bad, nil
	}
	if err != nil {
		return nil, nil, nil, err
	}
	r := compareRecipients(file, rule)
	if r.DataKey = dataKeys; !r.changes() {
		return r, nil, nil, nil
	}
	opened, failure := f.openFile(ctx, tree, file)
	if failure != nil {
		return nil, nil, failure, nil
	}
	change := &author.Change{Path: name, Before: []byte(file.Data)}
	if dataKeys {
		change.After, err = opened.Rotate(rule, f.ring)
	} else {
		change.After, err = opened.Recipients(rule, f.ring)
	}
	if bad := unencryptable(&source{File: file}, err); bad != nil {
		return nil, nil, bad, nil
	}
	return r, change, nil, err
}

// compareRecipients compares the recipients of a file with its rule, as lint does.
func compareRecipients(file *load.File, rule *encrypt.Rule) *rotation {
	have, _ := recipient.OfFile([]byte(file.Data))
	d := recipient.Compare(have, rule.Recipients)
	return &rotation{path: file.Path, Added: shown(d.Missing), Removed: shown(d.Extra), Regrouped: d.Grouped || d.Wanted > 0}
}

func shown(recipients []string) []string {
	list := make([]string, len(recipients))
	for i, r := range recipients {
		list[i] = recipient.Show(r)
	}
	return list
}

// rotated is the result for programs.
func (f *folder) rotated(w *writeFlags, list []rotation, changes []author.Change) result {
	r := result{Written: !w.dryRun && len(changes) > 0, Files: filesOf(changes, false), Summary: rotatedText(w.dryRun, len(changes), len(list)-len(changes))}
	for _, x := range list {
		if !x.changes() {
			r.Unchanged = append(r.Unchanged, x.path)
			continue
		}
		r.Files[slices.IndexFunc(r.Files, func(file fileResult) bool { return file.Path == x.path })].Rotation = &x
	}
	if r.Written {
		r.Next = []nextStep{{"Commit and push", []string{f.commitChanges(changes, "Rotate keys")}}}
	}
	return r
}

func rotatedText(dryRun bool, changed, upToDate int) string {
	verb := map[bool]string{true: "would change", false: "changed"}[dryRun]
	return fmt.Sprintf("%s %s, %d up to date", plural(changed, "file"), verb, upToDate)
}

// printRotations prints what has happened to files, or would happen.
func (f *folder) printRotations(w *writeFlags, list []rotation, changes []author.Change) error {
	if w.json() {
		return f.printResult(f.rotated(w, list, changes))
	}
	paint := f.painter(f.stdout)
	var b strings.Builder
	removed := false
	for _, r := range list {
		if !r.changes() {
			continue
		}
		removed = removed || len(r.Removed) > 0 && !r.DataKey
		fmt.Fprintln(&b, printable(f.fromWorkingDir(r.path)))
		for _, line := range r.lines(paint) {
			fmt.Fprintln(&b, line)
		}
	}
	b.WriteString(rotatedText(w.dryRun, len(changes), len(list)-len(changes)) + "\n")
	if _, err := fmt.Fprint(f.stdout, f.redactor.String(b.String())); err != nil {
		return err
	}
	if removed {
		f.tell("muster: a removed recipient may know the data keys of these files; --data-keys replaces them. " +
			"It can read the Git history; replace the credentials, too.")
	}
	return nil
}

func (r *rotation) lines(paint func(colour, string) string) (lines []string) {
	for _, name := range r.Added {
		lines = append(lines, paint(green, "  + "+printable(name)))
	}
	for _, name := range r.Removed {
		lines = append(lines, paint(red, "  - "+printable(name)))
	}
	if r.Regrouped {
		lines = append(lines, paint(yellow, "  ~ key groups or threshold"))
	}
	if r.DataKey {
		lines = append(lines, paint(yellow, "  ~ data key"))
	}
	return lines
}
