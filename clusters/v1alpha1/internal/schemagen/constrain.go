package main

import (
	"fmt"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/muster-gitops/muster/clusters/v1alpha1"
	"github.com/muster-gitops/muster/clusters/v1alpha1/internal/form"
)

// plainForms are the forms of values that are never encrypted.
var plainForms = map[string]string{
	"metadata.name":            form.ClusterName,
	"spec.renew.lifetime":      form.Duration,
	"spec.auditConfig":         form.ObjectName,
	"spec.vaultAuth.vaultAddr": form.VaultAddress,
}

// openForms are the forms of values that may be encrypted. An editor then sees them in SOPS' form.
var openForms = map[string]string{
	"spec.serviceAccountAuth.server":                 form.Server,
	"spec.vaultAuth.server":                          form.Server,
	"spec.vaultAuth.vaultNamespace":                  form.VaultNamespace,
	"spec.vaultAuth.kubernetesNamespace":             form.Namespace,
	"spec.spiffeAuth.server":                         form.Server,
	"spec.spiffeAuth.socketPath":                     form.AbsolutePath,
	"spec.workloadIdentity.gke.clusterName":          form.NoBlank,
	"spec.workloadIdentity.gke.googleServiceAccount": form.Email,
	"spec.workloadIdentity.gke.endpoint":             form.Server,
	"spec.workloadIdentity.eks.roleArn":              form.RoleARN,
	"spec.workloadIdentity.aks.subscriptionId":       form.UUID,
	"spec.workloadIdentity.aks.clusterName":          form.NoBlank,
	"spec.workloadIdentity.aks.clientId":             form.UUID,
	"spec.workloadIdentity.aks.tenantId":             form.UUID,
	"spec.workloadIdentity.eks.endpoint":             form.Endpoint,
	"spec.workloadIdentity.aks.endpoint":             form.Endpoint,
}

// secretRefs are the references to Secrets.
var secretRefs = []string{
	"spec.kubeconfigSecretRef", "spec.serviceAccountAuth.credentialsSecretRef", "spec.vaultAuth.caCertSecretRef",
	"spec.vaultAuth.targetCACertSecretRef", "spec.spiffeAuth.trustBundleSecretRef", "spec.privateRegistries.secretRef",
	"spec.privateRegistriesPullSecretRef",
}

// vaultSecrets are the secrets in Vault that fields name.
var vaultSecrets = []string{"spec.kubeconfigFrom.vault", "spec.serviceAccountAuth.credentialsFrom.vault", "spec.privateRegistries.from.vault"}

// sources constrains what credentials are read from.
func sources(root *jsonschema.Schema) error {
	patterns := map[string]string{"spec.kubeconfigFrom.secretRef.namespace": form.Namespace, "spec.kubeconfigFrom.secretRef.name": form.ObjectName,
		"spec.kubeconfigFrom.secretRef.key": form.SourceKey}
	for _, path := range vaultSecrets {
		patterns[path+".address"], patterns[path+".namespace"], patterns[path+".key"] = form.VaultAddress, form.VaultNamespace, form.SourceKey
		patterns[path+".mount"], patterns[path+".path"] = form.VaultPart, form.VaultPart
		if err := edit(root, path+".version", func(s *jsonschema.Schema) { s.Minimum = "0" }); err != nil {
			return err
		}
	}
	for path, pattern := range patterns {
		if err := edit(root, path, func(s *jsonschema.Schema) { s.Pattern = pattern }); err != nil {
			return err
		}
	}
	return edit(root, "spec.kubeconfigFrom", func(s *jsonschema.Schema) { s.OneOf = eachOf("vault", "secretRef") })
}

// constrain adds the rules that Go types can't express.
func constrain(root *jsonschema.Schema) error {
	root.Properties.Set("sops", &jsonschema.Schema{Type: "object", Description: "Encryption metadata, written by sops."})
	notEmpty(root)
	if err := sources(root); err != nil {
		return err
	}
	for path, pattern := range plainForms {
		if err := edit(root, path, func(s *jsonschema.Schema) { s.Pattern = pattern }); err != nil {
			return err
		}
	}
	for path, pattern := range openForms {
		if err := edit(root, path, func(s *jsonschema.Schema) { s.Pattern = pattern + "|" + form.Encrypted }); err != nil {
			return err
		}
	}
	for _, path := range secretRefs {
		if err := edit(root, path+".name", func(s *jsonschema.Schema) { s.Pattern, s.MaxLength = form.ObjectName, new(uint64(form.ObjectNameMax)) }); err != nil {
			return err
		}
	}
	edits := map[string]func(*jsonschema.Schema){
		"apiVersion":                     func(s *jsonschema.Schema) { s.Const = v1alpha1.APIVersion },
		"kind":                           func(s *jsonschema.Schema) { s.Const = v1alpha1.Kind },
		"metadata.name":                  func(s *jsonschema.Schema) { s.MaxLength = new(uint64(form.ClusterNameMax)) },
		"spec.auditConfig":               func(s *jsonschema.Schema) { s.MaxLength = new(uint64(form.ObjectNameMax)) },
		"spec.workloadIdentity.provider": func(s *jsonschema.Schema) { s.Enum = []any{v1alpha1.GKE, v1alpha1.EKS, v1alpha1.AKS} },
		"spec.schedule":                  func(s *jsonschema.Schema) { s.Examples = []any{"H * * * *", "H H(1-5) * * *", "@daily"} },
		"spec.renew.lifetime":            func(s *jsonschema.Schema) { s.Examples = []any{"24h", "1h"} },
		"spec.vaultAuth.ttl":             func(s *jsonschema.Schema) { s.Examples = []any{"1h", "90m"} },
		"spec":                           methods,
		"spec.serviceAccountAuth":        serviceAccount,
		"spec.workloadIdentity":          provider,
		"spec.vaultAuth":                 vault,
		"spec.spiffeAuth":                func(s *jsonschema.Schema) { s.OneOf = eachOf("trustBundle", "trustBundleSecretRef") },
		"spec.privateRegistries":         func(s *jsonschema.Schema) { s.OneOf = eachOf("dockerConfigJson", "secretRef", "from") },
	}
	for path, change := range edits {
		if err := edit(root, path, change); err != nil {
			return err
		}
	}
	return nil
}

// edit changes the schema of one field. An unknown path is an error, so that a renaming doesn't silently drop a rule.
func edit(root *jsonschema.Schema, path string, change func(*jsonschema.Schema)) error {
	at := root
	for name := range strings.SplitSeq(path, ".") {
		next, ok := at.Properties.Get(name)
		if !ok {
			return fmt.Errorf("the format has no field %s", path)
		}
		at = next
	}
	change(at)
	return nil
}

// notEmpty sets a minimum length for every text field, except in labels and annotations.
func notEmpty(s *jsonschema.Schema) {
	switch {
	case s.Type == "string":
		s.MinLength = new(uint64(1))
	case s.Items != nil:
		notEmpty(s.Items)
	case s.Properties != nil:
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			notEmpty(p.Value)
		}
	}
}

// having returns a schema that requires these fields.
func having(fields ...string) *jsonschema.Schema { return &jsonschema.Schema{Required: fields} }

// without returns a schema that forbids these fields.
func without(fields ...string) *jsonschema.Schema {
	return &jsonschema.Schema{Not: &jsonschema.Schema{AnyOf: eachOf(fields...)}}
}

// eachOf returns one schema per field, which requires that field.
func eachOf(fields ...string) []*jsonschema.Schema {
	schemas := make([]*jsonschema.Schema, len(fields))
	for i, field := range fields {
		schemas[i] = having(field)
	}
	return schemas
}

func methods(s *jsonschema.Schema) {
	s.OneOf = eachOf("kubeconfig", "kubeconfigFile", "kubeconfigSecretRef", "kubeconfigFrom", "serviceAccountAuth", "workloadIdentity", "vaultAuth", "spiffeAuth")
	s.Not = having("privateRegistries", "privateRegistriesPullSecretRef")
}

func serviceAccount(s *jsonschema.Schema) {
	inline, unchecked, reference := having("token", "caCert"), having("token", "skipTLSVerify"), having("credentialsSecretRef")
	inline.Not = without("credentialsSecretRef", "credentialsFrom").Not
	unchecked.Properties = jsonschema.NewProperties()
	unchecked.Properties.Set("skipTLSVerify", &jsonschema.Schema{Const: true})
	unchecked.Not = without("caCert", "credentialsSecretRef", "credentialsFrom").Not
	reference.Not = without("token", "caCert", "credentialsFrom").Not
	source := having("credentialsFrom")
	source.Properties = jsonschema.NewProperties()
	source.Properties.Set("skipTLSVerify", &jsonschema.Schema{Const: false})
	source.Not = without("token", "caCert", "credentialsSecretRef").Not
	s.OneOf = []*jsonschema.Schema{inline, unchecked, reference, source}
}

func provider(s *jsonschema.Schema) {
	all := []string{string(v1alpha1.GKE), string(v1alpha1.EKS), string(v1alpha1.AKS)}
	for _, name := range all {
		var others []string
		for _, other := range all {
			if other != name {
				others = append(others, other)
			}
		}
		choice := having(name)
		choice.Properties = jsonschema.NewProperties()
		choice.Properties.Set("provider", &jsonschema.Schema{Const: name})
		choice.Not = without(others...).Not
		s.OneOf = append(s.OneOf, choice)
	}
}

func vault(s *jsonschema.Schema) {
	s.Not = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{having("caCert", "caCertSecretRef"), having("targetCACert", "targetCACertSecretRef")}}
}
