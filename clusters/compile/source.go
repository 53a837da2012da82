package compile

import (
	"fmt"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// CodeSourceUnknown is the code of the finding about credentials whose values aren't known where the repository is checked.
const CodeSourceUnknown finding.Code = "credential-source-unknown"

// source is where the values of one of a cluster's Secrets come from.
type source struct {
	what string // the kind of Secret, such as mondoo.Kubeconfig
	from fleet.Source
}

// sourcesOf returns what a cluster file has read from elsewhere.
func sourcesOf(file *v1alpha1.ExternalCluster) (list []source) {
	vault := func(what, field string, from *v1alpha1.VaultSecret) {
		if from != nil {
			list = append(list, source{what, fleet.Source{Vault: *from, Field: field}})
		}
	}
	if from := file.Spec.KubeconfigFrom; from != nil {
		vault(mondoo.Kubeconfig, "spec.kubeconfigFrom.vault", from.Vault)
		if from.SecretRef != nil {
			list = append(list, source{mondoo.Kubeconfig, fleet.Source{Secret: *from.SecretRef, Field: "spec.kubeconfigFrom.secretRef"}})
		}
	}
	if sa := file.Spec.ServiceAccountAuth; sa != nil && sa.CredentialsFrom != nil {
		vault(mondoo.ServiceAccount, "spec.serviceAccountAuth.credentialsFrom.vault", sa.CredentialsFrom.Vault)
	}
	if p := file.Spec.PrivateRegistries; p != nil && p.From != nil {
		vault(mondoo.Registries, "spec.privateRegistries.from.vault", p.From.Vault)
	}
	return list
}

// sourcedSecrets returns the Secrets for credentials that come from elsewhere, without values.
func sourcedSecrets(file *v1alpha1.ExternalCluster, record fleet.Cluster, hash string) []fleet.SealedSecret {
	var secrets []fleet.SealedSecret
	for _, s := range sourcesOf(file) {
		secret := fleet.SealedSecret{Name: mondoo.SecretName(record.AuditConfig, record.Name, s.what, hash), Type: mondoo.SecretType(s.what),
			Data: map[string]fleet.Text{}, Cluster: record.Name, AuditConfig: record.AuditConfig, Origin: record.Origin, From: &s.from}
		for _, key := range mondoo.SecretKeys(s.what) {
			secret.Uses = append(secret.Uses, fleet.Use{Key: key, Field: s.from.Path()})
		}
		secrets = append(secrets, secret)
	}
	return secrets
}

// noteUnknown reports Secrets whose values aren't known here. The controller, which reads them, drops the finding.
func (c *compiler) noteUnknown(r kustomize.Resource, secrets []fleet.SealedSecret) {
	for i := range secrets {
		s := &secrets[i]
		if s.From == nil {
			continue
		}
		f := c.place(r, s.From.Path())
		f.Code, f.Severity, f.Cluster = CodeSourceUnknown, finding.Info, s.Cluster
		f.Message = UnknownSource(s.From)
		c.fleet.Add(f)
	}
}

// UnknownSource is the message of the finding with CodeSourceUnknown.
func UnknownSource(from *fleet.Source) string {
	return fmt.Sprintf("%s is read from %s, and its value isn't known here", strings.TrimPrefix(from.Field, "spec."), from)
}
