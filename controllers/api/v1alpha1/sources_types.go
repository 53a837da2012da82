package v1alpha1

// CredentialSources defines from where credentials of clusters may be read, other than the repository and the Secrets of this
// namespace. A cluster file names one place with kubeconfigFrom, credentialsFrom or from. Nothing is allowed by default: whoever
// may change the repository could otherwise have Muster read any secret that it can.
type CredentialSources struct {
	// The Vault servers, each with the mounts and paths that may be read and with the login.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=address
	// +listMapKey=namespace
	// +optional
	Vault []VaultSource `json:"vault,omitempty"`

	// The Secrets of other namespaces.
	// +optional
	Secrets SecretSources `json:"secrets,omitempty"`
}

// On reports whether anything may be read.
func (s CredentialSources) On() bool { return len(s.Vault)+len(s.Secrets.Namespaces) > 0 }

// SecretSources defines which Secrets of other namespaces may be read.
type SecretSources struct {
	// The namespaces, such as those of Cluster API, Argo CD and Flux. Muster reads single Secrets by name, as serviceAccountName if
	// that is set. It has no right to by default: an admin grants it with a Role in the namespace.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
	// +listType=set
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
}

// VaultSource is a Vault or OpenBao server, or one namespace of it, from which credentials are read.
type VaultSource struct {
	// The address, as https://host or https://host:port.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[^/?#@%[:space:]]+/?$')",message="the address is https://host or https://host:port, without a path or credentials"
	Address string `json:"address"`

	// The namespace of Vault Enterprise, HCP Vault or OpenBao, in which Muster logs in and reads. A cluster file names the same.
	// Default: the root namespace.
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?$')",message="a namespace has the form of vault namespace list, such as admin/team-a"
	// +optional
	Namespace string `json:"namespace"`

	// The PEM certificates to verify the server's certificate. Default: the system's.
	// +kubebuilder:validation:MaxLength=262144
	// +optional
	CACert string `json:"caCert,omitempty"`

	// The KV secrets engines that may be read.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=mount
	Mounts []VaultMount `json:"mounts"`

	// How Muster logs in. Exactly one method.
	// +kubebuilder:validation:XValidation:rule="[has(self.kubernetes), has(self.appRole), has(self.jwt), has(self.token)].exists_one(m, m)",message="set exactly one of kubernetes, appRole, jwt and token"
	Auth VaultLogin `json:"auth"`
}

// VaultMount is a KV secrets engine with the paths that may be read.
type VaultMount struct {
	// Where the engine is mounted, without slashes at the ends.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern="^[A-Za-z0-9_.@+=:-]+(/[A-Za-z0-9_.@+=:-]+)*$"
	Mount string `json:"mount"`

	// The version of the KV engine, 1 or 2. Muster doesn't ask Vault for it, which would need another right.
	// +kubebuilder:default=2
	// +kubebuilder:validation:Enum=1;2
	// +optional
	EngineVersion int `json:"engineVersion,omitempty"`

	// The paths below the mount, without data/. A * is allowed at the end, such as clusters/*.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:Pattern="^([A-Za-z0-9_.@+=:-]+(/[A-Za-z0-9_.@+=:-]+)*(/?[*])?|[*])$"
	// +listType=set
	Paths []string `json:"paths"`
}

// VaultLogin is how Muster logs in to Vault.
type VaultLogin struct {
	// Vault's Kubernetes auth method, with a ServiceAccount of this namespace.
	// +optional
	Kubernetes *VaultServiceAccount `json:"kubernetes,omitempty"`
	// Vault's AppRole auth method.
	// +optional
	AppRole *VaultAppRole `json:"appRole,omitempty"`
	// Vault's JWT auth method, with a ServiceAccount of this namespace or a token from a Secret.
	// +optional
	JWT *VaultJWT `json:"jwt,omitempty"`
	// A token of Vault, from a Secret.
	// +optional
	Token *VaultToken `json:"token,omitempty"`
}

// VaultServiceAccount logs in with a token of a ServiceAccount, which lasts 10 minutes and is for Vault alone.
type VaultServiceAccount struct {
	// Where the auth method is mounted, without auth/. Default: kubernetes.
	// +kubebuilder:default=kubernetes
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern="^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$"
	// +optional
	Mount string `json:"mount,omitempty"`
	// The role in Vault.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Role string `json:"role"`
	// The ServiceAccount in this namespace. Muster needs the right to create its tokens, which an admin grants.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName"`
	// The audience of the token, the same as in Vault's role. It must not be an audience of the API server: Vault could otherwise use
	// the token there.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Audience string `json:"audience"`
}

// VaultAppRole logs in with a role ID and a secret ID.
type VaultAppRole struct {
	// Where the auth method is mounted, without auth/. Default: approle.
	// +kubebuilder:default=approle
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern="^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$"
	// +optional
	Mount string `json:"mount,omitempty"`
	// The role ID.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	RoleID string `json:"roleID"`
	// The Secret with the secret ID in the key secret-id.
	SecretRef SecretRef `json:"secretRef"`
}

// VaultJWT logs in with a JSON Web Token.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) != (has(self.serviceAccountName) && has(self.audience))",message="set either secretRef, or serviceAccountName and audience"
// +kubebuilder:validation:XValidation:rule="has(self.serviceAccountName) == has(self.audience)",message="serviceAccountName and audience belong together"
type VaultJWT struct {
	// Where the auth method is mounted, without auth/. Default: jwt.
	// +kubebuilder:default=jwt
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern="^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$"
	// +optional
	Mount string `json:"mount,omitempty"`
	// The role in Vault.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Role string `json:"role"`
	// The Secret with the token in the key jwt.
	// +optional
	SecretRef *SecretRef `json:"secretRef,omitempty"`
	// The ServiceAccount in this namespace, as for kubernetes.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// The audience of its token, as for kubernetes.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Audience string `json:"audience,omitempty"`
}

// VaultToken is a token of Vault.
type VaultToken struct {
	// The Secret with the token in the key token.
	SecretRef SecretRef `json:"secretRef"`
}

// SecretRefs are the Secrets of this namespace that logins use.
func (s CredentialSources) SecretRefs() (refs []SecretRef) {
	for i := range s.Vault {
		switch auth := s.Vault[i].Auth; {
		case auth.AppRole != nil:
			refs = append(refs, auth.AppRole.SecretRef)
		case auth.JWT != nil && auth.JWT.SecretRef != nil:
			refs = append(refs, *auth.JWT.SecretRef)
		case auth.Token != nil:
			refs = append(refs, auth.Token.SecretRef)
		}
	}
	return refs
}
