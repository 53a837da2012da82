package controllers

import (
	"fmt"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// KeyPolicy returns which key services and keys an AuditSync allows.
func KeyPolicy(d *v1alpha1.Decryption) keys.Policy {
	var p keys.Policy
	if d.Vault != nil {
		p.VaultAddresses, p.VaultNamespace = d.Vault.Addresses, d.Vault.Namespace
	}
	if d.AWS != nil {
		p.AWSKeys, p.AWSRoles = d.AWS.Keys, d.AWS.Roles
	}
	if d.GCP != nil {
		p.GCPKeys = d.GCP.Keys
	}
	if d.Azure != nil {
		p.AzureKeys = d.Azure.Keys
	}
	return p
}

// keyVersion changes with everything that decides which files can be decrypted: the keys and the policy.
func keyVersion(secret string, d *v1alpha1.Decryption) string {
	return fmt.Sprintf("%s %q", secret, KeyPolicy(d))
}
