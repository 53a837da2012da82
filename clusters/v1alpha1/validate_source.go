package v1alpha1

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/v1alpha1/internal/form"
)

func (v *validator) kubeconfigFrom(from *KubeconfigSource) {
	if from == nil {
		return
	}
	at := func(name string) []string { return []string{"spec", "kubeconfigFrom", name} }
	switch {
	case from.Vault != nil && from.SecretRef != nil:
		v.fail(CodeConflict, at("secretRef"), "excludes vault", "keep one of the two")
	case from.Vault == nil && from.SecretRef == nil:
		v.missing("set vault or secretRef", at("vault")...)
	}
	v.vaultSecret(from.Vault, at("vault"))
	if ref := from.SecretRef; ref != nil {
		at := func(name string) []string { return []string{"spec", "kubeconfigFrom", "secretRef", name} }
		if v.required(ref.Namespace, at("namespace")...) {
			v.matches(namespace, ref.Namespace, CodeObjectName, finding.Error, at("namespace"), "is not a valid namespace name", "use lower-case letters, digits and dashes")
		}
		if v.required(ref.Name, at("name")...) {
			v.objectName(ref.Name, at("name")...)
		}
		v.sourceKey(ref.Key, at("key"))
	}
}

// vaultSource checks credentials that come from Vault, if there are any.
func (v *validator) vaultSource(from *VaultSource, field ...string) {
	if from == nil {
		return
	}
	field = append(slices.Clone(field), "vault")
	if from.Vault == nil {
		v.missing("name the secret in Vault", field...)
	}
	v.vaultSecret(from.Vault, field)
}

func (v *validator) vaultSecret(s *VaultSecret, field []string) {
	if s == nil {
		return
	}
	at := func(name string) []string { return append(slices.Clone(field), name) }
	v.vaultAddress(s.Address, at("address")...)
	v.matches(vaultNamespace, s.Namespace, CodeVaultPath, finding.Error, at("namespace"), "is not a Vault namespace", "use the form of vault namespace list, such as admin/team-a")
	if v.required(s.Mount, at("mount")...) {
		v.vaultPart(s.Mount, at("mount"))
	}
	if v.required(s.Path, at("path")...) {
		v.vaultPart(s.Path, at("path"))
	}
	v.sourceKey(s.Key, at("key"))
	if s.Version < 0 {
		v.fail(CodeVaultPath, at("version"), "is negative", "write the number that vault kv metadata get shows, or remove it for the latest")
	}
}

// tokenSource checks what else a file with a token from Vault has.
func (v *validator) tokenSource(auth *ServiceAccountAuth) {
	field := []string{"spec", "serviceAccountAuth", "credentialsFrom", "vault", "key"}
	if s := auth.CredentialsFrom.Vault; s != nil && s.Key != "" {
		v.fail(CodeConflict, field, "can't be set: the secret has the keys token, ca.crt and server", "remove it")
	}
	if auth.SkipsTLS() {
		v.fail(CodeConflict, []string{"spec", "serviceAccountAuth", "skipTLSVerify"}, "can't be combined with credentialsFrom: the server's certificate must be verified, because the token is for that server alone",
			"remove it, and put the CA certificate into the key ca.crt of the secret")
	}
}

// vaultPart checks a mount or path. It becomes part of the address of a request, and is compared with what the AuditSync allows.
func (v *validator) vaultPart(value string, field []string) {
	if !vaultPart.MatchString(value) || path.Clean(value) != value || strings.Contains(value, "..") {
		v.fail(CodeVaultPath, field, "is not a path in Vault that Muster reads", "write it as vault kv get does, without slashes at its ends: letters, digits, and any of . _ - @ + = : /")
	}
}

func (v *validator) sourceKey(key string, field []string) {
	v.matches(sourceKey, key, CodeObjectName, finding.Error, field, "is not the key of a value", "use letters, digits, dashes, underscores and dots")
}

var (
	vaultPart = regexp.MustCompile(form.VaultPart)
	sourceKey = regexp.MustCompile(form.SourceKey)
)
