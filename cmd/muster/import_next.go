package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/setup"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// needs are what the AuditSync has to allow: the operator does it already.
type needs struct {
	vaults, fields []string
}

// needs are those of the audit configs that are imported. Of those in whole, the manifest is in Git.
func (im *importer) needs(whole []string) needs {
	vaults, fields := map[string]bool{}, map[string]bool{}
	if im.live == nil {
		return needs{}
	}
	for _, config := range im.configs {
		entries, _ := mondoo.Entries(im.live.AuditConfigs[config]) // reported when they are imported
		for _, entry := range entries {
			if origin, ok := policy.Origin(mondoo.TextAt(entry, "vaultAuth", "vaultAddr")); ok {
				vaults[origin] = true
			}
		}
	}
	for _, config := range whole {
		uses, _ := mondoo.Inspect(im.live.AuditConfigs[config]) // what can't be read is reported by the check
		for _, use := range uses {
			entry := use.Path()
			if use.Single && use.Class != mondoo.UnknownField { // its value may be anything
				entry += "=" + use.Value
			}
			fields[entry] = true
		}
	}
	return needs{vaults: slices.Sorted(maps.Keys(vaults)), fields: slices.Sorted(maps.Keys(fields))}
}

// newConfigs are the audit configs whose manifests are written.
func (im *importer) newConfigs() []string {
	if !im.withConfigs {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(im.configs), func(name string) bool { return im.known.configs[name] })
}

// allow judges the files by the policy of the AuditSync that is printed: an existing one with what has to be added.
func (im *importer) allow(whole []string) {
	found, need := im.folder.policyFor, im.needs(whole)
	im.folder.policyFor = func(t *target) (policy.Policy, error) {
		p, err := found(t)
		if err == nil && p.Source == "" {
			audit := im.existing
			if audit == nil {
				audit = &v1alpha1.AuditSync{}
				audit.Name = im.opts.Sync
			}
			p = controllers.Allowed(audit, nil)
		}
		p.VaultAddresses = append(slices.Clip(p.VaultAddresses), need.vaults...)
		p.Allow = append(slices.Clip(p.Allow), need.fields...)
		return p, err
	}
}

// findSync finds the AuditSync with the given name, or else the one that reads the folder. If there is none, it gets the name of the
// folder.
func (im *importer) findSync() {
	reads := func(name string, folders ...string) bool {
		return name == im.opts.Sync || im.opts.Sync == "" && slices.Contains(folders, im.path)
	}
	for _, m := range auditSyncsIn(im.fs) {
		// The name goes into commands to copy, and a file may have any.
		if im.existing == nil && len(validation.IsDNS1123Label(m.Name)) == 0 && reads(m.Name, m.tops()...) {
			im.existing, im.existingFile = &m.AuditSync, m.file
		}
	}
	if im.live != nil { // what is live counts
		for _, name := range slices.Sorted(maps.Keys(im.live.syncs)) {
			if reads(name, path.Clean(im.live.syncs[name].Spec.Path)) {
				im.existing, im.existingFile = im.live.syncs[name], ""
				break
			}
		}
	}
	if im.existing != nil {
		im.opts.Sync = im.existing.Name
	}
	if im.opts.Sync == "" {
		im.opts.Sync = cmp.Or(author.ClusterName(path.Base(im.path)), "fleet")
	}
}

// next are the steps that finish, if there is anything new.
func (im *importer) next(changes []author.Change) (steps []nextStep, err error) {
	if len(changes) == 0 {
		return nil, nil
	}
	add := func(about string, commands ...string) {
		if len(commands) > 0 {
			steps = append(steps, nextStep{about, commands})
		}
	}
	folder := im.argument(im.path)
	if im.source.value == "audit-config" {
		add("Compare the files with the management cluster", strings.Join(slices.Concat([]string{"muster import", folder, "--check -n", im.fleetFlags.namespace, "--sync", im.opts.Sync}, im.where(), im.chosen()), " "))
	}
	add("Publish the files", "git add -- "+folder, "git commit -m "+setup.Quote("Import clusters into "+im.opts.Sync), "git push")
	add("Let Muster take over what exists; without this it leaves it alone", im.adoptions()...)
	if im.encrypts() {
		add("Give the controller the key of the files, if it doesn't have it yet", im.kubectl()+" create secret generic sops-keys --from-file=age.agekey=KEY_FILE")
	}
	about, commands, err := im.syncStep()
	add(about, commands...)
	return steps, err
}

// syncStep creates the AuditSync, or adds what an existing one lacks.
func (im *importer) syncStep() (about string, commands []string, err error) {
	if im.existing == nil {
		manifest, err := im.auditSync()
		return "Create the AuditSync", []string{im.kubectl() + " apply -f - <<'EOF'\n" + strings.TrimSuffix(string(manifest), "\n") + "\nEOF"}, err
	}
	missing, err := im.additions()
	switch {
	case err != nil:
		return "", nil, err
	case im.existingFile == "" && missing == "":
		return "", nil, nil
	case im.existingFile == "":
		return "Add these fields to the AuditSync " + im.existing.Name, []string{im.kubectl() + " patch auditsync " + setup.Quote(im.existing.Name) + " --type=merge -p " + setup.Quote(missing)}, nil
	case missing != "":
		about = "Add these fields, and apply the AuditSync: " + missing
	default:
		about = "Apply the AuditSync"
	}
	return about, []string{im.kubectl() + " apply -f " + im.argument(im.existingFile)}, nil
}

func (im *importer) encrypts() bool {
	return len(im.result.Manifests) > 0 || slices.ContainsFunc(im.result.Clusters, func(d *author.Draft) bool { return len(d.SecretFields()) > 0 })
}

// where are the flags that select the management cluster.
func (im *importer) where() (flags []string) {
	if im.source.value == "kubeconfig" {
		return nil // the flags chose the source
	}
	if im.kubeconfig != "" {
		flags = append(flags, "--kubeconfig", setup.Quote(im.kubeconfig))
	}
	if im.context != "" {
		flags = append(flags, "--context", setup.Quote(im.context))
	}
	return flags
}

// chosen are the audit configs as flags.
func (im *importer) chosen() (flags []string) {
	for _, name := range im.auditConfigs {
		flags = append(flags, "--audit-config", name)
	}
	return flags
}

func (im *importer) kubectl() string {
	return strings.Join(slices.Concat([]string{"kubectl"}, im.where(), []string{"-n", im.fleetFlags.namespace}), " ")
}

// adoptions are the commands that let Muster take over live objects, ten a line.
func (im *importer) adoptions() (commands []string) {
	var names []string
	for _, m := range im.result.Manifests {
		names = append(names, m.Metadata.Name)
	}
	return append(im.annotate("secret", names), im.annotate("mondooauditconfig", im.newConfigs())...)
}

func (im *importer) annotate(kind string, names []string) (commands []string) {
	for some := range slices.Chunk(names, 10) {
		commands = append(commands, fmt.Sprintf("%s annotate %s %s %s=%s", im.kubectl(), kind, strings.Join(some, " "), plan.AdoptAnnotation, im.opts.Sync))
	}
	return commands
}

// additions is the merge patch of what the existing AuditSync lacks, as JSON; empty if it lacks nothing.
func (im *importer) additions() (string, error) {
	need, spec := im.needs(im.newConfigs()), im.existing.Spec
	missing := map[string]any{}
	list := func(field, name string, have, want []string) {
		more := slices.DeleteFunc(slices.Clone(want), func(s string) bool { return slices.Contains(have, s) })
		if len(more) > 0 {
			missing[field] = map[string]any{name: append(slices.Clone(have), more...)}
		}
	}
	list("vaultAuth", "addresses", spec.VaultAuth.Addresses, need.vaults)
	list("auditConfigs", "allow", spec.AuditConfigs.Allow, need.fields)
	if spec.Decryption == nil && im.encrypts() {
		missing["decryption"] = decryptionKeys{nameReference{Name: "sops-keys"}}
	}
	if len(missing) == 0 {
		return "", nil
	}
	text, err := json.Marshal(map[string]any{"spec": missing})
	return string(text), err
}
