// Package form holds the textual forms of values in a cluster file, as regular expressions that Go and JSON Schema read
// alike, so that the checks and the editor's schema can't differ. It decides nothing about their meaning.
package form

// Forms that are certain: a value that does not match can't work.
const (
	// ClusterName is the CRD's pattern for an entry's name, which has no length: see ClusterNameMax.
	ClusterName = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// Endpoint is what the operator's CRD knows of an address.
	Endpoint = `^https://`
	// Server is an https address with a host, and without user name, query and fragment.
	Server = `^https://[^\s/?#@]+(/[^\s?#]*)?$`
	// VaultAddress is the same without a path, which the operator drops.
	VaultAddress = `^https://[^\s/?#@]+/?$`
	// VaultNamespace is a path of names, as Vault Enterprise has it.
	VaultNamespace = `^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?$`
	// ObjectName is a DNS-1123 subdomain, as Kubernetes wants it of Secrets and audit configs.
	ObjectName = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// Namespace is a DNS-1123 label, of 63 characters at most.
	Namespace = `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	// RoleARN is an IAM role in any partition (aws, aws-cn, aws-us-gov, aws-iso, …), with an optional path.
	RoleARN = `^arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`
	// UUID is how Azure writes subscriptions, clients and tenants.
	UUID = `^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`
	// Email is what every service account's address has; GoogleServiceAccount what it nearly always has.
	Email = `^[^@\s]+@[^@\s]+\.[^@\s]+$`
	// AbsolutePath begins with a slash and does not end with one.
	AbsolutePath = `^/(.*[^/])?$`
	// NoBlank holds no blank.
	NoBlank = `^\S+$`
)

// Forms that are nearly certain: a value that does not match is worth a warning.
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

// Encrypted is how SOPS writes a value. An editor sees it where a cluster file's value may be encrypted.
const Encrypted = `^ENC\[AES256_GCM,.*\]$`
