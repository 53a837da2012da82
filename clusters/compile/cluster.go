package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/schedule"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// cluster compiles one cluster file. The record is kept even if the file has errors, so that the cluster isn't seen as
// removed.
func (c *compiler) cluster(r kustomize.Resource) {
	file, problems := v1alpha1.Decode(r.Object, c.tree.Sealed)
	if file == nil {
		file = &v1alpha1.ExternalCluster{}
	}
	problems = append(problems, file.Validate(c.tree.Sealed)...)
	problems = append(problems, file.PlainCredentials(c.tree.Sealed)...)
	problems = append(problems, c.notAllowed(file, problems)...)
	name := file.Metadata.Name
	findings := Findings(problems, name, func(field []string) finding.Finding { return c.place(r, field) })
	record := fleet.Cluster{Name: name, Origin: fleet.Origin{Path: r.Path, Document: r.Document}, Schedule: file.Spec.Schedule, File: file}
	add := func(field []string, code finding.Code, message, fix string) {
		f := c.place(r, field)
		f.Code, f.Severity, f.Cluster, f.Message, f.Fix = code, finding.Error, name, message, fix
		findings = append(findings, f)
	}
	if field, bad := c.brokenHandle(r.Object["spec"], []string{"spec"}); bad {
		add(field, CodeHandle, "kustomize has changed part of an encrypted value", "don't let a patch or replacement change part of an encrypted value")
	}
	if field, bad := c.movedHandle(r.Object["spec"], []string{"spec"}); bad {
		add(field, CodeHandle, "an encrypted value was copied here from another field", "encrypt the value in the field where it belongs")
	}
	if field, kind := c.notText(r.Object["spec"], []string{"spec"}); field != nil {
		message, fix := notTextMessage(field, kind)
		add(field, v1alpha1.CodeWrongType, message, fix)
	}
	var problem, fix string
	if record.AuditConfig, problem, fix = c.configFor(file.Spec.AuditConfig); problem != "" {
		add([]string{"spec", "auditConfig"}, CodeAuditConfig, problem, fix)
	}
	if field, message, fix := c.unbound(r); message != "" {
		add([]string{"spec", "serviceAccountAuth", field}, CodeServerUnsealed, message, fix)
	} else if field, copied := c.copiedFrom(r, r.Object["spec"], []string{"spec"}); copied {
		add(field, CodeHandle, "an encrypted value was copied here from another cluster or Secret", "encrypt the value in the file where it belongs")
	}
	refuseInlineNames(r.Object["spec"], []string{"spec"}, add)
	hash := sealedBound(file, record.AuditConfig)
	secrets, bad := c.inlineSecrets(file, record, hash)
	secrets = append(secrets, sourcedSecrets(file, record, hash)...)
	for _, f := range bad {
		f.Cluster = name
		findings = append(findings, f)
	}
	for _, f := range findings {
		if f.Severity == finding.Error {
			record.Quarantined = true
			c.fleet.Reject(f)
			continue
		}
		c.fleet.Add(f)
	}
	if !record.Quarantined {
		record.Entry = Entry(file, record.AuditConfig, hash, c.mustHaveSchedule(record.AuditConfig))
		for i := range secrets {
			secrets[i].Hash = hashOf(nil, c.digests(secrets[i:i+1]))
			record.Secrets = append(record.Secrets, secrets[i].Name)
		}
		record.Hash = hashOf(c.unsealed(record.Entry.Canonical()), c.digests(secrets))
		c.fleet.Secrets = append(c.fleet.Secrets, secrets...)
		c.noteSchedule(r, record)
		c.noteUnknown(r, secrets)
	}
	c.fleet.Clusters = append(c.fleet.Clusters, record)
}

// notAllowed returns what the AuditSync's policy forbids in a cluster file, for fields that are otherwise valid.
func (c *compiler) notAllowed(file *v1alpha1.ExternalCluster, problems []v1alpha1.Problem) (list []v1alpha1.Problem) {
	note := func(field []string, p *v1alpha1.Problem) {
		invalid := func(known v1alpha1.Problem) bool {
			n := min(len(field), len(known.Field))
			return known.Severity == finding.Error && slices.Equal(known.Field[:n], field[:n])
		}
		if p != nil && !slices.ContainsFunc(problems, invalid) {
			list = append(list, *p)
		}
	}
	if vault := file.Spec.VaultAuth; vault != nil {
		note([]string{"spec", "vaultAuth", "vaultAddr"}, c.opts.Policy.VaultAddress(vault.VaultAddr))
	}
	for _, s := range sourcesOf(file) {
		if field := s.from.Path(); s.from.Secret.Name != "" {
			note(field, c.opts.Policy.ForeignSecret(s.from.Secret, c.opts.Namespace, field))
		} else {
			note(field, c.opts.Policy.VaultSecret(s.from.Vault, field))
		}
	}
	return list
}

// Entry returns the entry for a cluster file. The hash is part of its Secrets' names. With explicit, an entry without a
// schedule gets the default one: the operator would otherwise create a CronJob that the API server refuses, and stop
// there.
func Entry(file *v1alpha1.ExternalCluster, auditConfig, hash string, explicit bool) mondoo.Entry {
	spec := file.Spec
	name := file.Metadata.Name
	e := mondoo.Entry{Name: name, ContainerImageScanning: spec.ContainerImageScanning}
	secret := func(what string) mondoo.SecretRef {
		return mondoo.SecretRef{Name: mondoo.SecretName(auditConfig, name, what, hash)}
	}
	either := func(value string, ref *v1alpha1.SecretRef, what string) *mondoo.SecretRef {
		switch {
		case value != "":
			inline := secret(what)
			return &inline
		case ref != nil:
			return &mondoo.SecretRef{Name: ref.Name}
		}
		return nil
	}
	e.KubeconfigSecretRef = either(spec.Kubeconfig+spec.KubeconfigFile, spec.KubeconfigSecretRef, mondoo.Kubeconfig)
	if spec.KubeconfigFrom != nil {
		e.KubeconfigSecretRef = new(secret(mondoo.Kubeconfig))
	}
	if sa := spec.ServiceAccountAuth; sa != nil {
		e.ServiceAccountAuth = &mondoo.ServiceAccountAuth{Server: sa.Server, SkipTLSVerify: sa.SkipsTLS()}
		if ref := either(sa.Token, sa.CredentialsSecretRef, mondoo.ServiceAccount); ref != nil {
			e.ServiceAccountAuth.CredentialsSecretRef = *ref
		}
		if sa.CredentialsFrom != nil {
			e.ServiceAccountAuth.CredentialsSecretRef = secret(mondoo.ServiceAccount)
		}
	}
	e.WorkloadIdentity = workloadIdentity(spec.WorkloadIdentity)
	if v := spec.VaultAuth; v != nil {
		e.VaultAuth = &mondoo.VaultAuth{Server: v.Server, VaultAddr: v.VaultAddr, VaultNamespace: v.VaultNamespace, AuthPath: v.AuthPath, AuthRole: v.AuthRole,
			SecretsPath: v.SecretsPath, CredsRole: v.CredsRole, KubernetesNamespace: v.KubernetesNamespace, TTL: v.TTL,
			CACertSecretRef:       either(v.CACert, v.CACertSecretRef, mondoo.VaultCA),
			TargetCACertSecretRef: either(v.TargetCACert, v.TargetCACertSecretRef, mondoo.TargetCA)}
	}
	if s := spec.SPIFFEAuth; s != nil {
		e.SPIFFEAuth = &mondoo.SPIFFEAuth{Server: s.Server, SocketPath: s.SocketPath, Audience: s.Audience}
		if ref := either(s.TrustBundle, s.TrustBundleSecretRef, mondoo.TrustBundle); ref != nil {
			e.SPIFFEAuth.TrustBundleSecretRef = *ref
		}
	}
	if f := spec.Filtering; f != nil {
		e.Filtering = &mondoo.Filtering{}
		if f.Namespaces != nil {
			e.Filtering.Namespaces = mondoo.Patterns{Include: f.Namespaces.Include, Exclude: f.Namespaces.Exclude}
		}
	}
	if p := spec.Repositories; p != nil {
		e.Repositories = &mondoo.Patterns{Include: p.Include, Exclude: p.Exclude}
	}
	e.PrivateRegistriesPullSecretRef = registries(spec, secret)
	e.Schedule = resolveSchedule(spec.Schedule, auditConfig, name, explicit)
	return e.Canonical()
}

func workloadIdentity(w *v1alpha1.WorkloadIdentity) *mondoo.WorkloadIdentity {
	if w == nil {
		return nil
	}
	out := &mondoo.WorkloadIdentity{Provider: string(w.Provider)}
	if g := w.GKE; g != nil {
		out.GKE = &mondoo.GKE{ProjectID: g.ProjectID, ClusterName: g.ClusterName, ClusterLocation: g.ClusterLocation,
			GoogleServiceAccount: g.GoogleServiceAccount, Endpoint: g.Endpoint}
	}
	if k := w.EKS; k != nil {
		out.EKS = &mondoo.EKS{Region: k.Region, ClusterName: k.ClusterName, RoleARN: k.RoleARN, Endpoint: k.Endpoint}
	}
	if a := w.AKS; a != nil {
		out.AKS = &mondoo.AKS{SubscriptionID: a.SubscriptionID, ResourceGroup: a.ResourceGroup, ClusterName: a.ClusterName,
			ClientID: a.ClientID, TenantID: a.TenantID, Endpoint: a.Endpoint, LoginServer: a.LoginServer}
	}
	return out
}

func registries(spec v1alpha1.Spec, secret func(string) mondoo.SecretRef) *mondoo.SecretRef {
	switch {
	case spec.PrivateRegistries != nil && (spec.PrivateRegistries.DockerConfigJSON != "" || spec.PrivateRegistries.From != nil):
		inline := secret(mondoo.Registries)
		return &inline
	case spec.PrivateRegistries != nil && spec.PrivateRegistries.SecretRef != nil:
		return &mondoo.SecretRef{Name: spec.PrivateRegistries.SecretRef.Name}
	case spec.PrivateRegistriesPullSecretRef != nil:
		return &mondoo.SecretRef{Name: spec.PrivateRegistriesPullSecretRef.Name}
	}
	return nil
}

// resolveSchedule returns the schedule in plain cron. Validate has accepted the expression, so it resolves.
func resolveSchedule(expr, auditConfig, name string, explicit bool) string {
	if expr == "" {
		if !explicit {
			return ""
		}
		expr = schedule.Default
	}
	resolved, err := schedule.Resolve(expr, schedule.Seed(auditConfig, name))
	if err != nil {
		return expr
	}
	return resolved
}

// mustHaveSchedule reports whether an entry without a schedule would be refused. It is true for an audit config that
// doesn't exist. It is false for one that was not read: nothing is known about its schedule, so none is added.
func (c *compiler) mustHaveSchedule(auditConfig string) bool {
	if config := c.configs[auditConfig]; config != nil {
		return mondoo.NeedsSchedule(config.Object)
	}
	if object, known := c.opts.Existing[auditConfig]; known {
		return mondoo.NeedsSchedule(object)
	}
	return !c.opts.Offline
}

// scheduleUnknown reports whether a cluster's schedule depends on an audit config that was not read.
func (c *compiler) scheduleUnknown(record fleet.Cluster) bool {
	return record.Entry.Schedule == "" && c.configs[record.AuditConfig] == nil && c.opts.Existing[record.AuditConfig] == nil && c.opts.Offline
}

func (c *compiler) noteSchedule(r kustomize.Resource, record fleet.Cluster) {
	f := c.place(r, []string{"spec"})
	f.Code, f.Severity, f.Cluster = CodeDefaultSchedule, finding.Info, record.Name
	if record.File.Spec.Schedule == "" && c.scheduleUnknown(record) {
		f.Message = fmt.Sprintf("the schedule is unknown here: the file sets none, and the audit config %s is not in Git; if it sets none either, Muster sets %q",
			record.AuditConfig, resolveSchedule("", record.AuditConfig, record.Name, true))
		f.Fix = "use --live, or set spec.schedule here"
		c.fleet.Add(f)
		return
	}
	if record.File.Spec.Schedule != "" || record.Entry.Schedule == "" {
		return
	}
	f.Message = fmt.Sprintf("neither the file nor the audit config %s sets a schedule, so the cluster is scanned at %q", record.AuditConfig, record.Entry.Schedule)
	f.Fix = "set spec.schedule here, or kubernetesResources.schedule in the audit config"
	c.fleet.Add(f)
}

// inlineSecrets returns the Secrets for a cluster file's inline credentials, with the hash in their names.
func (c *compiler) inlineSecrets(file *v1alpha1.ExternalCluster, record fleet.Cluster, hash string) ([]fleet.SealedSecret, []finding.Finding) {
	var secrets []fleet.SealedSecret
	var bad []finding.Finding
	spec := file.Spec
	add := func(what string, values map[string]string, fields map[string][]string) {
		s := fleet.SealedSecret{Name: mondoo.SecretName(record.AuditConfig, record.Name, what, hash), Type: mondoo.SecretType(what),
			Data: map[string]fleet.Text{}, Cluster: record.Name, AuditConfig: record.AuditConfig, Origin: record.Origin}
		if what == mondoo.Kubeconfig || what == mondoo.ServiceAccount {
			s.Renew = spec.Renewal()
		}
		for _, key := range slices.Sorted(maps.Keys(values)) { // in a stable order, or the Secret's hash would change
			if value := values[key]; value != "" {
				s.Data[key] = fleet.Text{Value: value}
				s.Uses = append(s.Uses, fleet.Use{Key: key, Field: fields[key], WarnBefore: file.WarnBefore()})
			}
		}
		if len(s.Data) > 0 {
			secrets = append(secrets, s)
		}
	}
	one := func(what, key, value string, field ...string) {
		add(what, map[string]string{key: value}, map[string][]string{key: field})
	}
	one(mondoo.Kubeconfig, mondoo.KeyKubeconfig, spec.Kubeconfig, "spec", "kubeconfig")
	if spec.KubeconfigFile != "" {
		handle, f := c.kubeconfigFile(record.Origin, spec.KubeconfigFile)
		if f != nil {
			bad = append(bad, *f)
		}
		one(mondoo.Kubeconfig, mondoo.KeyKubeconfig, handle, "spec", "kubeconfigFile")
	}
	if sa := spec.ServiceAccountAuth; sa != nil && sa.Token != "" {
		add(mondoo.ServiceAccount, map[string]string{mondoo.KeyToken: sa.Token, mondoo.KeyCACert: sa.CACert}, map[string][]string{
			mondoo.KeyToken: {"spec", "serviceAccountAuth", "token"}, mondoo.KeyCACert: {"spec", "serviceAccountAuth", "caCert"}})
	}
	if v := spec.VaultAuth; v != nil {
		one(mondoo.VaultCA, mondoo.KeyCACert, v.CACert, "spec", "vaultAuth", "caCert")
		one(mondoo.TargetCA, mondoo.KeyCACert, v.TargetCACert, "spec", "vaultAuth", "targetCACert")
	}
	if s := spec.SPIFFEAuth; s != nil {
		one(mondoo.TrustBundle, mondoo.KeyCACert, s.TrustBundle, "spec", "spiffeAuth", "trustBundle")
	}
	if p := spec.PrivateRegistries; p != nil {
		one(mondoo.Registries, mondoo.KeyDockerConfigJSON, p.DockerConfigJSON, "spec", "privateRegistries", "dockerConfigJson")
	}
	return secrets, bad
}

// digests returns the Secrets' values, with handles replaced by digests that are the same in every process.
func (c *compiler) digests(secrets []fleet.SealedSecret) map[string]string {
	out := map[string]string{}
	for _, s := range secrets {
		for key, text := range s.Data {
			value := text.Value
			if ref, ok := c.tree.Ref(value); ok {
				value = "sealed:" + ref.Digest
			}
			out[s.Name+"/"+key] = value
		}
		if s.Renew > 0 {
			out[s.Name+" renewed"] = ""
		}
		if s.From != nil { // no data key has a space
			out[s.Name+"/ from"] = hashOf(s.From)
		}
	}
	return out
}

// unsealed returns a value in its JSON form, with handles replaced by digests that are the same in every process.
func (c *compiler) unsealed(v any) any {
	data, err := json.Marshal(v)
	if err != nil || !seal.HasHandle(string(data)) {
		return v
	}
	var tree any
	if json.Unmarshal(data, &tree) != nil {
		return v
	}
	return MapStrings(tree, func(text string) string {
		if ref, ok := c.tree.Ref(text); ok {
			return "sealed:" + ref.Digest
		}
		return text
	})
}

// MapStrings replaces every string below a value in its JSON form, except for keys.
func MapStrings(v any, replace func(string) string) any {
	switch v := v.(type) {
	case string:
		return replace(v)
	case map[string]any:
		for key, item := range v {
			v[key] = MapStrings(item, replace)
		}
	case []any:
		for i, item := range v {
			v[i] = MapStrings(item, replace)
		}
	}
	return v
}

// hashOf returns the SHA-256 of the JSON form of its arguments. Go writes JSON with sorted keys.
func hashOf(parts ...any) string {
	h := sha256.New()
	encoder := json.NewEncoder(h)
	for _, p := range parts {
		if err := encoder.Encode(p); err != nil {
			panic(fmt.Sprintf("compile: %T can't be written as JSON", p)) // structs and maps of strings never fail
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Hash returns a short hash of a value's JSON form.
func Hash(v any) string { return hashOf(v) }
