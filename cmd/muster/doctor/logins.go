package doctor

import (
	"slices"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// tokens are the objects with which Muster creates tokens of a ServiceAccount.
const tokens = "serviceaccounts/token"

// vaultLogin is a ServiceAccount with whose tokens Muster logs in to Vault. An admin grants the right to create them.
type vaultLogin struct {
	account string
	// fix is an instruction for when the right is missing.
	fix string
}

// vaultLogins are the ServiceAccounts that AuditSyncs name for that, each once.
func vaultLogins(syncs []*v1alpha1.AuditSync) (logins []vaultLogin) {
	add := func(account, fix string) {
		if account != "" && !slices.ContainsFunc(logins, func(l vaultLogin) bool { return l.account == account }) {
			logins = append(logins, vaultLogin{account, fix})
		}
	}
	for _, audit := range syncs {
		for i := range audit.Spec.CredentialSources.Vault {
			const fix = "use config/components/credential-sources, and list the ServiceAccount in its Role"
			switch auth := audit.Spec.CredentialSources.Vault[i].Auth; {
			case auth.Kubernetes != nil:
				add(auth.Kubernetes.ServiceAccountName, fix)
			case auth.JWT != nil:
				add(auth.JWT.ServiceAccountName, fix)
			}
		}
		if vault := audit.Spec.Preflight.VaultAuth; vault != nil && audit.Spec.Preflight.On() {
			add(vault.ServiceAccountName, "create the Role and RoleBinding muster-preflight-vault of config/README.md")
		}
	}
	return logins
}
