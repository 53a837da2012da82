package v1alpha1

import (
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Problem is a problem of one field, found by Decode or Validate. It becomes a finding once the field's position in Git is
// known.
type Problem struct {
	Code     finding.Code
	Severity finding.Severity
	// Field is the path of the field, such as ["spec", "schedule"]. A list index is "[0]". The field may be missing; then the
	// position is that of the nearest parent that exists.
	Field []string
	// Message is one line with the cause. It never contains a value that may be secret.
	Message string
	// Fix is one line with the remedy. It is empty if the message makes that clear.
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
	// CodeWrongType: a value of the wrong type. Error.
	CodeWrongType finding.Code = "wrong-type"
	// CodeNull: a field without a value. Error.
	CodeNull finding.Code = "null-value"
	// CodeAPIVersion: apiVersion or kind is not that of a cluster file. Error.
	CodeAPIVersion finding.Code = "api-version"
	// CodeMustBePlain: an encrypted value that Muster needs without keys. Error.
	CodeMustBePlain finding.Code = "must-be-plain"
	// CodeRequired: a required field is missing or empty. Error.
	CodeRequired finding.Code = "required-field"
	// CodePlainCredential: a credential that is not encrypted. Error.
	CodePlainCredential finding.Code = "plain-credential"

	// CodeClusterName: metadata.name is not a valid name of an entry. Error.
	CodeClusterName finding.Code = "cluster-name"
	// CodeWarnBefore: the annotation muster.dev/warn-before is not a duration. Warning.
	CodeWarnBefore finding.Code = "warn-before"
	// CodeAuthMethod: no authentication method, or more than one. Error.
	CodeAuthMethod finding.Code = "auth-method"
	// CodeConflict: two fields that exclude each other, or the block of another provider. Error.
	CodeConflict finding.Code = "conflicting-fields"
	// CodeObjectName: a name that is not valid in Kubernetes. Error.
	CodeObjectName finding.Code = "object-name"
	// CodeKubeconfigFile: a path that is not below the cluster file's folder. Error.
	CodeKubeconfigFile finding.Code = "kubeconfig-file"
	// CodeServer: an address that the operator or the scanner can't use. Error, or warning if it may work.
	CodeServer finding.Code = "server-address"
	// CodeTLSOff: the remote cluster's certificate is not verified. Warning.
	CodeTLSOff finding.Code = "tls-verification-off"
	// CodeProvider: a provider that the operator does not support, or one without its block. Error.
	CodeProvider finding.Code = "workload-identity-provider"
	// CodeCloudID: a cloud identifier of the wrong form. Error if the form is certain, else warning.
	CodeCloudID finding.Code = "cloud-identifier"
	// CodeVaultAddress: an address that is not a server's, or not https. Error.
	CodeVaultAddress finding.Code = "vault-address"
	// CodeVaultPath: a mount path or a namespace that Vault would not find. Error, or warning for an authPath outside of auth/.
	CodeVaultPath finding.Code = "vault-path"
	// CodeVaultKubernetesNamespace: a Vault login without the namespace that tokens are for.
	CodeVaultKubernetesNamespace finding.Code = "vault-kubernetes-namespace"
	// CodeVaultTTL: a ttl that is not a positive duration (error), or too short for the operator to renew (warning).
	CodeVaultTTL finding.Code = "vault-ttl"
	// CodeSocketPath: a socketPath that is not an absolute path. Error.
	CodeSocketPath finding.Code = "spiffe-socket-path"
	// CodeRenew: a renewal without a token in the file, or with a lifetime that can't be asked for. Error.
	CodeRenew finding.Code = "renew"
	// CodeSchedule: a schedule that Kubernetes would refuse or that never fires. Error.
	CodeSchedule finding.Code = "schedule"
	// CodePattern: a pattern that is empty (error), or one that is repeated, matches no name or leaves nothing (warning).
	CodePattern finding.Code = "filter-pattern"
	// CodeFilterOverlap: both include and exclude. Warning.
	CodeFilterOverlap finding.Code = "filter-overlap"
	// CodeEmptyInclude: an empty include list, which selects everything. Warning.
	CodeEmptyInclude finding.Code = "filter-empty-include"
	// CodeNoImageScanning: a field that only works with containerImageScanning. Warning.
	CodeNoImageScanning finding.Code = "no-image-scanning"
)

// EncryptedRegex is the encrypted_regex for .sops.yaml: the fields of a cluster file that are credentials, the fields that
// determine where a token is sent, and the content of Secret manifests. Everything else stays readable in review.
const EncryptedRegex = `^(data|stringData|kubeconfig|token|server|caCert|dockerConfigJson)$`

// SopsRule is the part of a creation rule in .sops.yaml for cluster files. With mac_only_encrypted, plain values can be edited
// without a key.
const SopsRule = "mac_only_encrypted: true, encrypted_regex: '" + EncryptedRegex + "'"
