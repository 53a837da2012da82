package v1alpha1

import (
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Problem is what Decode or Validate has to say about one field. It becomes a finding once the field's place in Git is
// known.
type Problem struct {
	Code     finding.Code
	Severity finding.Severity
	// Field is the path of the field, such as ["spec", "schedule"]; an index of a list is "[0]". It may name a field that
	// is missing; the nearest parent that exists is then the place.
	Field []string
	// Message is one line that names the cause. It never holds a value that may be secret.
	Message string
	// Fix is one line that says how to mend it; empty where the message says it all.
	Fix string
}

// Path is the field as people write it: "spec.filtering.namespaces.include[0]".
func (p Problem) Path() string { return dotted(p.Field) }

// dotted joins a field path, indexes without a dot.
func dotted(field []string) string {
	var b strings.Builder
	for i, part := range field {
		if i > 0 && !strings.HasPrefix(part, "[") {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}

// The rules of the cluster file. Codes are a contract with users: see [finding.Code].
const (
	// CodeUnknownField: a field that the format does not have. Error.
	CodeUnknownField finding.Code = "unknown-field"
	// CodeWrongType: a value of another kind than the field takes. Error.
	CodeWrongType finding.Code = "wrong-type"
	// CodeNull: a field without a value. Error.
	CodeNull finding.Code = "null-value"
	// CodeAPIVersion: apiVersion or kind is not the cluster file's. Error.
	CodeAPIVersion finding.Code = "api-version"
	// CodeMustBePlain: an encrypted value where Muster must know the content without keys. Error.
	CodeMustBePlain finding.Code = "must-be-plain"
	// CodeRequired: a field that must be given is missing or empty. Error.
	CodeRequired finding.Code = "required-field"
	// CodePlainCredential: a credential that is not encrypted. Error.
	CodePlainCredential finding.Code = "plain-credential"

	// CodeClusterName: metadata.name can't name an entry. Error.
	CodeClusterName finding.Code = "cluster-name"
	// CodeAuthMethod: no authentication method, or more than one. Error.
	CodeAuthMethod finding.Code = "auth-method"
	// CodeConflict: two fields that exclude each other, or a provider's block beside another provider. Error.
	CodeConflict finding.Code = "conflicting-fields"
	// CodeObjectName: a name that no Kubernetes object can have. Error.
	CodeObjectName finding.Code = "object-name"
	// CodeKubeconfigFile: a path that is not below the cluster file's folder. Error.
	CodeKubeconfigFile finding.Code = "kubeconfig-file"
	// CodeServer: an address that the operator or the scanner can't use. Error, or warning when it may work.
	CodeServer finding.Code = "server-address"
	// CodeTLSOff: the remote cluster's certificate is not checked. Warning.
	CodeTLSOff finding.Code = "tls-verification-off"
	// CodeProvider: a provider that the operator does not know, or one without its block. Error.
	CodeProvider finding.Code = "workload-identity-provider"
	// CodeCloudID: a cloud identifier of the wrong form. Error where the form is certain, else warning.
	CodeCloudID finding.Code = "cloud-identifier"
	// CodeVaultAddress: an address that is not a server's, or not https. Error.
	CodeVaultAddress finding.Code = "vault-address"
	// CodeVaultPath: a mount path or a namespace that Vault would not find. Error, or warning for an authPath outside of auth/.
	CodeVaultPath finding.Code = "vault-path"
	// CodeVaultTTL: a ttl that is no positive duration (error), or shorter than the operator can renew (warning).
	CodeVaultTTL finding.Code = "vault-ttl"
	// CodeSocketPath: a socketPath that is not an absolute path. Error.
	CodeSocketPath finding.Code = "spiffe-socket-path"
	// CodeSchedule: a schedule that Kubernetes would refuse or that never fires. Error.
	CodeSchedule finding.Code = "schedule"
	// CodePattern: a pattern that is empty (error), or one that is repeated, matches no name or leaves nothing (warning).
	CodePattern finding.Code = "filter-pattern"
	// CodeFilterOverlap: include and exclude together. Warning.
	CodeFilterOverlap finding.Code = "filter-overlap"
	// CodeEmptyInclude: an empty include list, which chooses everything. Warning.
	CodeEmptyInclude finding.Code = "filter-empty-include"
	// CodeNoImageScanning: a field that works only with containerImageScanning. Warning.
	CodeNoImageScanning finding.Code = "no-image-scanning"
)

// EncryptedRegex is the encrypted_regex for .sops.yaml: the fields of a cluster file that hold credentials, those that say where a token
// goes, and the content of Secret manifests beside it. Everything else stays readable in review.
const EncryptedRegex = `^(data|stringData|kubeconfig|token|server|caCert|dockerConfigJson)$`

// SopsRule is what a creation rule in .sops.yaml has for cluster files. With mac_only_encrypted, what is plain can be edited without a key.
const SopsRule = "mac_only_encrypted: true, encrypted_regex: '" + EncryptedRegex + "'"
