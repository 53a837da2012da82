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

// Bound is the hash in the names of a cluster's Secrets: of the cluster, and of where its credentials are sent and how the server
// is known. With another server, CA or TLS mode the cluster gets other Secrets, and one write of the audit config brings the new
// server and the new reference. A credential itself is never part of it: a renewed token keeps its Secret.
//
// The destination is that of the kubeconfig, as credential.Facts has it.
func Bound(file *v1alpha1.ExternalCluster, auditConfig, destination string) string {
	sum := sha256.Sum256(boundTo(file, auditConfig, destination))
	return hex.EncodeToString(sum[:])[:len(mondoo.UnknownHash)]
}

// boundTo is what Bound hashes. It names each field, so that a new one of the cluster file changes no hash by accident.
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
	data, err := json.Marshal(to)
	if err != nil {
		panic(fmt.Sprintf("compile: %T can't be written as JSON", to)) // strings and truth values always can
	}
	return data
}

func refName(ref *v1alpha1.SecretRef) string {
	if ref == nil {
		return ""
	}
	return ref.Name
}

// sealedBound is Bound as far as it can be told without keys.
func sealedBound(file *v1alpha1.ExternalCluster, auditConfig string) string {
	if file.Spec.Kubeconfig+file.Spec.KubeconfigFile != "" || seal.HasHandle(string(boundTo(file, auditConfig, ""))) {
		return mondoo.UnknownHash
	}
	return Bound(file, auditConfig, "")
}

// Named is a cluster with a hash in the names of its Secrets that was unknown before. The file is the cluster's, as far as it is
// opened.
func Named(c fleet.Cluster, file *v1alpha1.ExternalCluster, hash string) fleet.Cluster {
	c.Entry = Entry(file, c.AuditConfig, hash, file.Spec.Schedule == "" && c.Entry.Schedule != "")
	c.Secrets = slices.Clone(c.Secrets)
	for i, name := range c.Secrets {
		c.Secrets[i] = mondoo.WithHash(name, hash)
	}
	return c
}

// refuseMade reports where an object of the repository has the name of a Secret that Muster made from inline credentials. They go
// where they were encrypted for, and a reference would send them elsewhere, whichever field it is in. The names are Muster's own
// whether such a Secret is there or not: it may be left over from a cluster, or from an AuditSync, that is gone.
func refuseMade(v any, field []string, refuse func(field []string, code finding.Code, message, fix string)) {
	if at, found := findText(v, field, func(text string, _ []string) bool { return mondoo.IsMade(text) }); found {
		refuse(at, CodeSecretName, madeName, fixMade)
	}
}

const (
	madeName = "Muster gives names like this one to Secrets that hold the credentials of a cluster file, and those are for that cluster alone"
	fixMade  = "give the cluster credentials of its own, or name a Secret that somebody made for this"
)

// TokenServer says why an entry may not have the token in a Secret that it names: the Secret has the key server, and the entry would
// send the token elsewhere. The server is the key's value, empty where there is no such key.
func TokenServer(e *mondoo.Entry, ref Reference, server string) (message, fix string) {
	server = strings.TrimRight(server, " \t\r\n")
	if server == "" || !slices.Contains(ref.Keys, mondoo.KeyToken) || e.ServiceAccountAuth == nil {
		return "", ""
	}
	if e.ServiceAccountAuth.Server != server {
		return "the token in the Secret " + ref.Name + " is for another server", "write the server that the key server of the Secret has, or give the cluster credentials of its own"
	}
	if e.ServiceAccountAuth.SkipTLSVerify {
		return "the Secret " + ref.Name + " says for which server its token is, so the server's certificate must be checked", "take skipTLSVerify out"
	}
	return "", ""
}
