package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
)

const removeHelp = `Remove removes the file of a cluster, and what only this cluster uses: its kubeconfigFile, manifests of Secrets that it alone
refers to, and their lines in the resources of kustomizations. Of a file with other documents, only that of the cluster goes;
if the file is encrypted, that needs the key.

The plan is shown first. Nothing is removed without --yes or an answer in the terminal. With --live, the plan also shows if the
removal would exceed the limit of the AuditSync (spec.prune.maxRemovals) and wait for an approval.

Exit status: 0, 1 when the rest would have errors or the answer was no, 2 when the command failed, 130 after Ctrl-C.`

const removeExample = `  # What would be removed?
  muster remove prod-eu-west-1 clusters/production --dry-run

  muster remove prod-eu-west-1 clusters/production --yes`

func newRemoveCommand(s *shell) *cobra.Command {
	var flags folderFlags
	var where liveFlags
	var w writeFlags
	var yes bool
	cmd := &cobra.Command{
		Use: "remove CLUSTER [PATH]", Short: "Remove a cluster's file and what only it uses", Long: removeHelp, Example: removeExample,
		Args: clusterAndFolder, ValidArgsFunction: completeClusterAndFolder,
	}
	flags.add(cmd)
	flags.addOwner(cmd)
	where.add(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask")
	cmd.Flags().BoolVar(&w.dryRun, "dry-run", false, "show what would be removed, and remove nothing")
	exclude(cmd, "yes", "dry-run")
	w.addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := flags.open(s, cmd, args[1:])
		if err != nil {
			return err
		}
		defer f.close()
		switch {
		case yes || w.dryRun:
		case w.json():
			return usagef("-o json asks no question; use --yes or --dry-run")
		case s.terminal() == nil:
			return usagef("standard input is no terminal to ask in; use --yes")
		}
		if f.cluster, err = where.connect(s, f.opts.Namespace); err != nil {
			return err
		}
		c, err := f.locateCluster(cmd.Context(), args[0])
		if err != nil {
			return f.withFindings(err)
		}
		return f.remove(cmd.Context(), args[0], c, yes, &w)
	}
	return cmd
}

// remove shows what goes with a cluster, asks, and removes it.
func (f *folder) remove(ctx context.Context, name string, c *source, yes bool, w *writeFlags) error {
	if !within(c.Path, f.path) {
		return fmt.Errorf("cluster %s is in %s, outside of %s, and other folders may use it; run muster remove %[1]s in its folder",
			name, f.fromWorkingDir(c.Path), f.fromWorkingDir(f.path))
	}
	r := removal{folder: f, source: c, name: name, documents: map[string][]int{}}
	changes, err := r.changes(ctx)
	if err != nil {
		return err
	}
	p, err := f.propose(ctx, changes)
	if err != nil {
		return err
	}
	if bad := p.errors(); len(bad) > 0 {
		if !w.json() && slices.ContainsFunc(bad, func(f finding.Finding) bool { return f.Code == compile.CodeEmpty }) {
			f.tell("muster: this is the only cluster of the folder. To stop all its scans, delete the AuditSync, with deletionPolicy: Delete.")
		}
		return w.fail(f, bad...)
	}
	p.kept = r.kept
	if w.json() {
		return w.carryOut(f, p)
	}
	if err := f.printPlanned(p); err != nil {
		return err
	}
	r.note(p)
	if w.dryRun {
		return nil
	}
	if !yes {
		if ok, err := f.confirm(ctx, "Remove?", false); err != nil {
			return err
		} else if !ok {
			fmt.Fprintln(f.stderr, "muster: "+nothingWritten)
			return statusError(exitFindings)
		}
	}
	return w.carryOut(f, p)
}

// removal collects what goes with a cluster.
type removal struct {
	*folder
	*source
	name string
	// documents are the documents to remove, by file. A file without documents goes as a whole.
	documents map[string][]int
	// kept are Secrets that the cluster refers to, and that stay.
	kept []string
}

// changes are the files to remove and to change, sorted.
func (r *removal) changes(ctx context.Context) ([]author.Change, error) {
	r.documents[r.Path] = []int{r.document}
	r.addKubeconfigFile()
	r.addSecrets()
	changes := map[string]author.Change{}
	for _, name := range slices.Sorted(maps.Keys(r.documents)) {
		c, err := r.withoutDocuments(ctx, name)
		if err != nil {
			return nil, err
		}
		changes[name] = c
	}
	for dir, k := range r.rendered.sealed.Source.Loaded.Kustomizations {
		if k.File == nil {
			continue
		}
		c := author.Change{Path: k.File.Path, Before: []byte(k.File.Data), After: []byte(k.File.Data)}
		for name, gone := range changes {
			if gone.After != nil {
				continue
			}
			for _, item := range []string{relativeTo(dir, name), "./" + relativeTo(dir, name)} {
				if after, ok := author.RemoveItem(c.After, "resources", item); ok {
					c.After = after
				}
			}
		}
		if string(c.After) != k.File.Data {
			changes[c.Path] = c
		}
	}
	var list []author.Change
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		list = append(list, changes[name])
	}
	return list, nil
}

// relativeTo is a path of the repository as a kustomization in dir names it.
func relativeTo(dir, name string) string {
	if dir == "." {
		return name
	}
	up := ""
	for ; !within(name, dir); dir = path.Dir(dir) {
		up += "../"
	}
	if dir == "." {
		return up + name
	}
	return up + strings.TrimPrefix(name, dir+"/")
}

// withoutDocuments removes documents from a file, or the whole file with its last one.
func (r *removal) withoutDocuments(ctx context.Context, name string) (author.Change, error) {
	loaded := r.rendered.sealed.Source.Loaded
	file, failure := loaded.Read(name)
	if failure != nil {
		return author.Change{}, fmt.Errorf("read %s: %s", r.fromWorkingDir(name), failure.Message)
	}
	change := author.Change{Path: name, Before: []byte(file.Data)}
	gone := r.documents[name]
	if len(gone) >= len(file.Documents) {
		return change, nil
	}
	c := &source{File: file, rendered: r.rendered}
	if seal.IsEncrypted(file.Data) {
		if failure := c.open(ctx, r.folder); failure != nil {
			return change, errors.Join(r.printFindings(r.stderr, r.repository, []finding.Finding{*failure}),
				fmt.Errorf("%s is encrypted and has other documents, so removing one needs its key", r.fromWorkingDir(name)))
		}
	}
	plain := c.plain()
	slices.Sort(gone)
	for _, at := range slices.Backward(gone) {
		var err error
		if plain, err = author.RemoveDocument(plain, file.Documents[at].Index); errors.Is(err, io.EOF) {
			return change, nil
		} else if err != nil {
			return change, fmt.Errorf("remove a document of %s: %w", r.fromWorkingDir(name), err)
		}
	}
	return c.change(r.folder, plain)
}

// addKubeconfigFile adds the file that the cluster takes its kubeconfig from.
func (r *removal) addKubeconfigFile() {
	n := r.Documents[r.document].Field("spec", "kubeconfigFile")
	if n == nil || n.Value == "" {
		return
	}
	target := path.Join(path.Dir(r.Path), n.Value)
	if info, err := fs.Stat(r.fs, target); err != nil || !info.Mode().IsRegular() || !within(target, r.path) {
		return
	}
	if user := r.userOf(path.Base(target), target, true); user != "" {
		r.kept = append(r.kept, fmt.Sprintf("%s: %s mentions it", r.fromWorkingDir(target), r.fromWorkingDir(user)))
		return
	}
	file, failure := r.rendered.sealed.Source.Loaded.Read(target)
	if failure != nil || !seal.IsEncrypted(file.Data) || slices.ContainsFunc(file.Documents, (*load.Document).IsCluster) {
		r.kept = append(r.kept, r.fromWorkingDir(target)+": it is not an encrypted kubeconfig")
		return
	}
	r.documents[target] = nil
}

// addSecrets adds the manifests of Secrets that the cluster refers to.
func (r *removal) addSecrets() {
	at := slices.IndexFunc(r.rendered.opened.Clusters, func(c fleet.Cluster) bool {
		return c.Name == r.name && c.Origin == fleet.Origin{Path: r.Path, Document: r.document}
	})
	if at < 0 {
		return // kustomize can't build it, so its references are not known
	}
	cluster := r.rendered.opened.Clusters[at]
	for ref := range compile.References(&cluster.Entry) {
		if slices.Contains(cluster.Secrets, ref.Name) {
			continue // Muster makes it, and removes it
		}
		secrets := r.rendered.sealed.Secrets
		found := slices.IndexFunc(secrets, func(s fleet.SealedSecret) bool { return s.Name == ref.Name && s.Cluster == "" && !s.Generated })
		if found < 0 || !within(secrets[found].Origin.Path, r.path) {
			r.kept = append(r.kept, "Secret "+ref.Name+": it is not a manifest of this folder")
			continue
		}
		origin := secrets[found].Origin
		if user := r.userOf(ref.Name, origin.Path, false); user != "" {
			r.kept = append(r.kept, fmt.Sprintf("Secret %s: %s mentions it", ref.Name, r.fromWorkingDir(user)))
			continue
		}
		if !slices.Contains(r.documents[origin.Path], origin.Document) {
			r.documents[origin.Path] = append(r.documents[origin.Path], origin.Document)
		}
	}
}

// userOf returns a YAML file of the repository that mentions a name, other than the file itself and the cluster's document. It is
// careful rather than clever: what is mentioned stays.
func (r *removal) userOf(name, itself string, kustomizations bool) (user string) {
	word := regexp.MustCompile(`(?:^|[^\w.-])` + regexp.QuoteMeta(name) + `(?:$|[^\w.-])`)
	manifestsIn(r.fs, ".", name, func(file string, data []byte) {
		if file == r.Path && len(r.Documents) > 1 {
			data, _ = author.RemoveDocument(data, r.Documents[r.document].Index)
		} else if file == r.Path || file == itself || !kustomizations && slices.Contains(kustomizationNames, path.Base(file)) {
			return
		}
		if user == "" && word.Match(data) {
			user = file
		}
	})
	return user
}

// kustomizationNames are the names of kustomizations. They list files, and no Secrets.
var kustomizationNames = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// note tells what goes and what stays.
func (r *removal) note(p *proposal) {
	for _, c := range p.changes {
		verb := map[bool]string{true: "Removes", false: "Changes"}[c.After == nil]
		fmt.Fprintf(r.stderr, "%s %s\n", verb, printable(r.fromWorkingDir(c.Path)))
	}
	for _, text := range r.kept {
		fmt.Fprintf(r.stderr, "Keeps %s\n", printable(text))
	}
	r.tell("The cluster is scanned until this is merged and synced. What was made for the scanner in the cluster and at the cloud stays, and so do its " +
		"credentials: remove the ServiceAccount, role or key there. muster setup " + r.name + " lists them, before the removal.")
}
