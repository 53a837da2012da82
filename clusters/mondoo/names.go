package mondoo

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// The operator's one custom resource.
const (
	Group      = "k8s.mondoo.com"
	Version    = "v1alpha2"
	APIVersion = Group + "/" + Version
	Kind       = "MondooAuditConfig"
	Resource   = "mondooauditconfigs"
)

// Keys of the Secrets that an entry or an audit config names.
const (
	KeyKubeconfig       = "kubeconfig"
	KeyToken            = "token"
	KeyCACert           = "ca.crt"
	KeyDockerConfigJSON = ".dockerconfigjson"
	KeyMondooConfig     = "config"
	// KeyServer is Muster's, and the operator passes it over: the one server that the token beside it is for.
	KeyServer = "server"
)

// What a Secret that Muster makes for a cluster holds: the part of its name before the hash. The list is closed, and none is the
// end of another after a dash; the uniqueness of [SecretName] rests on both.
const (
	Kubeconfig     = "kubeconfig"
	ServiceAccount = "service-account"
	TrustBundle    = "trust-bundle"
	VaultCA        = "vault-ca"
	TargetCA       = "target-ca"
	Registries     = "registries"
)

var whats = []string{Kubeconfig, ServiceAccount, TrustBundle, VaultCA, TargetCA, Registries}

// SecretKeys gives the keys that the operator wants in a Secret holding this; nil for anything outside of the list. It
// reports a missing key nowhere: the scan Pod just never starts.
func SecretKeys(what string) []string {
	switch what {
	case Kubeconfig:
		return []string{KeyKubeconfig}
	case ServiceAccount:
		return []string{KeyToken, KeyCACert}
	case TrustBundle, VaultCA, TargetCA:
		return []string{KeyCACert}
	case Registries:
		return []string{KeyDockerConfigJSON}
	default:
		return nil
	}
}

// TokenKeys are the keys that the operator wants in the Secret of a ServiceAccount: without a check of the server's certificate, no CA.
func TokenKeys(skipTLSVerify bool) []string {
	if skipTLSVerify {
		return []string{KeyToken}
	}
	return SecretKeys(ServiceAccount)
}

// SecretType gives the Kubernetes type of a Secret holding this: the registries' own type, whose content the API server
// checks, or Opaque.
func SecretType(what string) string {
	if what == Registries {
		return "kubernetes.io/dockerconfigjson"
	}
	return "Opaque"
}

// The usual name of an audit config, which Mondoo's console and Helm chart give.
const usualAuditConfig = "mondoo-client"

// maxName is Kubernetes' limit for a DNS-1123 subdomain.
const maxName = 253

// hashLength is how many hexadecimal digits the hash in the name of a Secret has.
const hashLength = 16

// UnknownHash stands in the name of a Secret whose hash only the keys can tell.
const UnknownHash = "0000000000000000"

// SecretName names the Secret that Muster makes for a cluster: <auditConfig>-<cluster>-<what>-<hash>. The hash has 16
// hexadecimal digits and stands for where the credentials in it may be sent. Different arguments never give the same name,
// as long as they are valid: audit config a DNS-1123 subdomain, cluster a DNS-1123 label, what from the list above.
//
// Audit configs and clusters have dashes in them, so the plain form alone could be cut in several ways: x-y and z, or x and
// y-z. It is used for the one way that a reader would cut it: after mondoo-client, or else after the first dash. Every
// other pair is joined by a dot, which no cluster's name has: x-y.z-kubeconfig-…. Over 253 characters, the end is cut off in
// favour of a dot and a SHA-256 in hexadecimal, which is longer than a cluster's name can be.
func SecretName(auditConfig, cluster, what, hash string) string {
	end := "-" + what + "-" + hash
	name := auditConfig + "." + cluster + end
	if cutsPlainly(auditConfig, cluster) {
		name = auditConfig + "-" + cluster + end
	}
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(auditConfig + "/" + cluster))
	tail := "." + hex.EncodeToString(sum[:]) + end
	// What remains must end in a letter or digit.
	return strings.TrimRight(name[:maxName-len(tail)], ".-") + tail
}

// IsMade reports whether a name has the form of [SecretName]. Such names are Muster's own: nothing in a repository may use one.
func IsMade(name string) bool {
	at := len(name) - hashLength
	if at < 1 || name[at-1] != '-' || strings.Trim(name[at:], "0123456789abcdef") != "" {
		return false
	}
	return slices.ContainsFunc(whats, func(what string) bool { return strings.HasSuffix(name[:at-1], "-"+what) })
}

// WithHash is the name of a Secret with another hash.
func WithHash(name, hash string) string { return name[:len(name)-hashLength] + hash }

// WithoutHash is the name of a Secret up to the hash. Until Muster knew hashes, it was the whole name.
func WithoutHash(name string) string { return strings.TrimSuffix(WithHash(name, ""), "-") }

// cutsPlainly tells whether the plain form reads back as this pair.
func cutsPlainly(auditConfig, cluster string) bool {
	if strings.Contains(auditConfig, ".") {
		return false
	}
	if auditConfig == usualAuditConfig {
		return true
	}
	return !strings.Contains(auditConfig, "-") && !strings.HasPrefix(auditConfig+"-"+cluster+"-", usualAuditConfig+"-")
}

// Labels on the CronJob, Jobs and Pods that the operator makes for an entry.
const (
	LabelApp         = "app"
	LabelScan        = "scan"
	LabelAuditConfig = "mondoo_cr"
	LabelCluster     = "cluster_name"

	AppValue  = "mondoo-k8s-scan"
	ScanValue = "k8s"
)

// ScanLabels select what the operator makes for one entry. Find CronJobs and Jobs by these and not by name: the operator
// cuts long names and puts a hash in.
func ScanLabels(auditConfig, cluster string) map[string]string {
	return map[string]string{LabelApp: AppValue, LabelScan: ScanValue, LabelAuditConfig: auditConfig, LabelCluster: cluster}
}

// ScanName is the name of the CronJob that the operator makes for an entry, unless it is over 52 characters and has a hash put in, which
// makes it unique. It is not made to be unique otherwise: the audit config mondoo-client-x with the cluster y has the CronJob of
// mondoo-client with x-y. Find CronJobs by [ScanLabels].
func ScanName(auditConfig, cluster string) (name string, hashed bool) {
	integration := auditConfig
	if rest, usual := strings.CutPrefix(auditConfig, usualAuditConfig); usual && (rest == "" || rest[0] == '-') {
		integration = strings.TrimPrefix(rest, "-")
	}
	name = strings.TrimSuffix(AppValue+"-"+integration, "-") + "-" + cluster
	return name, len(name) > 52
}

// LocalScanName is the name of the CronJob that the operator makes for the scan of its own cluster, where an audit config asks for it.
func LocalScanName(auditConfig string) string {
	name, _ := ScanName(auditConfig, "")
	return strings.TrimSuffix(name, "-")
}

// DerivedNames are the other names that the operator makes for an entry: of ConfigMaps, a ServiceAccount and a Secret. No two kinds
// of objects share a form.
func DerivedNames(auditConfig, cluster string) []string {
	return []string{auditConfig + "-k8s-inventory-" + cluster, auditConfig + "-sa-kubeconfig-" + cluster,
		WorkloadIdentityServiceAccount(auditConfig, cluster), auditConfig + vaultKubeconfig + cluster}
}

const vaultKubeconfig = "-vault-kubeconfig-"

// IsOperatorSecret reports whether a name is one that the operator gives to Secrets of its own for an audit config. It overwrites or
// deletes whatever has such a name.
func IsOperatorSecret(auditConfig, name string) bool {
	rest, ok := strings.CutPrefix(name, auditConfig)
	return ok && (rest == "-config-override" || rest == "-scan-api-token" || rest == "-private-registries-merged" || strings.HasPrefix(rest, vaultKubeconfig))
}

// WorkloadIdentityServiceAccount names the ServiceAccount that the operator makes for an entry with workloadIdentity; the
// cloud's trust in it is bound to this name.
func WorkloadIdentityServiceAccount(auditConfig, cluster string) string {
	return auditConfig + "-wif-" + cluster
}
