// Package mondoo describes the Mondoo Operator's API and objects in Muster's own types: the entries of a
// MondooAuditConfig's externalClusters, the keys of the Secrets that they name, and the labels of the operator's
// objects.
//
// The facts are those of the operator v13.3.0. The package imports nothing of Mondoo's. It decides nothing about files
// or credentials, and has no Kubernetes client.
package mondoo

// Entry is an element of spec.kubernetesResources.externalClusters. Exactly one of the five authentication methods is
// set.
type Entry struct {
	Name                string              `json:"name"`
	KubeconfigSecretRef *SecretRef          `json:"kubeconfigSecretRef,omitempty"`
	ServiceAccountAuth  *ServiceAccountAuth `json:"serviceAccountAuth,omitempty"`
	WorkloadIdentity    *WorkloadIdentity   `json:"workloadIdentity,omitempty"`
	SPIFFEAuth          *SPIFFEAuth         `json:"spiffeAuth,omitempty"`
	VaultAuth           *VaultAuth          `json:"vaultAuth,omitempty"`
	// Schedule has five cron fields. If it is empty, the audit config's is used.
	Schedule string `json:"schedule,omitempty"`
	// Filtering is nil to inherit spec.filtering, and empty to scan all namespaces.
	Filtering              *Filtering `json:"filtering,omitempty"`
	ContainerImageScanning bool       `json:"containerImageScanning,omitempty"`
	// Repositories is nil to inherit spec.containers.repositories, and empty to scan all.
	Repositories                   *Patterns  `json:"repositories,omitempty"`
	PrivateRegistriesPullSecretRef *SecretRef `json:"privateRegistriesPullSecretRef,omitempty"`
}

// SecretRef names a Secret in the audit config's namespace.
type SecretRef struct {
	// Name is written even if it is empty, as the operator may write it. Such a reference counts as absent.
	Name string `json:"name,omitempty"`
}

// ServiceAccountAuth is a bearer token and the CA certificates of the server, both in one Secret.
type ServiceAccountAuth struct {
	Server               string    `json:"server"`
	CredentialsSecretRef SecretRef `json:"credentialsSecretRef"`
	// SkipTLSVerify is always written, because the API server fills in false.
	SkipTLSVerify bool `json:"skipTLSVerify"`
}

// WorkloadIdentity is a provider (gke, eks or aks) and the block with that name.
type WorkloadIdentity struct {
	Provider string `json:"provider"`
	GKE      *GKE   `json:"gke,omitempty"`
	EKS      *EKS   `json:"eks,omitempty"`
	AKS      *AKS   `json:"aks,omitempty"`
}

// GKE is a Google service account and a GKE cluster.
type GKE struct {
	ProjectID            string `json:"projectId"`
	ClusterName          string `json:"clusterName"`
	ClusterLocation      string `json:"clusterLocation"`
	GoogleServiceAccount string `json:"googleServiceAccount"`
	Endpoint             string `json:"endpoint,omitempty"`
}

// EKS is an IAM role and an EKS cluster.
type EKS struct {
	Region      string `json:"region"`
	ClusterName string `json:"clusterName"`
	RoleARN     string `json:"roleArn"`
	Endpoint    string `json:"endpoint,omitempty"`
}

// AKS is an Azure identity and an AKS cluster.
type AKS struct {
	SubscriptionID string `json:"subscriptionId"`
	ResourceGroup  string `json:"resourceGroup"`
	ClusterName    string `json:"clusterName"`
	ClientID       string `json:"clientId"`
	TenantID       string `json:"tenantId"`
	Endpoint       string `json:"endpoint,omitempty"`
	LoginServer    string `json:"loginServer,omitempty"`
}

// SPIFFEAuth is an X.509 SVID from an agent whose socket is mounted from the node.
type SPIFFEAuth struct {
	Server               string    `json:"server"`
	SocketPath           string    `json:"socketPath,omitempty"`
	TrustBundleSecretRef SecretRef `json:"trustBundleSecretRef"`
	Audience             string    `json:"audience,omitempty"`
}

// VaultAuth is credentials from Vault's Kubernetes secrets engine.
type VaultAuth struct {
	Server                string     `json:"server"`
	VaultAddr             string     `json:"vaultAddr"`
	VaultNamespace        string     `json:"vaultNamespace,omitempty"` // after v13.3.0
	AuthPath              string     `json:"authPath,omitempty"`
	AuthRole              string     `json:"authRole"`
	SecretsPath           string     `json:"secretsPath,omitempty"`
	CredsRole             string     `json:"credsRole"`
	KubernetesNamespace   string     `json:"kubernetesNamespace,omitempty"`
	TTL                   string     `json:"ttl,omitempty"`
	CACertSecretRef       *SecretRef `json:"caCertSecretRef,omitempty"`
	TargetCACertSecretRef *SecretRef `json:"targetCACertSecretRef,omitempty"`
}

// Filtering selects namespaces. Namespaces is always written, like the operator does.
type Filtering struct {
	Namespaces Patterns `json:"namespaces"`
}

// Patterns select by name. A non-empty include list overrides the exclude list.
type Patterns struct {
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
}
