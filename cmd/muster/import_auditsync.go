package main

import (
	"cmp"

	"github.com/go-git/go-git/v5"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// manifestSpec is the part of an AuditSync that import fills in, in the order in which people read it.
type manifestSpec struct {
	Source struct {
		URL       string        `json:"url"`
		SecretRef nameReference `json:"secretRef"`
	} `json:"source"`
	Path         string                 `json:"path"`
	AuditConfig  string                 `json:"auditConfig,omitempty"`
	Decryption   *decryptionKeys        `json:"decryption,omitempty"`
	VaultAuth    *v1alpha1.VaultAuth    `json:"vaultAuth,omitempty"`
	AuditConfigs *v1alpha1.AuditConfigs `json:"auditConfigs,omitempty"`
}

type nameReference struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

type decryptionKeys struct {
	SecretRef nameReference `json:"secretRef"`
}

// auditSync is the manifest of the AuditSync for the folder.
func (im *importer) auditSync() ([]byte, error) {
	need := im.needs(im.newConfigs())
	spec := manifestSpec{Path: "./"}
	spec.Source.URL, spec.Source.SecretRef.Name = im.originURL(), "fleet-git"
	if im.path != "." {
		spec.Path += im.path
	}
	if !im.withConfigs {
		spec.AuditConfig = im.configs[0]
	}
	if im.encrypts() {
		spec.Decryption = &decryptionKeys{nameReference{Name: "sops-keys"}}
	}
	if len(need.vaults) > 0 {
		spec.VaultAuth = &v1alpha1.VaultAuth{Addresses: need.vaults}
	}
	if len(need.fields) > 0 {
		spec.AuditConfigs = &v1alpha1.AuditConfigs{Allow: need.fields}
	}
	return author.Document(struct {
		APIVersion string        `json:"apiVersion"`
		Kind       string        `json:"kind"`
		Metadata   nameReference `json:"metadata"`
		Spec       manifestSpec  `json:"spec"`
	}{v1alpha1.GroupVersion.String(), kindAuditSync, nameReference{im.opts.Sync, im.fleetFlags.namespace}, spec},
		"# Correct source: the address as the controller reaches it, and its credentials; remove secretRef for a public repository.")
}

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
	return cmp.Or(author.RemoteURL(remote.Config().URLs[0]), example)
}
