package v1alpha1

// APIVersion and Kind are what a cluster file says of itself.
const (
	APIVersion = "muster.dev/v1alpha1"
	Kind       = "ExternalCluster"
)

// ExternalCluster is one remote cluster that the Mondoo Operator scans. It is read from Git and never applied to
// Kubernetes: Muster compiles it to one entry of a MondooAuditConfig's externalClusters.
type ExternalCluster struct {
	// Always muster.dev/v1alpha1.
	APIVersion string `json:"apiVersion" seal:"never"`
	// Always ExternalCluster.
	Kind string `json:"kind" seal:"never"`
	// The cluster's name, and what kustomize adds.
	Metadata Metadata `json:"metadata"`
	// How to reach and scan the cluster.
	Spec Spec `json:"spec"`

	// spokenOf holds fields as dotted paths: true where Decode reported the field, so that whatever Validate finds there is
	// a consequence; false where an unknown field was probably meant to be it, so that it isn't called missing as well.
	spokenOf map[string]bool
}

// Metadata names the cluster. Namespace, labels and annotations are accepted because kustomize sets them; Muster does not
// pass them on.
type Metadata struct {
	// The entry's name in the MondooAuditConfig, and the value of the label cluster_name on what the operator makes for
	// it: lower-case letters, digits and dashes, 63 characters at most.
	Name string `json:"name" seal:"never"`
	// Ignored: the namespace is the one of the AuditSync.
	Namespace string `json:"namespace,omitempty" seal:"never"`
	// Free labels, for kustomize's selectors.
	Labels map[string]string `json:"labels,omitempty" seal:"never"`
	// Free annotations.
	Annotations map[string]string `json:"annotations,omitempty" seal:"never"`
}

// Spec says how to reach and scan the cluster. The fields of an externalClusters[] entry keep the names they have in
// MondooAuditConfig (without name), so that an existing entry can be pasted here. Exactly one of the five authentication
// methods is given; the three forms of kubeconfig count as one method.
type Spec struct {
	// A kubeconfig as text, SOPS-encrypted. It becomes a Secret. Exec plugins, auth providers and paths of files in it
	// can't work where the scanner runs.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// The path of a SOPS-encrypted kubeconfig, relative to this file and not above its folder.
	KubeconfigFile string `json:"kubeconfigFile,omitempty" seal:"never"`
	// A Secret that exists already, with the kubeconfig under the key kubeconfig.
	KubeconfigSecretRef *SecretRef `json:"kubeconfigSecretRef,omitempty"`
	// Authenticate with the token of a ServiceAccount of the remote cluster.
	ServiceAccountAuth *ServiceAccountAuth `json:"serviceAccountAuth,omitempty"`
	// Authenticate as a cloud identity.
	WorkloadIdentity *WorkloadIdentity `json:"workloadIdentity,omitempty"`
	// Authenticate with short-lived credentials from Vault's Kubernetes secrets engine.
	VaultAuth *VaultAuth `json:"vaultAuth,omitempty"`
	// Authenticate with an X.509 SVID from a SPIRE agent.
	SPIFFEAuth *SPIFFEAuth `json:"spiffeAuth,omitempty"`
	// When to scan: five cron fields, or a word such as @daily. H stands for a number that is stable for this cluster and
	// spread evenly over the fleet, as in "H */2 * * *". Default: the audit config's schedule.
	Schedule string `json:"schedule,omitempty" seal:"never"`
	// Which namespaces to scan. Absent: as the audit config says. Empty ({}): all of them.
	Filtering *Filtering `json:"filtering,omitempty"`
	// Scan the images of running containers too. Default: false.
	ContainerImageScanning bool `json:"containerImageScanning,omitempty"`
	// Which image repositories to scan; only with containerImageScanning. Absent: as the audit config says. Empty ({}):
	// all of them.
	Repositories *Patterns `json:"repositories,omitempty"`
	// Credentials for private image registries; only with containerImageScanning.
	PrivateRegistries *PrivateRegistries `json:"privateRegistries,omitempty"`
	// The operator's name for privateRegistries.secretRef, accepted so that an existing entry can be pasted.
	PrivateRegistriesPullSecretRef *SecretRef `json:"privateRegistriesPullSecretRef,omitempty"`
	// The MondooAuditConfig that this cluster belongs to; needed only when the path renders more than one.
	AuditConfig string `json:"auditConfig,omitempty" seal:"never"`
}

// SecretRef names a Secret in the namespace of the AuditSync.
type SecretRef struct {
	// The name of the Secret.
	Name string `json:"name" seal:"never"`
}

// ServiceAccountAuth authenticates with a bearer token: token with caCert, or credentialsSecretRef alone.
type ServiceAccountAuth struct {
	// The address of the API server: https://host[:port][/path].
	Server string `json:"server"`
	// The token of the ServiceAccount, SOPS-encrypted.
	Token string `json:"token,omitempty"`
	// The PEM certificates that the API server's certificate is checked against.
	CACert string `json:"caCert,omitempty"`
	// A Secret that exists already, with the keys token and ca.crt.
	CredentialsSecretRef *SecretRef `json:"credentialsSecretRef,omitempty"`
	// Do not check the API server's certificate; whoever answers at the address gets the token. In a file with token, it stands
	// directly after server. Default: false.
	SkipTLSVerify *bool `json:"skipTLSVerify,omitempty"`
}

// SkipsTLS reports whether the API server's certificate is not checked.
func (a *ServiceAccountAuth) SkipsTLS() bool { return a.SkipTLSVerify != nil && *a.SkipTLSVerify }

// Provider is a cloud whose identities the operator can use.
type Provider string

// The providers that the operator knows.
const (
	GKE Provider = "gke"
	EKS Provider = "eks"
	AKS Provider = "aks"
)

// WorkloadIdentity authenticates as a cloud identity: a provider, and the one block of that name.
type WorkloadIdentity struct {
	// The cloud: gke, eks or aks.
	Provider Provider `json:"provider" seal:"never"`
	// Google Kubernetes Engine; with provider gke.
	GKE *GKEIdentity `json:"gke,omitempty"`
	// Amazon Elastic Kubernetes Service; with provider eks.
	EKS *EKSIdentity `json:"eks,omitempty"`
	// Azure Kubernetes Service; with provider aks.
	AKS *AKSIdentity `json:"aks,omitempty"`
}

// GKEIdentity is a Google service account and the GKE cluster it may read.
type GKEIdentity struct {
	// The ID of the Google Cloud project that holds the cluster.
	ProjectID string `json:"projectId"`
	// The name of the cluster in that project.
	ClusterName string `json:"clusterName"`
	// The region or zone of the cluster, such as europe-west1 or europe-west1-b.
	ClusterLocation string `json:"clusterLocation"`
	// The e-mail address of the Google service account.
	GoogleServiceAccount string `json:"googleServiceAccount"`
	// The address of the API server, where it isn't the cluster's public endpoint: https://host[:port].
	Endpoint string `json:"endpoint,omitempty"`
}

// EKSIdentity is an IAM role and the EKS cluster it may read.
type EKSIdentity struct {
	// The AWS region of the cluster, such as eu-central-1.
	Region string `json:"region"`
	// The name of the cluster in that region.
	ClusterName string `json:"clusterName"`
	// The ARN of the IAM role: arn:aws:iam::<account>:role/<name>.
	RoleARN string `json:"roleArn"`
	// The address of the API server, where it isn't the one that AWS reports.
	Endpoint string `json:"endpoint,omitempty"`
}

// AKSIdentity is a managed identity or app registration and the AKS cluster it may read.
type AKSIdentity struct {
	// The UUID of the Azure subscription that holds the cluster.
	SubscriptionID string `json:"subscriptionId"`
	// The resource group that holds the cluster.
	ResourceGroup string `json:"resourceGroup"`
	// The name of the cluster in that resource group.
	ClusterName string `json:"clusterName"`
	// The UUID of the managed identity or app registration.
	ClientID string `json:"clientId"`
	// The UUID of the Entra ID tenant.
	TenantID string `json:"tenantId"`
	// The address of the API server, where it isn't the one that Azure reports.
	Endpoint string `json:"endpoint,omitempty"`
	// The login server, as in an existing MondooAuditConfig entry.
	LoginServer string `json:"loginServer,omitempty"`
}

// VaultAuth authenticates with credentials that the operator fetches from Vault and renews at half their lifetime.
type VaultAuth struct {
	// The address of the API server: https://host[:port][/path].
	Server string `json:"server"`
	// The address of Vault: https://host[:port]. The AuditSync lists those that are allowed, in spec.vaultAuth.addresses.
	VaultAddr string `json:"vaultAddr" seal:"never"`
	// The namespace of Vault Enterprise or HCP Vault, such as admin/team-a. Operators up to v13.3.0 don't have the field.
	VaultNamespace string `json:"vaultNamespace,omitempty"`
	// Where Vault's Kubernetes auth method is mounted. Default: auth/kubernetes.
	AuthPath string `json:"authPath,omitempty"`
	// The role for the operator's login.
	AuthRole string `json:"authRole"`
	// Where Vault's Kubernetes secrets engine is mounted. Default: kubernetes.
	SecretsPath string `json:"secretsPath,omitempty"`
	// The role of the secrets engine that credentials are made for.
	CredsRole string `json:"credsRole"`
	// The namespace of the remote cluster in which Vault makes the ServiceAccount token.
	KubernetesNamespace string `json:"kubernetesNamespace,omitempty"`
	// The lifetime to ask for, as a Go duration such as 1h. Under 20m a token can expire before the operator renews it.
	TTL string `json:"ttl,omitempty"`
	// The PEM certificates that Vault's certificate is checked against. Default: the system's.
	CACert string `json:"caCert,omitempty"`
	// A Secret that exists already, with those certificates under the key ca.crt.
	CACertSecretRef *SecretRef `json:"caCertSecretRef,omitempty"`
	// The PEM certificates that the API server's certificate is checked against. Without them the operator checks nothing.
	TargetCACert string `json:"targetCACert,omitempty"`
	// A Secret that exists already, with those certificates under the key ca.crt.
	TargetCACertSecretRef *SecretRef `json:"targetCACertSecretRef,omitempty"`
}

// SPIFFEAuth authenticates with an X.509 SVID: trustBundle or trustBundleSecretRef, one of the two.
type SPIFFEAuth struct {
	// The address of the API server: https://host[:port][/path].
	Server string `json:"server"`
	// The absolute path of the SPIRE agent's socket on the node. Default: /run/spire/sockets/agent.sock.
	SocketPath string `json:"socketPath,omitempty"`
	// The PEM certificates that the API server's certificate is checked against.
	TrustBundle string `json:"trustBundle,omitempty"`
	// A Secret that exists already, with those certificates under the key ca.crt.
	TrustBundleSecretRef *SecretRef `json:"trustBundleSecretRef,omitempty"`
	// The audience of the SVID.
	Audience string `json:"audience,omitempty"`
}

// Filtering narrows a scan to some namespaces.
type Filtering struct {
	// The namespaces by name or glob pattern. Absent or empty: all.
	Namespaces *Patterns `json:"namespaces,omitempty"`
}

// Patterns chooses by name. With an include list, the operator ignores the exclude list.
type Patterns struct {
	// Only these. An empty list chooses everything.
	Include []string `json:"include,omitempty"`
	// All but these.
	Exclude []string `json:"exclude,omitempty"`
}

// PrivateRegistries holds registry credentials: dockerConfigJson or secretRef, one of the two.
type PrivateRegistries struct {
	// The text of a Docker config.json with auths, SOPS-encrypted. It becomes a Secret.
	DockerConfigJSON string `json:"dockerConfigJson,omitempty"`
	// A Secret that exists already, with that text under the key .dockerconfigjson.
	SecretRef *SecretRef `json:"secretRef,omitempty"`
}
