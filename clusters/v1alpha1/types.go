package v1alpha1

import "time"

// APIVersion and Kind identify a cluster file.
const (
	APIVersion = "muster.dev/v1alpha1"
	Kind       = "ExternalCluster"
)

// ExternalCluster is a remote cluster that the Mondoo Operator scans. It is read from Git and never applied to Kubernetes:
// Muster compiles it to an entry in a MondooAuditConfig's externalClusters.
type ExternalCluster struct {
	// Always muster.dev/v1alpha1.
	APIVersion string `json:"apiVersion" seal:"never"`
	// Always ExternalCluster.
	Kind string `json:"kind" seal:"never"`
	// The cluster's name, and what kustomize adds.
	Metadata Metadata `json:"metadata"`
	// How to reach and scan the cluster.
	Spec Spec `json:"spec"`

	// mentioned has fields as dotted paths. True means that Decode reported the field, so that any further problem there is a
	// consequence. False means that an unknown field was probably meant to be this one, so that it isn't reported as missing
	// too.
	mentioned map[string]bool
}

// Metadata names the cluster. Namespace, labels and annotations are accepted because kustomize sets them. Muster does not pass
// them on.
type Metadata struct {
	// The entry's name in the MondooAuditConfig, and the value of the label cluster_name on the operator's objects for it:
	// lower-case letters, digits and dashes, at most 63 characters.
	Name string `json:"name" seal:"never"`
	// Ignored. The namespace is that of the AuditSync.
	Namespace string `json:"namespace,omitempty" seal:"never"`
	// Labels, for kustomize's selectors.
	Labels map[string]string `json:"labels,omitempty" seal:"never"`
	// Annotations.
	Annotations map[string]string `json:"annotations,omitempty" seal:"never"`
}

// Spec is how to reach and scan the cluster. The fields have the same names as in an externalClusters[] entry of a
// MondooAuditConfig (without name), so that an existing entry can be pasted here. Exactly one of the five authentication methods
// must be set. The four forms of kubeconfig count as one method.
type Spec struct {
	// A kubeconfig as text, SOPS-encrypted. It becomes a Secret. Exec plugins, auth providers and file paths in it don't work
	// where the scanner runs.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// The path of a SOPS-encrypted kubeconfig, relative to this file, in the same folder or below.
	KubeconfigFile string `json:"kubeconfigFile,omitempty" seal:"never"`
	// An existing Secret with the kubeconfig under the key kubeconfig.
	KubeconfigSecretRef *SecretRef `json:"kubeconfigSecretRef,omitempty"`
	// Read the kubeconfig from Vault, or from a Secret of another namespace. Muster makes a Secret of it, and keeps that up to date
	// without a commit.
	KubeconfigFrom *KubeconfigSource `json:"kubeconfigFrom,omitempty"`
	// Authenticate with the token of a ServiceAccount in the remote cluster.
	ServiceAccountAuth *ServiceAccountAuth `json:"serviceAccountAuth,omitempty"`
	// Authenticate as a cloud identity.
	WorkloadIdentity *WorkloadIdentity `json:"workloadIdentity,omitempty"`
	// Authenticate with short-lived credentials from Vault's Kubernetes secrets engine.
	VaultAuth *VaultAuth `json:"vaultAuth,omitempty"`
	// Authenticate with an X.509 SVID from a SPIRE agent.
	SPIFFEAuth *SPIFFEAuth `json:"spiffeAuth,omitempty"`
	// Replace the token in this file, in the Secret of the scanner, by ones that Muster requests from the cluster itself. Only with
	// serviceAccountAuth.token, kubeconfig or kubeconfigFile, and a ServiceAccount's token.
	Renew *Renew `json:"renew,omitempty"`
	// When to scan: five cron fields, or a word such as @daily. H is a number that is stable for this cluster and evenly
	// distributed over the fleet, as in "H */2 * * *". Default: the audit config's schedule.
	Schedule string `json:"schedule,omitempty" seal:"never"`
	// Which namespaces to scan. If absent, the audit config's setting applies. Empty ({}) means all.
	Filtering *Filtering `json:"filtering,omitempty"`
	// Also scan the images of running containers. Default: false.
	ContainerImageScanning bool `json:"containerImageScanning,omitempty"`
	// Which image repositories to scan. Only with containerImageScanning. If absent, the audit config's setting applies. Empty
	// ({}) means all.
	Repositories *Patterns `json:"repositories,omitempty"`
	// Credentials for private image registries. Only with containerImageScanning.
	PrivateRegistries *PrivateRegistries `json:"privateRegistries,omitempty"`
	// The operator's name for privateRegistries.secretRef, accepted so that an existing entry can be pasted.
	PrivateRegistriesPullSecretRef *SecretRef `json:"privateRegistriesPullSecretRef,omitempty"`
	// The MondooAuditConfig that this cluster belongs to. Only required if the path renders more than one.
	AuditConfig string `json:"auditConfig,omitempty" seal:"never"`
}

// SecretRef names a Secret in the namespace of the AuditSync.
type SecretRef struct {
	// The name of the Secret.
	Name string `json:"name" seal:"never"`
}

// KubeconfigSource is where a kubeconfig is read from. Set either vault or secretRef. The AuditSync must allow it.
type KubeconfigSource struct {
	// A secret in Vault's KV secrets engine.
	Vault *VaultSecret `json:"vault,omitempty"`
	// A Secret of another namespace: a plain one, or the Secret of a cluster of Cluster API, Argo CD or Flux.
	SecretRef *ForeignSecret `json:"secretRef,omitempty"`
}

// VaultSource is where credentials are read from. The AuditSync must allow it.
type VaultSource struct {
	// A secret in Vault's KV secrets engine.
	Vault *VaultSecret `json:"vault"`
}

// VaultSecret is a secret in Vault's KV secrets engine. The AuditSync lists the servers, mounts and paths that may be read, in
// spec.credentialSources.vault.
type VaultSecret struct {
	// The address of Vault: https://host[:port].
	Address string `json:"address" seal:"never"`
	// The namespace of Vault Enterprise, HCP Vault or OpenBao, such as admin/team-a.
	Namespace string `json:"namespace,omitempty" seal:"never"`
	// Where the KV secrets engine is mounted.
	Mount string `json:"mount" seal:"never"`
	// The path of the secret below the mount, as in vault kv get, without data/.
	Path string `json:"path" seal:"never"`
	// The key of the value in the secret. Default: kubeconfig for a kubeconfig, .dockerconfigjson for registry credentials.
	// Credentials with a token have the keys token, ca.crt and server.
	Key string `json:"key,omitempty" seal:"never"`
	// The version to read, in version 2 of the engine. Default: the latest.
	Version int `json:"version,omitempty"`
}

// ForeignSecret names a Secret of another namespace, which the AuditSync lists in spec.credentialSources.secrets.
type ForeignSecret struct {
	// The namespace of the Secret.
	Namespace string `json:"namespace" seal:"never"`
	// The name of the Secret.
	Name string `json:"name" seal:"never"`
	// The key of the kubeconfig. Default: the one that the Secret's kind has.
	Key string `json:"key,omitempty" seal:"never"`
}

// ServiceAccountAuth authenticates with a bearer token. Set token and caCert, only credentialsSecretRef, or only credentialsFrom.
type ServiceAccountAuth struct {
	// The address of the API server: https://host[:port][/path].
	Server string `json:"server"`
	// The token of the ServiceAccount, SOPS-encrypted.
	Token string `json:"token,omitempty"`
	// The PEM certificates to verify the API server's certificate.
	CACert string `json:"caCert,omitempty"`
	// An existing Secret with the keys token and ca.crt.
	CredentialsSecretRef *SecretRef `json:"credentialsSecretRef,omitempty"`
	// Read the keys token and ca.crt from Vault. The key server beside them must be the same server as here: it says where the
	// token may be sent.
	CredentialsFrom *VaultSource `json:"credentialsFrom,omitempty"`
	// Don't verify the API server's certificate. Any server at the address gets the token. In a file with token, it must
	// directly follow server. Default: false.
	SkipTLSVerify *bool `json:"skipTLSVerify,omitempty"`
}

// Renew defines how a ServiceAccount's token is renewed.
type Renew struct {
	// The lifetime to ask for, as a Go duration such as 24h: 10m to 720h. The cluster may grant less: 24h on EKS and AKS, 48h on GKE.
	// The next token is requested at half of what was granted.
	Lifetime string `json:"lifetime" seal:"never"`
}

// The shortest lifetime that Kubernetes grants, and the longest that can be asked for.
const (
	ShortestRenewal = 10 * time.Minute
	LongestRenewal  = 720 * time.Hour
)

// Renewal returns the lifetime of the tokens by which the one in the file is to be replaced; zero for none.
func (s Spec) Renewal() time.Duration {
	if s.Renew == nil {
		return 0
	}
	d, err := time.ParseDuration(s.Renew.Lifetime)
	if err != nil || d < ShortestRenewal || d > LongestRenewal {
		return 0
	}
	return d
}

// SkipsTLS reports whether the API server's certificate is not verified.
func (a *ServiceAccountAuth) SkipsTLS() bool { return a.SkipTLSVerify != nil && *a.SkipTLSVerify }

// Provider is a cloud whose identities the operator can use.
type Provider string

// The providers that the operator supports.
const (
	GKE Provider = "gke"
	EKS Provider = "eks"
	AKS Provider = "aks"
)

// WorkloadIdentity authenticates as a cloud identity. Set the provider, and the block with the provider's name.
type WorkloadIdentity struct {
	// The cloud: gke, eks or aks.
	Provider Provider `json:"provider" seal:"never"`
	// Google Kubernetes Engine, with provider gke.
	GKE *GKEIdentity `json:"gke,omitempty"`
	// Amazon Elastic Kubernetes Service, with provider eks.
	EKS *EKSIdentity `json:"eks,omitempty"`
	// Azure Kubernetes Service, with provider aks.
	AKS *AKSIdentity `json:"aks,omitempty"`
}

// GKEIdentity is a Google service account and the GKE cluster that it may read.
type GKEIdentity struct {
	// The ID of the Google Cloud project with the cluster.
	ProjectID string `json:"projectId"`
	// The name of the cluster in that project.
	ClusterName string `json:"clusterName"`
	// The region or zone of the cluster, such as europe-west1 or europe-west1-b.
	ClusterLocation string `json:"clusterLocation"`
	// The e-mail address of the Google service account.
	GoogleServiceAccount string `json:"googleServiceAccount"`
	// The address of the API server, if it isn't the cluster's public endpoint: https://host[:port].
	Endpoint string `json:"endpoint,omitempty"`
}

// EKSIdentity is an IAM role and the EKS cluster that it may read.
type EKSIdentity struct {
	// The AWS region of the cluster, such as eu-central-1.
	Region string `json:"region"`
	// The name of the cluster in that region.
	ClusterName string `json:"clusterName"`
	// The ARN of the IAM role: arn:aws:iam::<account>:role/<name>.
	RoleARN string `json:"roleArn"`
	// The address of the API server, if it isn't the one that AWS reports.
	Endpoint string `json:"endpoint,omitempty"`
}

// AKSIdentity is a managed identity or app registration and the AKS cluster that it may read.
type AKSIdentity struct {
	// The UUID of the Azure subscription with the cluster.
	SubscriptionID string `json:"subscriptionId"`
	// The resource group with the cluster.
	ResourceGroup string `json:"resourceGroup"`
	// The name of the cluster in that resource group.
	ClusterName string `json:"clusterName"`
	// The UUID of the managed identity or app registration.
	ClientID string `json:"clientId"`
	// The UUID of the Entra ID tenant.
	TenantID string `json:"tenantId"`
	// The address of the API server, if it isn't the one that Azure reports.
	Endpoint string `json:"endpoint,omitempty"`
	// The login server, as in an existing MondooAuditConfig entry.
	LoginServer string `json:"loginServer,omitempty"`
}

// VaultAuth authenticates with credentials that the operator fetches from Vault and renews at half their lifetime.
type VaultAuth struct {
	// The address of the API server: https://host[:port][/path].
	Server string `json:"server"`
	// The address of Vault: https://host[:port]. It must be listed in spec.vaultAuth.addresses of the AuditSync.
	VaultAddr string `json:"vaultAddr" seal:"never"`
	// The namespace of Vault Enterprise or HCP Vault, such as admin/team-a. Operators up to v13.3.0 don't have the field.
	VaultNamespace string `json:"vaultNamespace,omitempty"`
	// Where Vault's Kubernetes auth method is mounted. Default: auth/kubernetes.
	AuthPath string `json:"authPath,omitempty"`
	// The role for the operator's login.
	AuthRole string `json:"authRole"`
	// Where Vault's Kubernetes secrets engine is mounted. Default: kubernetes.
	SecretsPath string `json:"secretsPath,omitempty"`
	// The role of the secrets engine for which Vault issues credentials.
	CredsRole string `json:"credsRole"`
	// The namespace of the remote cluster in which Vault creates the ServiceAccount token.
	KubernetesNamespace string `json:"kubernetesNamespace,omitempty"`
	// The requested lifetime, as a Go duration such as 1h. Below 20m a token can expire before the operator renews it.
	TTL string `json:"ttl,omitempty"`
	// The PEM certificates to verify Vault's certificate. Default: the system's.
	CACert string `json:"caCert,omitempty"`
	// An existing Secret with those certificates under the key ca.crt.
	CACertSecretRef *SecretRef `json:"caCertSecretRef,omitempty"`
	// The PEM certificates to verify the API server's certificate. Without them the operator doesn't verify it.
	TargetCACert string `json:"targetCACert,omitempty"`
	// An existing Secret with those certificates under the key ca.crt.
	TargetCACertSecretRef *SecretRef `json:"targetCACertSecretRef,omitempty"`
}

// SPIFFEAuth authenticates with an X.509 SVID. Set either trustBundle or trustBundleSecretRef.
type SPIFFEAuth struct {
	// The address of the API server: https://host[:port][/path].
	Server string `json:"server"`
	// The absolute path of the SPIRE agent's socket on the node. Default: /run/spire/sockets/agent.sock.
	SocketPath string `json:"socketPath,omitempty"`
	// The PEM certificates to verify the API server's certificate.
	TrustBundle string `json:"trustBundle,omitempty"`
	// An existing Secret with those certificates under the key ca.crt.
	TrustBundleSecretRef *SecretRef `json:"trustBundleSecretRef,omitempty"`
	// The audience of the SVID.
	Audience string `json:"audience,omitempty"`
}

// Filtering limits a scan to some namespaces.
type Filtering struct {
	// The namespaces by name or glob pattern. Absent or empty means all.
	Namespaces *Patterns `json:"namespaces,omitempty"`
}

// Patterns selects by name. If there is an include list, the operator ignores the exclude list.
type Patterns struct {
	// Only these. An empty list selects everything.
	Include []string `json:"include,omitempty"`
	// All except these.
	Exclude []string `json:"exclude,omitempty"`
}

// PrivateRegistries has registry credentials. Set one of dockerConfigJson, secretRef and from.
type PrivateRegistries struct {
	// The text of a Docker config.json with auths, SOPS-encrypted. It becomes a Secret.
	DockerConfigJSON string `json:"dockerConfigJson,omitempty"`
	// An existing Secret with that text under the key .dockerconfigjson.
	SecretRef *SecretRef `json:"secretRef,omitempty"`
	// Read that text from Vault.
	From *VaultSource `json:"from,omitempty"`
}
