package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// clusterField is a field of a cluster file that muster add sets from a flag, or asks for.
type clusterField struct {
	// path is the field below spec. A flag may set one of several fields: those of the method count.
	path, flag, help string
	// needed fields are asked for.
	needed bool
	// file is true for a flag that names a file with the value, "-" for standard input. secret is true if it is not shown
	// when asked for.
	file, secret, list bool
}

// clusterMethod is an authentication method and its fields.
type clusterMethod struct {
	name, title string
	fields      []clusterField
}

const serverHelp = "address of the cluster's API server, as https://host[:port]; also replaces that of --from-context"

// clusterMethods are the methods in the order in which they are offered. A flag that only one of them has selects it.
var clusterMethods = []clusterMethod{
	{"token", "Token of a ServiceAccount", []clusterField{
		{path: "serviceAccountAuth.server", flag: "server", help: serverHelp, needed: true},
		{path: "serviceAccountAuth.token", flag: "token-file", help: "file with the token of a ServiceAccount", needed: true, file: true, secret: true},
		{path: "serviceAccountAuth.caCert", flag: "ca-file", help: "file with the PEM certificates to verify the API server", needed: true, file: true},
	}},
	{"token-secret", "Token in an existing Secret", []clusterField{
		{path: "serviceAccountAuth.server", flag: "server", help: serverHelp, needed: true},
		{path: "serviceAccountAuth.credentialsSecretRef.name", flag: "credentials-secret", help: "existing Secret with token and ca.crt", needed: true},
	}},
	{"kubeconfig", "Kubeconfig", []clusterField{
		{path: "kubeconfig", flag: "kubeconfig-file", help: "kubeconfig of the cluster; it is reduced to its current context", needed: true, file: true},
	}},
	{"kubeconfig-secret", "Kubeconfig in an existing Secret", []clusterField{
		{path: "kubeconfigSecretRef.name", flag: "kubeconfig-secret", help: "existing Secret with the kubeconfig", needed: true},
	}},
	{"kubeconfig-kv", "Kubeconfig in Vault's KV engine", []clusterField{
		{path: "kubeconfigFrom.vault.address", flag: "kv-address", help: "address of the Vault server with the kubeconfig, as https://host[:port]", needed: true},
		{path: "kubeconfigFrom.vault.mount", flag: "kv-mount", help: "mount of Vault's KV engine", needed: true},
		{path: "kubeconfigFrom.vault.path", flag: "kv-path", help: "path of the secret below the mount, without data/", needed: true},
		{path: "kubeconfigFrom.vault.key", flag: "kv-key", help: "key of the kubeconfig in the secret (default: kubeconfig)"},
		{path: "kubeconfigFrom.vault.namespace", flag: "kv-namespace", help: "namespace of Vault Enterprise, HCP Vault or OpenBao"},
	}},
	{"kubeconfig-elsewhere", "Kubeconfig in a Secret of another namespace, such as that of Cluster API or Argo CD", []clusterField{
		{path: "kubeconfigFrom.secretRef.namespace", flag: "from-secret-namespace", help: "namespace of the Secret with the kubeconfig", needed: true},
		{path: "kubeconfigFrom.secretRef.name", flag: "from-secret", help: "Secret of another namespace with the kubeconfig, or cluster Secret of Argo CD", needed: true},
		{path: "kubeconfigFrom.secretRef.key", flag: "from-secret-key", help: "key of the kubeconfig in the Secret (default: by the kind of the Secret)"},
	}},
	{"eks", "EKS workload identity", []clusterField{
		{path: "workloadIdentity.eks.region", flag: "eks-region", help: "AWS region of the cluster", needed: true},
		{path: "workloadIdentity.eks.clusterName", flag: "eks-cluster", help: "name of the EKS cluster", needed: true},
		{path: "workloadIdentity.eks.roleArn", flag: "eks-role-arn", help: "ARN of the IAM role that may read the cluster", needed: true},
	}},
	{"gke", "GKE workload identity", []clusterField{
		{path: "workloadIdentity.gke.projectId", flag: "gke-project", help: "ID of the Google Cloud project", needed: true},
		{path: "workloadIdentity.gke.clusterLocation", flag: "gke-location", help: "region or zone of the cluster", needed: true},
		{path: "workloadIdentity.gke.clusterName", flag: "gke-cluster", help: "name of the GKE cluster", needed: true},
		{path: "workloadIdentity.gke.googleServiceAccount", flag: "gke-service-account", help: "e-mail address of the Google service account that may read the cluster", needed: true},
	}},
	{"aks", "AKS workload identity", []clusterField{
		{path: "workloadIdentity.aks.subscriptionId", flag: "aks-subscription", help: "UUID of the Azure subscription", needed: true},
		{path: "workloadIdentity.aks.resourceGroup", flag: "aks-resource-group", help: "resource group of the cluster", needed: true},
		{path: "workloadIdentity.aks.clusterName", flag: "aks-cluster", help: "name of the AKS cluster", needed: true},
		{path: "workloadIdentity.aks.clientId", flag: "aks-client-id", help: "UUID of the managed identity that may read the cluster", needed: true},
		{path: "workloadIdentity.aks.tenantId", flag: "aks-tenant-id", help: "UUID of the Entra ID tenant", needed: true},
	}},
	{"vault", "Vault", []clusterField{
		{path: "vaultAuth.server", flag: "server", help: serverHelp, needed: true},
		{path: "vaultAuth.vaultAddr", flag: "vault-address", help: "address of Vault, as https://host[:port]", needed: true},
		{path: "vaultAuth.authRole", flag: "vault-auth-role", help: "role with which the operator logs in to Vault", needed: true},
		{path: "vaultAuth.credsRole", flag: "vault-creds-role", help: "role of Vault's Kubernetes secrets engine", needed: true},
		{path: "vaultAuth.kubernetesNamespace", flag: "vault-kubernetes-namespace", help: "namespace of the cluster in which Vault makes tokens"},
		{path: "vaultAuth.authPath", flag: "vault-auth-path", help: "mount of Vault's Kubernetes auth method (default: auth/kubernetes)"},
		{path: "vaultAuth.secretsPath", flag: "vault-secrets-path", help: "mount of Vault's Kubernetes secrets engine (default: kubernetes)"},
		{path: "vaultAuth.vaultNamespace", flag: "vault-namespace", help: "namespace of Vault Enterprise or HCP Vault"},
		{path: "vaultAuth.ttl", flag: "vault-ttl", help: "requested lifetime of tokens, such as 1h"},
		{path: "vaultAuth.caCert", flag: "vault-ca-file", help: "file with the PEM certificates to verify Vault", file: true},
		{path: "vaultAuth.targetCACert", flag: "ca-file", help: "file with the PEM certificates to verify the API server", needed: true, file: true},
	}},
	{"spiffe", "SPIFFE", []clusterField{
		{path: "spiffeAuth.server", flag: "server", help: serverHelp, needed: true},
		{path: "spiffeAuth.trustBundle", flag: "trust-bundle-file", help: "file with the PEM certificates of the trust bundle, to verify the API server", needed: true, file: true},
		{path: "spiffeAuth.socketPath", flag: "spiffe-socket", help: "path of the SPIRE agent's socket (default: /run/spire/sockets/agent.sock)"},
		{path: "spiffeAuth.audience", flag: "spiffe-audience", help: "audience of the SVID"},
	}},
}

// scanFields are those of every method.
var scanFields = []clusterField{
	{path: "schedule", flag: "schedule", help: `when to scan, in cron form; H spreads clusters, as in "H */2 * * *" (default: the audit config's)`},
	{path: "renew.lifetime", flag: "renew", help: "let Muster replace the token by new ones of this `lifetime`, such as 24h"},
	{path: "filtering.namespaces.include", flag: "include-namespace", help: "scan only this `namespace`, by name or pattern; can be repeated", list: true},
	{path: "filtering.namespaces.exclude", flag: "exclude-namespace", help: "don't scan this `namespace`, by name or pattern; can be repeated", list: true},
	{path: "repositories.include", flag: "include-repository", help: "scan only images of this `repository`; with --images; can be repeated", list: true},
	{path: "repositories.exclude", flag: "exclude-repository", help: "don't scan images of this `repository`; with --images; can be repeated", list: true},
	{path: "privateRegistries.dockerConfigJson", flag: "registries-file", help: "Docker config.json with the logins of private registries; with --images", file: true},
	{path: "privateRegistries.secretRef.name", flag: "registries-secret", help: "existing Secret with .dockerconfigjson; with --images"},
	{path: "auditConfig", flag: "to", help: "audit config that the cluster belongs to; needed only if the folder has several"},
}

// fieldFlags are the values of the flags, by flag.
type fieldFlags map[string]*[]string

func (v fieldFlags) add(cmd *cobra.Command) {
	fields := slices.Clone(scanFields)
	for _, m := range clusterMethods {
		fields = append(fields, m.fields...)
	}
	for _, f := range fields {
		if v[f.flag] != nil {
			continue
		}
		v[f.flag] = &[]string{}
		switch {
		case f.list:
			cmd.Flags().StringArrayVar(v[f.flag], f.flag, nil, f.help)
		case f.file:
			cmd.Flags().Var(single{v[f.flag], "file"}, f.flag, f.help+`; "-" is standard input`)
			completeFiles(cmd, f.flag)
		default:
			cmd.Flags().Var(single{v[f.flag], "string"}, f.flag, f.help)
		}
	}
}

// single is a flag with one value.
type single struct {
	values *[]string
	kind   string
}

func (s single) String() string {
	if s.values == nil {
		return ""
	}
	return strings.Join(*s.values, "")
}
func (s single) Set(value string) error { *s.values = []string{value}; return nil }
func (s single) Type() string           { return s.kind }

func (v fieldFlags) given(flag string) bool { return len(*v[flag]) > 0 }

// method is the method that the flags select; nil if they select none.
func (v fieldFlags) method() (*clusterMethod, error) {
	var found *clusterMethod
	by := ""
	for i := range clusterMethods {
		for _, f := range clusterMethods[i].fields {
			if !v.given(f.flag) || !f.selects() {
				continue
			}
			if found != nil && found != &clusterMethods[i] {
				return nil, usagef("--%s and --%s belong to different methods (%s and %s); a cluster has one", by, f.flag, found.name, clusterMethods[i].name)
			}
			found, by = &clusterMethods[i], f.flag
		}
	}
	return found, nil
}

// selects reports whether only one method has the flag.
func (f clusterField) selects() bool {
	n := 0
	for _, m := range clusterMethods {
		if slices.ContainsFunc(m.fields, func(g clusterField) bool { return g.flag == f.flag }) {
			n++
		}
	}
	return n == 1
}

// notOf returns a flag that is given and that the method doesn't have, or "". Every kubeconfig may get another server.
func (v fieldFlags) notOf(m *clusterMethod) string {
	for _, other := range clusterMethods {
		for _, f := range other.fields {
			if f.flag == "server" && m.name == "kubeconfig" {
				continue
			}
			if v.given(f.flag) && !slices.ContainsFunc(m.fields, func(g clusterField) bool { return g.flag == f.flag }) {
				return f.flag
			}
		}
	}
	return ""
}

// chooseMethod asks for the method.
func (s *shell) chooseMethod(ctx context.Context) (*clusterMethod, error) {
	titles := make([]string, len(clusterMethods))
	for i, m := range clusterMethods {
		titles[i] = m.title
	}
	at, err := s.askChoice(ctx, "How does the scanner log in to the cluster? (--from-context reads it from your kubeconfig.)", titles)
	if err != nil {
		return nil, err
	}
	return &clusterMethods[at], nil
}

// fieldValues are the fields of a spec by path, as JSON has them.
type fieldValues map[string]any

// take reads the values of the flags for these fields.
func (v fieldFlags) take(s *shell, fields []clusterField, into fieldValues) error {
	stdin := ""
	for _, f := range fields {
		given := *v[f.flag]
		switch {
		case len(given) == 0:
		case f.list:
			into[f.path] = given
		case f.file:
			if given[0] == "-" && stdin != "" {
				return usagef("--%s and --%s can't both read standard input", stdin, f.flag)
			}
			if given[0] == "-" {
				stdin = f.flag
			}
			text, err := readBounded(s, given[0], "--"+f.flag)
			if err != nil {
				return err
			}
			if f.secret {
				s.redactor.Add(strings.TrimSpace(string(text)))
				text = []byte(strings.TrimSpace(string(text)))
			}
			into[f.path] = string(text)
		default:
			into[f.path] = given[0]
		}
	}
	return nil
}

// askMissing asks for needed fields that are missing, or names the missing flags.
func (s *shell) askMissing(ctx context.Context, m *clusterMethod, into fieldValues) error {
	var missing []string
	for _, f := range m.fields {
		if !f.needed || into[f.path] != nil && into[f.path] != "" {
			continue
		}
		if !s.interactive() {
			missing = append(missing, "--"+f.flag)
			continue
		}
		answer, err := s.askField(ctx, f)
		if err != nil {
			return err
		}
		into[f.path] = answer
	}
	if len(missing) > 0 {
		return usagef("%s needs %s", m.title, strings.Join(missing, ", "))
	}
	return nil
}

// askField asks for a field. A long value is in a file, and a secret of one line is typed.
func (s *shell) askField(ctx context.Context, f clusterField) (string, error) {
	if f.file && f.secret {
		answer, err := s.askSecret(ctx, upperFirst(strings.TrimPrefix(f.help, "file with ")))
		s.redactor.Add(answer)
		return strings.TrimSpace(answer), err
	}
	for {
		answer, err := s.askText(ctx, upperFirst(f.help))
		if err != nil || !f.file {
			return answer, err
		}
		text, err := readBounded(s, answer, "file")
		if err == nil {
			return string(text), nil
		}
		s.tell("muster: " + err.Error())
	}
}

func upperFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// spec makes the fields a spec.
func (v fieldValues) spec(into *v1alpha1.Spec) error {
	tree := map[string]any{}
	for path, value := range v {
		at, keys := tree, strings.Split(path, ".")
		for _, key := range keys[:len(keys)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[key] = next
			}
			at = next
		}
		at[keys[len(keys)-1]] = value
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	if json.Unmarshal(text, into) != nil {
		return errors.New("a value is not UTF-8 text")
	}
	return nil
}

// valuesOf are the fields that a spec has.
func valuesOf(spec *v1alpha1.Spec) (fieldValues, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	v := fieldValues{}
	v.flatten("", tree)
	return v, nil
}

func (v fieldValues) flatten(above string, tree map[string]any) {
	for key, value := range tree {
		if below, ok := value.(map[string]any); ok {
			v.flatten(above+key+".", below)
			continue
		}
		v[above+key] = value
	}
}
