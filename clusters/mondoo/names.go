package mondoo

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// The operator's only custom resource.
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
	// KeyServer is Muster's own, and the operator ignores it: the only server that the Secret's token may be sent to.
	KeyServer = "server"
)

// The content of a Secret that Muster makes for a cluster, which is the part of its name before the hash. The list is
// closed, and none of these is the end of another after a dash. The uniqueness of [SecretName] depends on both.
const (
	Kubeconfig     = "kubeconfig"
	ServiceAccount = "service-account"
	TrustBundle    = "trust-bundle"
	VaultCA        = "vault-ca"
	TargetCA       = "target-ca"
	Registries     = "registries"
)

var secretContents = []string{Kubeconfig, ServiceAccount, TrustBundle, VaultCA, TargetCA, Registries}

// SecretKeys returns the keys that the operator requires in a Secret with this content; nil for anything outside the
// list. The operator doesn't report a missing key: the scan's Pod just never starts.
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

// TokenKeys returns the keys that the operator requires in a ServiceAccount's Secret. Without TLS verification, it
// needs no CA.
func TokenKeys(skipTLSVerify bool) []string {
	if skipTLSVerify {
		return []string{KeyToken}
	}
	return SecretKeys(ServiceAccount)
}

// SecretType returns the Kubernetes type of a Secret with this content: the type for registries, whose content the API
// server checks, or Opaque.
func SecretType(what string) string {
	if what == Registries {
		return "kubernetes.io/dockerconfigjson"
	}
	return "Opaque"
}

// The usual name of an audit config, set by Mondoo's console and Helm chart.
const usualAuditConfig = "mondoo-client"

// maxName is Kubernetes' limit for a DNS-1123 subdomain.
const maxName = 253

// hashLength is how many hexadecimal digits the hash in the name of a Secret has.
const hashLength = 16

// UnknownHash is the placeholder for a hash that can't be computed without keys.
const UnknownHash = "0000000000000000"

// SecretName returns the name of the Secret that Muster makes for a cluster: <auditConfig>-<cluster>-<what>-<hash>. The
// hash has 16 hexadecimal digits and identifies where its credentials may be sent. Different valid arguments never have
// the same name: auditConfig is a DNS-1123 subdomain, cluster a DNS-1123 label, and what is from the list above.
//
// Names of audit configs and clusters contain dashes, so the plain form is ambiguous: x-y and z, or x and y-z. It is
// only used for the pair that a reader would expect: split after mondoo-client, or else after the first dash. Any other
// pair is joined by a dot, which no cluster's name contains: x-y.z-kubeconfig-…. If the name exceeds 253 characters,
// its end is replaced by a dot and a SHA-256 in hexadecimal, which is longer than any cluster's name.
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
	// The rest must end in a letter or digit.
	return strings.TrimRight(name[:maxName-len(tail)], ".-") + tail
}

// IsMade reports whether a name has the form of [SecretName]. Such names are reserved: nothing in a repository may use
// one.
func IsMade(name string) bool {
	at := len(name) - hashLength
	if at < 1 || name[at-1] != '-' || strings.Trim(name[at:], "0123456789abcdef") != "" {
		return false
	}
	return slices.ContainsFunc(secretContents, func(what string) bool { return strings.HasSuffix(name[:at-1], "-"+what) })
}

// SecretContent returns the content of a Secret with a name from [SecretName], such as Kubeconfig; empty for other names.
func SecretContent(name string) string {
	if !IsMade(name) {
		return ""
	}
	rest := WithoutHash(name)
	at := slices.IndexFunc(secretContents, func(what string) bool { return strings.HasSuffix(rest, "-"+what) })
	return secretContents[at]
}

// WithHash returns the name of a Secret with another hash.
func WithHash(name, hash string) string { return name[:len(name)-hashLength] + hash }

// WithoutHash returns the name of a Secret without the hash. Older versions of Muster used it as the whole name.
func WithoutHash(name string) string { return strings.TrimSuffix(WithHash(name, ""), "-") }

// cutsPlainly reports whether the plain form is split back into this pair.
func cutsPlainly(auditConfig, cluster string) bool {
	if strings.Contains(auditConfig, ".") {
		return false
	}
	if auditConfig == usualAuditConfig {
		return true
	}
	return !strings.Contains(auditConfig, "-") && !strings.HasPrefix(auditConfig+"-"+cluster+"-", usualAuditConfig+"-")
}

// Labels on the CronJob, Jobs and Pods that the operator creates for an entry.
const (
	LabelApp         = "app"
	LabelScan        = "scan"
	LabelAuditConfig = "mondoo_cr"
	LabelCluster     = "cluster_name"

	AppValue  = "mondoo-k8s-scan"
	ScanValue = "k8s"
)

// ScanLabels select the objects that the operator creates for an entry. Find CronJobs and Jobs by labels and not by
// name: the operator cuts long names and adds a hash.
func ScanLabels(auditConfig, cluster string) map[string]string {
	return map[string]string{LabelApp: AppValue, LabelScan: ScanValue, LabelAuditConfig: auditConfig, LabelCluster: cluster}
}

// ScanName returns the name of the operator's CronJob for an entry. Names over 52 characters are cut and get a hash,
// which makes them unique; hashed is true then. Other names may not be unique: the audit config mondoo-client-x with
// the cluster y has the same CronJob as mondoo-client with x-y. Find CronJobs by [ScanLabels].
func ScanName(auditConfig, cluster string) (name string, hashed bool) {
	integration := auditConfig
	if rest, usual := strings.CutPrefix(auditConfig, usualAuditConfig); usual && (rest == "" || rest[0] == '-') {
		integration = strings.TrimPrefix(rest, "-")
	}
	name = strings.TrimSuffix(AppValue+"-"+integration, "-") + "-" + cluster
	return name, len(name) > 52
}

// LocalScanName returns the name of the operator's CronJob for the scan of the management cluster, if an audit config requests
// it.
func LocalScanName(auditConfig string) string {
	name, _ := ScanName(auditConfig, "")
	return strings.TrimSuffix(name, "-")
}

// DerivedNames returns the names of the operator's other objects for an entry: ConfigMaps, a ServiceAccount and a
// Secret. Each kind of object has its own form.
func DerivedNames(auditConfig, cluster string) []string {
	return []string{auditConfig + "-k8s-inventory-" + cluster, auditConfig + "-sa-kubeconfig-" + cluster,
		WorkloadIdentityServiceAccount(auditConfig, cluster), auditConfig + vaultKubeconfig + cluster}
}

const vaultKubeconfig = "-vault-kubeconfig-"

// IsOperatorSecret reports whether the operator uses a name for its own Secret of an audit config. It overwrites or
// deletes any Secret with such a name.
func IsOperatorSecret(auditConfig, name string) bool {
	rest, ok := strings.CutPrefix(name, auditConfig)
	return ok && (rest == "-config-override" || rest == "-scan-api-token" || rest == "-private-registries-merged" || strings.HasPrefix(rest, vaultKubeconfig))
}

// WorkloadIdentityServiceAccount returns the name of the operator's ServiceAccount for an entry with workloadIdentity.
// The cloud trusts exactly this name.
func WorkloadIdentityServiceAccount(auditConfig, cluster string) string {
	return auditConfig + "-wif-" + cluster
}
