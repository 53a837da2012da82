// Package form has the regular expressions for values in a cluster file. Go and JSON Schema interpret them alike, so the
// validation and the editor's schema can't differ. It doesn't know what the values mean.
package form

// Certain forms: a value that does not match can't work.
const (
	// ClusterName is the CRD's pattern for an entry's name. It has no length limit: see ClusterNameMax.
	ClusterName = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// Endpoint is the operator's CRD's pattern for an address.
	Endpoint = `^https://`
	// Server is an https address with a host, and without user name, query and fragment.
	Server = `^https://[^\s/?#@]+(/[^\s?#]*)?$`
	// VaultAddress is a Server without a path, which the operator drops.
	VaultAddress = `^https://[^\s/?#@]+/?$`
	// VaultNamespace is a path of names, as in Vault Enterprise.
	VaultNamespace = `^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?$`
	// VaultPart is a mount, or the path of a secret. Nothing in it is special in an address.
	VaultPart = `^[A-Za-z0-9_.@+=:-]+(/[A-Za-z0-9_.@+=:-]+)*$`
	// SourceKey is the key of a value in a Secret or in a secret of Vault.
	SourceKey = `^[A-Za-z0-9_.-]{1,253}$`
	// ObjectName is a DNS-1123 subdomain, which Kubernetes requires for the names of Secrets and audit configs.
	ObjectName = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// Namespace is a DNS-1123 label of at most 63 characters.
	Namespace = `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	// RoleARN is an IAM role in any partition (aws, aws-cn, aws-us-gov, aws-iso, …), with an optional path.
	RoleARN = `^arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`
	// UUID is the form of subscriptions, clients and tenants in Azure.
	UUID = `^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`
	// Email is the form of every service account's address; GoogleServiceAccount that of nearly all.
	Email = `^[^@\s]+@[^@\s]+\.[^@\s]+$`
	// AbsolutePath starts with a slash and does not end with one.
	AbsolutePath = `^/(.*[^/])?$`
	// Duration is a positive Go duration.
	Duration = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	// NoBlank contains no blank.
	NoBlank = `^\S+$`
)

// Probable forms: a value that does not match is a warning.
const (
	GoogleServiceAccount = `gserviceaccount\.com$`
	GoogleProject        = `^([a-z][a-z0-9.-]*:)?[a-z][-a-z0-9]{4,28}[a-z0-9]$`
	GoogleLocation       = `^[a-z]+-[a-z]+[0-9]+(-[a-z])?$`
	AWSRegion            = `^[a-z]+(-[a-z]+)+-[0-9]+$`
	EKSCluster           = `^[0-9A-Za-z][0-9A-Za-z_-]{0,99}$`
)

// Lengths in characters.
const (
	// ClusterNameMax is the limit of a label value: the operator writes the name into the label cluster_name.
	ClusterNameMax = 63
	// ObjectNameMax is Kubernetes' limit for a DNS-1123 subdomain.
	ObjectNameMax = 253
)

// Encrypted is the form of a value that SOPS has encrypted. An editor sees it in fields that may be encrypted.
const Encrypted = `^ENC\[AES256_GCM,.*\]$`
