package main

import (
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/policy"
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
			p = controllers.Allowed(im.existing(), nil)
		}
		p.VaultAddresses = append(slices.Clip(p.VaultAddresses), need.vaults...)
		p.Allow = append(slices.Clip(p.Allow), need.fields...)
		return p, err
	}
}

// existing is the live AuditSync, or an empty one.
func (im *importer) existing() *v1alpha1.AuditSync {
	if im.live != nil && im.live.syncs[im.opts.Sync] != nil {
		return im.live.syncs[im.opts.Sync]
	}
	audit := &v1alpha1.AuditSync{}
	audit.Name = im.opts.Sync
	return audit
}

// printNext prints the commands that finish, as a script.
func (im *importer) printNext() error {
	var b strings.Builder
	step := 0
	add := func(about string, commands ...string) {
		step++
		fmt.Fprintf(&b, "# %d. %s\n%s\n", step, about, strings.Join(commands, "\n"))
	}
	folder := shellWord(im.fromWorkingDir(im.path))
	if im.source.value == "audit-config" {
		add("Compare the files with the management cluster", strings.Join(slices.Concat([]string{"muster import", folder, "--check -n", im.fleetFlags.namespace, "--sync", im.opts.Sync}, im.where(), im.chosen()), " "))
	}
	add("Publish the files", "git add "+folder, "git commit -m "+shellWord("Import clusters into "+im.opts.Sync), "git push")
	if adopt := im.adoptions(); len(adopt) > 0 {
		add("Let Muster take over what exists; without this it leaves it alone", adopt...)
	}
	if im.encrypts() {
		add("Give the controller the key of the files, if it doesn't have it yet", im.kubectl()+" create secret generic sops-keys --from-file=age.agekey=KEY_FILE")
	}
	if im.live != nil && im.live.syncs[im.opts.Sync] != nil {
		if text := im.additions(); text != "" {
			add("Add these fields to the AuditSync "+im.opts.Sync, im.kubectl()+" patch auditsync "+im.opts.Sync+" --type=merge -p "+shellWord(text))
		}
	} else {
		manifest, err := im.auditSync()
		if err != nil {
			return err
		}
		add("Create the AuditSync", im.kubectl()+" apply -f - <<'EOF'\n"+strings.TrimSuffix(string(manifest), "\n")+"\nEOF")
	}
	_, err := fmt.Fprint(im.stdout, im.redactor.String(b.String()))
	return err
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
		flags = append(flags, "--kubeconfig", shellWord(im.kubeconfig))
	}
	if im.context != "" {
		flags = append(flags, "--context", shellWord(im.context))
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
func (im *importer) additions() string {
	need, spec := im.needs(im.newConfigs()), im.existing().Spec
	var parts []string
	list := func(field, name string, have, want []string) {
		missing := slices.DeleteFunc(slices.Clone(want), func(s string) bool { return slices.Contains(have, s) })
		if len(missing) > 0 {
			parts = append(parts, fmt.Sprintf("%q:{%q:%s}", field, name, jsonList(append(slices.Clone(have), missing...))))
		}
	}
	list("vaultAuth", "addresses", spec.VaultAuth.Addresses, need.vaults)
	list("auditConfigs", "allow", spec.AuditConfigs.Allow, need.fields)
	if spec.Decryption == nil && im.encrypts() {
		parts = append(parts, `"decryption":{"secretRef":{"name":"sops-keys"}}`)
	}
	if len(parts) == 0 {
		return ""
	}
	return `{"spec":{` + strings.Join(parts, ",") + `}}`
}

func jsonList(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = fmt.Sprintf("%q", text)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

// auditSync is the manifest of the AuditSync for the folder.
func (im *importer) auditSync() ([]byte, error) {
	type reference struct {
		Name string `json:"name"`
	}
	type source struct {
		URL       string     `json:"url"`
		SecretRef *reference `json:"secretRef,omitempty"`
	}
	type decryption struct {
		SecretRef reference `json:"secretRef"`
	}
	type spec struct {
		Source       source                 `json:"source"`
		Path         string                 `json:"path"`
		AuditConfig  string                 `json:"auditConfig,omitempty"`
		Decryption   *decryption            `json:"decryption,omitempty"`
		VaultAuth    *v1alpha1.VaultAuth    `json:"vaultAuth,omitempty"`
		AuditConfigs *v1alpha1.AuditConfigs `json:"auditConfigs,omitempty"`
	}
	need := im.needs(im.newConfigs())
	s := spec{Source: source{URL: im.originURL()}, Path: "./"}
	if im.path != "." {
		s.Path += im.path
	}
	s.Source.SecretRef = &reference{"fleet-git"}
	if !im.withConfigs {
		s.AuditConfig = im.configs[0]
	}
	if im.encrypts() {
		s.Decryption = &decryption{reference{"sops-keys"}}
	}
	if len(need.vaults) > 0 {
		s.VaultAuth = &v1alpha1.VaultAuth{Addresses: need.vaults}
	}
	if len(need.fields) > 0 {
		s.AuditConfigs = &v1alpha1.AuditConfigs{Allow: need.fields}
	}
	type names struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	}
	return author.Document(struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   names  `json:"metadata"`
		Spec       spec   `json:"spec"`
	}{v1alpha1.GroupVersion.String(), kindAuditSync, names{im.opts.Sync, im.fleetFlags.namespace}, s},
		"# Correct source: the address as the controller reaches it, and its credentials; remove secretRef for a public repository.")
}

// scpAddress is how SSH addresses are often written: git@host:path.
var scpAddress = regexp.MustCompile(`^([A-Za-z0-9._-]+@[A-Za-z0-9._-]+):([^/].*)$`)

// originURL is the address of the remote origin without credentials, or an example.
func (im *importer) originURL() string {
	const example = "https://git.example.com/REPLACE/REPLACE.git"
	repo, err := git.PlainOpenWithOptions(im.root, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if err != nil {
		return example
	}
	remote, err := repo.Remote("origin")
	if err != nil || len(remote.Config().URLs) == 0 {
		return example
	}
	u, err := url.Parse(scpAddress.ReplaceAllString(remote.Config().URLs[0], "ssh://$1/$2"))
	switch {
	case err != nil:
		return example
	case u.Scheme == "https" || u.Scheme == "http":
		u.User = nil
	case u.Scheme == "ssh" && u.User != nil:
		u.User = url.User(u.User.Username())
	case u.Scheme != "ssh":
		return example
	}
	return u.String()
}

// shellWord quotes a text as one word for a shell.
func shellWord(text string) string {
	text = filepath.ToSlash(text)
	if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
