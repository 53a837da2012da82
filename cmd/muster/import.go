package main

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/encrypt"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/config/schema"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

const importHelp = `Import writes cluster files for clusters that exist already: one file for each entry of a live MondooAuditConfig, encrypted by
the creation rules of .sops.yaml. It reads the management cluster and writes only files. Existing files are never changed, except
for the kustomization of a folder with --share. Clusters that are in Git already are skipped, so it can be repeated.

Secrets that the entries name become encrypted manifests with the same names, in the folder secrets. Muster then takes the live
Secrets over as they are: it adds labels and annotations, and no CronJob changes. With --secrets inline, the values are written
into the cluster files. Each is then bound to its server and has a new Secret, and each CronJob changes once. With --secrets
cluster, the Secrets stay in the management cluster alone.

A Secret also stays there if Muster must not manage it or would refuse its content: another controller renews it, its kubeconfig
has an exec plugin, a key is missing. The file then names it, and a note has the reason. Labels and annotations of live Secrets stay
on them, and are not written to Git.

The audit config itself stays live, and its name goes into the AuditSync, which import prints together with the commands that
finish. --with-audit-configs writes its manifest, too. Without it, a folder has the clusters of one audit config.

With --share, the schedule, filtering, containerImageScanning, repositories and privateRegistries.secretRef that more than half of
the clusters have are written once, into the kustomize component shared, and no longer into each file. Other clusters get a
label, such as own-schedule, and keep their own. How a cluster is reached, and credentials, are never shared. The kustomization
of the folder gets the component; a folder without one gets one. Clusters that are imported later fit in.

--check compares the folder with the management cluster: entries in canonical form, and the content of Secrets. It needs the
keys. It exits with 0 only if the first sync would change nothing but Muster's labels, annotations and inventory.

--from reads other places. argocd and capi are the cluster Secrets of Argo CD and the kubeconfigs of Cluster API, in
--from-namespace. kubeconfig is every context of a kubeconfig, or the one of --context. The credentials are written into the
cluster files. They often may do more than a scanner needs; muster add makes others.

Import needs permission to list MondooAuditConfigs, AuditSyncs and ConfigMaps in the namespace, and to get Secrets; with --from,
to list Secrets in --from-namespace.

Exit status: 0, 1 if a cluster was left out, has errors or differs, 2 when the command failed.`

const importExample = `  # From a live audit config to files, and the proof that they mean the same
  muster import clusters/production --context mgmt-production
  muster import clusters/production --context mgmt-production --check

  # Write what the clusters have in common once
  muster import clusters/production --context mgmt-production --share

  # Print what would be written
  muster import clusters/production --dry-run

  # The clusters of Argo CD
  muster import clusters/production --from argocd --from-namespace argocd`

// importFlags are the flags of the command.
type importFlags struct {
	folderFlags
	kubeFlags
	writeFlags
	auditConfigs []string
	source       *choice
	namespace    string // of the source
	placement    *choice
	withConfigs  bool
	share        bool
	check        bool
}

func newImportCommand(s *shell) *cobra.Command {
	var flags importFlags
	cmd := &cobra.Command{
		Use: "import [PATH]", Short: "Write cluster files for clusters that exist already", Long: importHelp, Example: importExample,
		Args: atMost(1), ValidArgsFunction: completeFolders,
	}
	addNamespace(cmd, &flags.fleetFlags.namespace)
	cmd.Flags().StringArrayVar(&flags.auditConfigs, "audit-config", nil, "`name` of the audit config to import (default: the only one with external clusters); can be repeated with --with-audit-configs")
	flags.addPolicy(cmd)
	flags.addSync(cmd, "name of the AuditSync (default: the one with this path, or the name of the folder)")
	flags.keyFlags.add(cmd)
	flags.kubeFlags.add(cmd)
	flags.writeFlags.add(cmd)
	flags.source = addChoice(cmd, "from", "", "where the clusters are", "audit-config", "argocd", "capi", "kubeconfig")
	cmd.Flags().StringVar(&flags.namespace, "from-namespace", "", "namespace of the source (default: argocd for argocd, default for capi)")
	flags.placement = addChoice(cmd, "secrets", "", "where Secrets go: manifests in Git, the cluster files, or nowhere", string(author.InGit), string(author.Inline), string(author.InCluster))
	cmd.Flags().BoolVar(&flags.withConfigs, "with-audit-configs", false, "also write the manifests of the audit configs")
	cmd.Flags().BoolVar(&flags.share, "share", false, "write what most clusters have in common once, into a kustomize component")
	cmd.Flags().BoolVar(&flags.check, "check", false, "write nothing; compare the folder with the management cluster")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		im, err := flags.open(s, cmd, args)
		if err != nil {
			return err
		}
		defer im.close()
		if flags.check {
			return im.checkFolder(cmd.Context())
		}
		return im.run(cmd.Context())
	}
	return cmd
}

// importer is the state of the command.
type importer struct {
	*folder
	*importFlags
	// kube is the management cluster. The folder has none: what is written is judged from the files alone.
	kube *cluster
	live *state
	// configs are the audit configs that are imported.
	configs []string
	known   *inGit
	// existing is the AuditSync of the folder: live, or in the file of a repository; nil if there is none.
	existing     *v1alpha1.AuditSync
	existingFile string
	result       *author.Import
	shared       sharing
}

func (f *importFlags) open(s *shell, cmd *cobra.Command, args []string) (*importer, error) {
	if f.fleetFlags.auditConfig = defaultAuditConfig; len(f.auditConfigs) > 0 {
		f.fleetFlags.auditConfig = f.auditConfigs[0]
	}
	switch {
	case f.check && f.source.value != "audit-config":
		return nil, usagef("--check compares with live audit configs, and can't be used with --from")
	case f.source.value != "audit-config" && (f.withConfigs || f.share || cmd.Flags().Changed("secrets")):
		return nil, usagef("--with-audit-configs, --share and --secrets are for audit configs, and can't be used with --from")
	case f.check && f.share:
		return nil, usagef("--check compares what the folder has, shared or not; leave out --share")
	case f.namespace != "" && f.source.value != "argocd" && f.source.value != "capi":
		return nil, usagef("--from-namespace is for --from argocd and --from capi")
	}
	folder, err := f.openCommitted(s, cmd, args)
	if err != nil {
		return nil, err
	}
	im := &importer{folder: folder, importFlags: f, result: &author.Import{Placement: author.Placement(f.placement.value), Now: time.Now()}}
	if f.source.value != "kubeconfig" {
		im.kube, err = f.connect(s, f.fleetFlags.namespace)
	}
	if err == nil {
		err = f.addRecipients(folder)
	}
	if err != nil {
		folder.close()
		return nil, err
	}
	return im, nil
}

// run writes the files that are missing.
func (im *importer) run(ctx context.Context) error {
	if err := im.read(ctx); err != nil {
		return err
	}
	if im.source.value == "audit-config" {
		if err := im.share(); err != nil {
			return err
		}
	}
	changes, err := im.changes()
	if err != nil {
		return err
	}
	if im.json() {
		return im.runJSON(ctx, changes)
	}
	if err := im.printFindings(im.stderr, im.repository, im.notes()); err != nil {
		return err
	}
	im.allow(im.newConfigs())
	if len(changes) > 0 {
		p, err := im.propose(ctx, changes)
		if err != nil {
			return err
		}
		if err := im.carryOut(im.folder, p); err != nil {
			return err
		}
		unlisted, err := im.unlisted(ctx, changes)
		if err != nil {
			return err
		}
		if err := im.printFindings(im.stderr, im.repository, unlisted); err != nil {
			return err
		}
	}
	if !im.dryRun {
		if err := im.print(changes); err != nil {
			return fmt.Errorf("print the result: %w", err)
		}
	}
	if len(im.result.Left)+len(im.known.differ) > 0 {
		return statusError(exitFindings)
	}
	return nil
}

// unlisted warns about manifests that a kustomization has to list. Only cluster files are read without that.
func (im *importer) unlisted(ctx context.Context, changes []author.Change) ([]finding.Finding, error) {
	sealed, err := clusters.NewPipeline().Compile(ctx, clusters.Source{FS: author.With(im.fs, changes...), Path: im.path}, im.opts, nil)
	if err != nil {
		return nil, err
	}
	read := sealed.Source.Loaded.Files
	var list []finding.Finding
	for _, c := range changes {
		if read[c.Path] == nil && c.Before == nil {
			list = append(list, finding.Finding{Code: load.CodeUnused, Severity: finding.Warning, Path: c.Path,
				Message: "the folder has a kustomization, which doesn't list this file, so Muster does not apply it", Fix: "add it to resources of the kustomization"})
		}
	}
	return list, nil
}

// plainFile is a file to write, in plain text.
type plainFile struct {
	name string
	// secrets are the fields to encrypt.
	secrets [][]string
	yaml    func() ([]byte, error)
	// cluster is true for a cluster file, which no kustomization has to list.
	cluster bool
}

// files are what the result consists of.
func (im *importer) files() (list []plainFile) {
	im.result.Sort()
	for _, config := range im.newConfigs() {
		list = append(list, plainFile{config + ".auditconfig.yaml", nil, func() ([]byte, error) {
			return author.AuditConfigManifest(config, im.live.AuditConfigs[config])
		}, false})
	}
	for _, d := range im.result.Clusters {
		list = append(list, plainFile{d.Cluster.Metadata.Name + ".yaml", d.SecretFields(), func() ([]byte, error) { return d.YAML(schema.ExternalCluster.Header(version())) }, true})
	}
	for _, m := range im.result.Manifests {
		list = append(list, plainFile{path.Join("secrets", m.Metadata.Name+".yaml"), m.SecretFields(), func() ([]byte, error) { return m.YAML("") }, false})
	}
	return list
}

// changes are the encrypted files to write. The error names all files that are in the way.
func (im *importer) changes() ([]author.Change, error) {
	var changes []author.Change
	var taken, manifests []string
	for _, file := range im.files() {
		name := path.Join(im.path, file.name)
		if !file.cluster {
			manifests = append(manifests, file.name)
		}
		if _, err := fs.Lstat(im.fs, name); err == nil {
			taken = append(taken, im.fromWorkingDir(name))
			continue
		}
		text, err := file.yaml()
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		if len(file.secrets) > 0 {
			if text, err = im.encrypted(name, text, file.secrets); err != nil {
				return nil, err
			}
		}
		changes = append(changes, author.Change{Path: name, After: text})
	}
	shared, err := im.sharedChanges(manifests)
	if err != nil {
		return nil, err
	}
	changes = append(changes, shared...)
	if len(taken) > 0 {
		slices.Sort(taken)
		return nil, fmt.Errorf("these files exist, and import doesn't overwrite files: %s; move them, or import into another folder", strings.Join(taken, ", "))
	}
	return changes, nil
}

func (im *importer) encrypted(name string, text []byte, secrets [][]string) ([]byte, error) {
	rule, err := encrypt.RuleFor(im.root, name)
	if err != nil {
		return nil, err
	}
	return rule.Encrypt(text, secrets, im.ring)
}
