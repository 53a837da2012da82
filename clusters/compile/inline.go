package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Bound is the hash in the names of a cluster's Secrets. It covers the cluster, the server that its credentials are
// sent to, and how that server is verified. With another server, CA or TLS mode, the cluster gets new Secrets, and a
// single write of the audit config changes both the server and the reference. The hash doesn't cover the credential
// itself: a renewed token keeps its Secret.
//
// The destination is the kubeconfig's, from credential.Facts. For a kubeconfig that comes from elsewhere, the hash covers the
// place that it comes from instead: its server and its credentials are one value, which changes without a commit.
func Bound(file *v1alpha1.ExternalCluster, auditConfig, destination string) string {
	sum := sha256.Sum256(boundTo(file, auditConfig, destination))
	return hex.EncodeToString(sum[:])[:len(mondoo.UnknownHash)]
}

// boundTo returns what Bound hashes. It lists each field, so that a new field of the cluster file doesn't change hashes
// by accident.
func boundTo(file *v1alpha1.ExternalCluster, auditConfig, destination string) []byte {
	to := []any{auditConfig, file.Metadata.Name, destination, refName(file.Spec.KubeconfigSecretRef)}
	if sa := file.Spec.ServiceAccountAuth; sa != nil {
		to = append(to, "serviceAccountAuth", sa.Server, sa.CACert, refName(sa.CredentialsSecretRef), sa.SkipsTLS())
	}
	if w := workloadIdentity(file.Spec.WorkloadIdentity); w != nil {
		to = append(to, "workloadIdentity", w)
	}
	if v := file.Spec.VaultAuth; v != nil {
		to = append(to, "vaultAuth", v.Server, v.VaultAddr, v.CACert, refName(v.CACertSecretRef), v.TargetCACert, refName(v.TargetCACertSecretRef))
	}
	if s := file.Spec.SPIFFEAuth; s != nil {
		to = append(to, "spiffeAuth", s.Server, s.TrustBundle, refName(s.TrustBundleSecretRef))
	}
	for _, s := range sourcesOf(file) {
		to = append(to, "from", s.what, s.from)
	}
	data, err := json.Marshal(to)
	if err != nil {
		panic(fmt.Sprintf("compile: %T can't be written as JSON", to)) // strings and booleans never fail
	}
	return data
}

func refName(ref *v1alpha1.SecretRef) string {
	if ref == nil {
		return ""
	}
	return ref.Name
}

// sealedBound is Bound, or the placeholder if the hash can't be computed without keys.
func sealedBound(file *v1alpha1.ExternalCluster, auditConfig string) string {
	if file.Spec.Kubeconfig+file.Spec.KubeconfigFile != "" || seal.HasHandle(string(boundTo(file, auditConfig, ""))) {
		return mondoo.UnknownHash
	}
	return Bound(file, auditConfig, "")
}

// Named returns a cluster whose Secrets get a hash in their names that was unknown before. The file is the cluster's
// file, opened.
func Named(c fleet.Cluster, file *v1alpha1.ExternalCluster, hash string) fleet.Cluster {
	c.Entry = Entry(file, c.AuditConfig, hash, file.Spec.Schedule == "" && c.Entry.Schedule != "")
	c.Secrets = slices.Clone(c.Secrets)
	for i, name := range c.Secrets {
		c.Secrets[i] = mondoo.WithHash(name, hash)
	}
	return c
}

// refuseInlineNames reports where an object of the repository uses the name of a Secret for inline credentials, in any
// field. Those credentials may only be used where they were encrypted for. The names are reserved even if no such
// Secret exists: it may be left over from a deleted cluster or AuditSync.
func refuseInlineNames(v any, field []string, refuse func(field []string, code finding.Code, message, fix string)) {
	if at, found := findText(v, field, func(text string, _ []string) bool { return mondoo.IsMade(text) }); found {
		refuse(at, CodeSecretName, inlineNameMessage, fixInlineName)
	}
}

const (
	inlineNameMessage = "names like this are reserved for the credentials of a cluster file, which only that cluster may use"
	fixInlineName     = "give the cluster its own credentials, or name a Secret that was made for it"
)

// TokenServer returns why an entry may not use the token in a Secret that it names: the Secret has the key server, and
// the entry would send the token elsewhere. server is the key's value, empty if the key is missing.
func TokenServer(e *mondoo.Entry, ref Reference, server string) (message, fix string) {
	server = strings.TrimRight(server, " \t\r\n")
	if server == "" || !slices.Contains(ref.Keys, mondoo.KeyToken) || e.ServiceAccountAuth == nil {
		return "", ""
	}
	if e.ServiceAccountAuth.Server != server {
		return "the token in the Secret " + ref.Name + " is for another server", "use the server in the Secret's key server, or give the cluster its own credentials"
	}
	if e.ServiceAccountAuth.SkipTLSVerify {
		return "the Secret " + ref.Name + " names the server of its token, so the server's certificate must be verified", "remove skipTLSVerify"
	}
	return "", ""
}
