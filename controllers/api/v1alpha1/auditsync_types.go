package v1alpha1

import (
	"fmt"
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Names that Muster uses in the metadata of an AuditSync.
const (
	// AnnotationReconcile requests a sync whenever its value changes. status.lastHandledReconcileAt is the last handled value.
	AnnotationReconcile = "muster.dev/reconcile-requested-at"
	// Finalizer keeps an AuditSync until its deletion policy has been applied.
	Finalizer = "muster.dev/finalizer"
)

// The types of an AuditSync's conditions.
const (
	// ConditionReady: the path is applied at the latest revision, completely and without errors.
	ConditionReady = "Ready"
	// ConditionReconciling: a sync is in progress or will be retried. As kstatus expects, the condition is absent when it is not true.
	ConditionReconciling = "Reconciling"
	// ConditionStalled: nothing will happen until a user changes something, for example because the AuditSync is suspended. It is
	// absent when it is not true.
	ConditionStalled = "Stalled"
	// ConditionFetched: the last fetch succeeded.
	ConditionFetched = "Fetched"
	// ConditionRendered: the path rendered without errors; false with reason Quarantined if some clusters are left out.
	ConditionRendered = "Rendered"
	// ConditionApplied: everything that could be rendered is applied.
	ConditionApplied = "Applied"
	// ConditionInSync: the live objects have no drift.
	ConditionInSync = "InSync"
	// ConditionScanned: the latest scan of every cluster succeeded. Ready doesn't depend on it.
	ConditionScanned = "Scanned"
	// ConditionWebhook: deliveries can be verified. It exists only with spec.webhook, and Ready doesn't depend on it.
	ConditionWebhook = "Webhook"
	// ConditionReported: the commit statuses at the forge are up to date. It exists only with spec.forge, and Ready doesn't depend
	// on it.
	ConditionReported = "Reported"
	// ConditionPullRequests: every open pull request has its plan. It exists only with spec.forge.pullRequests, and Ready doesn't
	// depend on it.
	ConditionPullRequests = "PullRequests"
	// ConditionPreflight: the credentials of all clusters work. It exists only with spec.preflight.mode, and Ready doesn't depend
	// on it.
	ConditionPreflight = "Preflight"
)

// AuditSync syncs the audit configs of its namespace from a path in a Git repository.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=auditsyncs,scope=Namespaced,shortName=async,categories=mondoo
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Clusters",type=integer,JSONPath=`.status.clusters.total`
// +kubebuilder:printcolumn:name="Applied",type=integer,JSONPath=`.status.clusters.applied`
// +kubebuilder:printcolumn:name="Quarantined",type=integer,JSONPath=`.status.clusters.quarantined`
// +kubebuilder:printcolumn:name="In Sync",type=string,JSONPath=`.status.conditions[?(@.type=="InSync")].status`
// +kubebuilder:printcolumn:name="Scanned",type=string,JSONPath=`.status.conditions[?(@.type=="Scanned")].status`
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.spec.suspend`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.lastAppliedRevision`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="URL",type=string,priority=1,JSONPath=`.spec.source.url`
// +kubebuilder:printcolumn:name="Path",type=string,priority=1,JSONPath=`.spec.path`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="the name is used as a label value: lower-case letters, digits and dashes, 63 characters at most"
type AuditSync struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AuditSyncSpec   `json:"spec"`
	Status AuditSyncStatus `json:"status,omitempty"`
}

// AuditSyncList is a list of AuditSyncs.
//
// +kubebuilder:object:root=true
type AuditSyncList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AuditSync `json:"items"`
}

// AuditSyncSpec defines what is applied, from where, and with which policy.
// +kubebuilder:validation:XValidation:rule="!has(self.prune) || !has(self.prune.approveOn) || self.prune.approveOn != 'PullRequest' || has(self.forge) && has(self.forge.pullRequests) && self.forge.pullRequests",message="prune.approveOn: PullRequest needs forge.pullRequests"
type AuditSyncSpec struct {
	// The Git repository.
	Source Source `json:"source"`

	// The directory with the cluster files, relative to the root of the repository. Default: the root.
	// +kubebuilder:default="./"
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(p, p == '..')",message="the path is relative to the root of the repository and stays within it"
	// +optional
	Path string `json:"path,omitempty"`

	// How often to fetch the repository, as a duration such as 5m; at least 5s. The annotation
	// muster.dev/reconcile-requested-at requests a sync at any time.
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s')",message="the interval is at least 5s"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// The keys for SOPS-encrypted files. Without them, a path with encrypted files can't be applied.
	// +optional
	Decryption *Decryption `json:"decryption,omitempty"`

	// The MondooAuditConfig for the clusters if the path contains none: an existing one in the namespace, installed by Helm
	// or from Mondoo's console. Muster then owns its list of external clusters and changes nothing else in it.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	AuditConfig string `json:"auditConfig,omitempty"`

	// Which privileged fields audit configs in the repository may set.
	// +optional
	AuditConfigs AuditConfigs `json:"auditConfigs,omitempty"`

	// The Vault servers that clusters may name in vaultAuth.
	// +optional
	VaultAuth VaultAuth `json:"vaultAuth,omitempty"`

	// From where the credentials of clusters may be read, other than the repository.
	// +optional
	CredentialSources CredentialSources `json:"credentialSources,omitempty"`

	// What to do when a live object differs from what Muster applied and Git has not changed. Correct restores it
	// immediately. Report only reports the drift.
	// +kubebuilder:validation:Enum=Correct;Report
	// +kubebuilder:default=Correct
	// +optional
	Drift DriftPolicy `json:"drift,omitempty"`

	// What to do with clusters and Secrets that are no longer in Git.
	// +kubebuilder:default={}
	// +optional
	Prune Prune `json:"prune,omitempty"`

	// What to do with entries of the audit config that are in no file and that Muster never applied. Keep keeps and reports
	// them. Remove removes them; if they exceed prune.maxRemovals of the audit config's entries, or while a file can't be
	// read, they wait for an approval.
	// +kubebuilder:validation:Enum=Keep;Remove
	// +kubebuilder:default=Keep
	// +optional
	ForeignClusters ForeignPolicy `json:"foreignClusters,omitempty"`

	// What to do with the applied objects when the AuditSync is deleted. Orphan keeps them, Delete deletes them.
	// +kubebuilder:validation:Enum=Orphan;Delete
	// +kubebuilder:default=Orphan
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// Stops all syncs: no fetch, no apply, no drift correction. Pending commit statuses are ended.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Lets the forge request a sync as soon as commits are pushed. Syncs also run at each interval, in case a delivery is lost.
	// +optional
	Webhook *Webhook `json:"webhook,omitempty"`

	// Reports the result of each commit to the forge as commit statuses: whether it is valid and applied, whether there is
	// drift, and whether its clusters were scanned.
	// +optional
	Forge *Forge `json:"forge,omitempty"`

	// Scans a changed cluster once as soon as possible, instead of at its next scheduled time.
	// +kubebuilder:default={}
	// +optional
	ScanOnChange ScanOnChange `json:"scanOnChange,omitempty"`

	// Checks that the credentials of the clusters work: address, certificate, login, rights and identity.
	// +optional
	Preflight Preflight `json:"preflight,omitempty"`

	// The ServiceAccount in this namespace that Muster impersonates to apply. Its permissions limit what this AuditSync can
	// change. Default: Muster's ServiceAccount.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

// AuditConfigs defines which privileged fields audit configs in the repository may set.
type AuditConfigs struct {
	// The allowed privileged fields of MondooAuditConfigs: fields that name a Secret, choose the code that runs, or change its
	// permissions. Each is a path below spec. FIELD=VALUE allows one value, such as mondooCredsSecretRef=mondoo-client or
	// scanner.image.tag=13.3.0. FIELD allows any value and all fields below it, such as nodes.jobOverrides. Paths skip list
	// indexes: scanner.env. A field that names a Secret, at any depth, must be allowed with the Secret's name:
	// scanner.env.valueFrom.secretKeyRef=proxy. Secrets that an AuditSync itself uses, and those that Muster creates from inline
	// credentials, are never allowed.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^[^=[:space:].]+([.][^=[:space:].]+)*(=.+)?$'))",message="an entry is FIELD or FIELD=VALUE, such as scanner.image.tag=13.3.0"
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.contains('=') || !a.matches('(?i)secret(key)?refs?$'))",message="a field that names a Secret is allowed for one name: FIELD=NAME, such as mondooCredsSecretRef=mondoo-client"
	// +listType=set
	// +optional
	Allow []string `json:"allow,omitempty"`
}

// VaultAuth defines the Vault servers that the operator may log in to for clusters.
type VaultAuth struct {
	// The servers, as https://host or https://host:port. The operator sends its ServiceAccount token to the server that a
	// cluster names. So a cluster that names a server not listed here is left out.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^https://[^/?#@%[:space:]]+/?$'))",message="an address is https://host or https://host:port, without a path or credentials"
	// +listType=set
	// +optional
	Addresses []string `json:"addresses,omitempty"`
}

// Source is a Git repository and the ref to follow.
type Source struct {
	// The URL: https://host/path, or ssh://user@host/path. http:// is only allowed for loopback addresses. It must not contain
	// credentials, which belong in secretRef.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https?|ssh)://')",message="the address starts with https:// or ssh://; write git@host:path as ssh://git@host/path"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*@') && !self.matches('^ssh://[^/@]*:[^/@]*@')",message="the address must not contain credentials; put them into the Secret of secretRef"
	URL string `json:"url"`

	// What to follow. Default: the repository's default branch.
	// +optional
	Ref *Ref `json:"ref,omitempty"`

	// The Secret with the credentials, with the same keys as in Flux: username and password, or bearerToken; identity,
	// known_hosts and password (the passphrase) for ssh; caFile for a private CA.
	// +optional
	SecretRef *SecretRef `json:"secretRef,omitempty"`

	// Applies only commits that are signed with one of these keys. Any other commit changes nothing. Only the commit to apply is
	// verified; signatures of tags and of earlier commits are not checked.
	// +optional
	Verify *Verify `json:"verify,omitempty"`

	// How long one fetch may take. Default: 60s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// Ref selects a commit. If several fields are set, the order of precedence is commit, semver, tag, branch.
//
// +kubebuilder:validation:XValidation:rule="(has(self.semver) ? 1 : 0) + (has(self.tag) ? 1 : 0) + (has(self.branch) ? 1 : 0) <= 1",message="set at most one of branch, tag and semver"
// +kubebuilder:validation:XValidation:rule="!(has(self.commit) && has(self.semver))",message="commit and semver are mutually exclusive"
type Ref struct {
	// A branch.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Branch string `json:"branch,omitempty"`
	// A tag.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Tag string `json:"tag,omitempty"`
	// The highest tag within a range of versions, such as ">=1.2.0 <2.0.0".
	// +kubebuilder:validation:MaxLength=256
	// +optional
	SemVer string `json:"semver,omitempty"`
	// A commit, by its full hash. With branch, the commit must be on that branch.
	// +kubebuilder:validation:Pattern="^[0-9a-f]{40}$"
	// +optional
	Commit string `json:"commit,omitempty"`
}

// Verify defines whose signatures are accepted.
type Verify struct {
	// The Secret with the public keys. Keys named NAME.asc contain armored PGP keys, as in Flux. Keys named NAME.pub and
	// authorized_keys contain SSH keys, one per line. allowed_signers contains SSH keys with principals, which are ignored.
	SecretRef SecretRef `json:"secretRef"`

	// Applies only descendants of the last applied commit. Otherwise anyone who can force-push, or who runs the Git server, can
	// restore an older signed commit, and with it a removed cluster or a replaced token. If the branch is rewritten, or url or ref
	// lead to another history, set it to false until that is applied.
	// +optional
	Monotonic bool `json:"monotonic,omitempty"`
}

// SecretRef names a Secret in the AuditSync's namespace.
type SecretRef struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Webhook configures the webhook receiver of this AuditSync. Its path is status.webhookPath.
type Webhook struct {
	// The Secret that authenticates deliveries, in the key token, as in Flux. The token is the webhook's secret, GitLab's secret
	// token, or, if it starts with whsec_, a signing token of GitLab or of another sender of Standard Webhooks. It has at least
	// 16 bytes. During a rotation, the key previousToken contains the previous token, which is accepted as well.
	SecretRef SecretRef `json:"secretRef"`

	// The accepted kind of webhook: github, gitlab, gitea or forgejo (the same as gitea), or generic. generic accepts any sender
	// that puts the HMAC-SHA256 of the body into X-Signature or X-Hub-Signature as sha256=…, or that follows Standard Webhooks.
	// auto uses the repository's host if that is a public forge, and otherwise the delivery's headers.
	// +kubebuilder:validation:Enum=auto;github;gitlab;gitea;forgejo;generic
	// +kubebuilder:default=auto
	// +optional
	Provider string `json:"provider,omitempty"`
}

// Forge defines where commit statuses are posted, and with which credentials.
type Forge struct {
	// github, gitlab or gitea (also for Forgejo). Default: derived from the repository's host, for public forges.
	// +kubebuilder:validation:Enum=github;gitlab;gitea
	// +optional
	Provider string `json:"provider,omitempty"`

	// The URL of the server or of its API, as https://host or https://host/path. Only needed if it is not on the repository's
	// host. http:// is only allowed for loopback addresses.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[^/?#@%[:space:]]+(/[^?#@[:space:]]*)?$') || self.matches('^http://(localhost|127[.]0[.]0[.]1|[[]::1[]])(:[0-9]+)?(/[^?#@[:space:]]*)?$')",message="an address is https://host or https://host/path, without credentials or a query; http:// is only allowed for loopback"
	// +optional
	APIURL string `json:"apiURL,omitempty"`

	// The Secret with the credentials for the forge: token, an access token with permission to set commit statuses; or
	// bearerToken; or username and password; or githubAppID, githubAppInstallationID and githubAppPrivateKey. Optional keys are
	// caFile for a private CA, and proxy. It may be the repository's Secret.
	SecretRef SecretRef `json:"secretRef"`

	// The name of the status. Those for drift and scans have the suffixes /drift and /scan. Two AuditSyncs for the same
	// repository, in different namespaces or clusters, need different names, or they overwrite each other's statuses. Default:
	// muster/ and the name of the AuditSync.
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:Pattern="^[A-Za-z0-9]([A-Za-z0-9._/:@-]*[A-Za-z0-9])?$"
	// +optional
	Context string `json:"context,omitempty"`

	// Answers pull requests into the branch: with the status CONTEXT/plan on their heads and, if they change anything here,
	// with a comment that lists what the merge would do. The credentials then also need permission to read pull requests and
	// to write comments. Heads in forks are checked without keys until a user who may write to the repository allows the head
	// with the comment "/muster check SHA". Only with a branch in spec.source.ref.
	// +optional
	PullRequests bool `json:"pullRequests,omitempty"`
}

// Decryption defines the keys for SOPS, and which key services may be used. Files can only use the servers and keys that are
// listed here.
type Decryption struct {
	// The Secret with the keys and credentials, with the same keys as in Flux, so that Flux's sops-age and sops-gpg Secrets
	// work. Keys that end in .agekey contain age identities. Keys that end in .asc contain armored PGP private keys without a
	// passphrase. The keys sops.vault-token, sops.aws-kms, sops.gcp-kms and sops.azure-kv contain the credentials for key
	// services.
	SecretRef SecretRef `json:"secretRef"`

	// The Vault servers whose transit engine may be used. The Secret then needs a token in the key sops.vault-token and, for a
	// server with a private CA, the CA's certificate in vault.ca.crt. The token's policy in Vault limits what it can decrypt.
	// +optional
	Vault *VaultDecryption `json:"vault,omitempty"`

	// The AWS KMS keys that may be used. The Secret then needs aws_access_key_id, aws_secret_access_key and, if necessary,
	// aws_session_token in the key sops.aws-kms.
	// +optional
	AWS *AWSDecryption `json:"aws,omitempty"`

	// The Google Cloud KMS keys that may be used. The Secret then needs the JSON key of a service account in the key
	// sops.gcp-kms.
	// +optional
	GCP *GCPDecryption `json:"gcp,omitempty"`

	// The Azure Key Vault keys that may be used. The Secret then needs a service principal in the key sops.azure-kv.
	// +optional
	Azure *AzureDecryption `json:"azure,omitempty"`
}

// VaultDecryption lists Vault servers.
type VaultDecryption struct {
	// The servers, as https://host or https://host:port, each as it is written in the files. http:// is only allowed for
	// loopback addresses.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^https://[^/?#@%[:space:]]+/?$') || a.matches('^http://(localhost|127[.]0[.]0[.]1|[[]::1[]])(:[0-9]+)?/?$'))",message="an address is https://host or https://host:port, without a path or credentials; http:// is only allowed for loopback"
	// +listType=set
	Addresses []string `json:"addresses"`

	// The Vault Enterprise namespace of the transit engine. Default: the root namespace.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern="^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?$"
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// AWSDecryption lists AWS KMS keys.
type AWSDecryption struct {
	// ARNs of keys and aliases, as they are written in the files. A * is allowed at the end, after the account, such as
	// arn:aws:kms:eu-west-1:111122223333:key/*.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^arn:aws(-[a-z-]+)?:kms:[a-z0-9-]+:[0-9]{12}:([*]|(key|alias)/[A-Za-z0-9/_-]*[*]?)$'))",message="a key is arn:aws:kms:REGION:ACCOUNT:key/ID; a * is allowed at the end, after the account"
	// +listType=set
	Keys []string `json:"keys"`

	// ARNs of the roles that may be assumed if a file names a role.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^arn:aws(-[a-z-]+)?:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@/_-]+$'))",message="a role is arn:aws:iam::ACCOUNT:role/NAME"
	// +listType=set
	// +optional
	Roles []string `json:"roles,omitempty"`
}

// GCPDecryption lists Google Cloud KMS keys.
type GCPDecryption struct {
	// Resource IDs, as projects/P/locations/L/keyRings/R/cryptoKeys/K. A * is allowed at the end, after the project, such as
	// projects/fleet/*.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^projects/[a-z0-9.:-]+/([*]|locations/[A-Za-z0-9/_-]*[*]?)$'))",message="a key is projects/P/locations/L/keyRings/R/cryptoKeys/K; a * is allowed at the end, after the project"
	// +listType=set
	Keys []string `json:"keys"`
}

// AzureDecryption lists Azure Key Vault keys.
type AzureDecryption struct {
	// Key identifiers, as https://NAME.vault.azure.net/keys/KEY/VERSION. A * is allowed at the end, after the host, such as
	// https://fleet.vault.azure.net/*.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^https://[a-z0-9-]+[.](vault[.]azure[.]net|managedhsm[.]azure[.]net|vault[.]azure[.]cn|vault[.]usgovcloudapi[.]net|managedhsm[.]usgovcloudapi[.]net)/([*]|keys/[A-Za-z0-9/-]*[*]?)$'))",message="a key is https://NAME.vault.azure.net/keys/KEY/VERSION; a * is allowed at the end, after the host"
	// +listType=set
	Keys []string `json:"keys"`
}

// DriftPolicy is Correct or Report.
type DriftPolicy string

// The drift policies.
const (
	DriftCorrect DriftPolicy = "Correct"
	DriftReport  DriftPolicy = "Report"
)

// ForeignPolicy is Keep or Remove.
type ForeignPolicy string

// The policies for foreign entries.
const (
	ForeignKeep   ForeignPolicy = "Keep"
	ForeignRemove ForeignPolicy = "Remove"
)

// DeletionPolicy is Orphan or Delete.
type DeletionPolicy string

// The deletion policies.
const (
	DeletionOrphan DeletionPolicy = "Orphan"
	DeletionDelete DeletionPolicy = "Delete"
)

// Prune defines how removals are handled.
type Prune struct {
	// Whether to remove what is no longer in Git.
	// +kubebuilder:default=true
	// +optional
	Enabled *bool `json:"enabled,omitempty"`

	// How many clusters and Secrets one change may remove, as a number or a percentage of what is applied. A percentage always
	// allows one. Further removals wait until a user approves exactly these, with the annotation muster.dev/approve-removals and
	// the value from the status. Everything else is applied in the meantime.
	// +kubebuilder:default="25%"
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : self.matches('^(100|[0-9]{1,2})%$')",message="a number from 0, or a percentage from 0% to 100%"
	// +optional
	MaxRemovals *intstr.IntOrString `json:"maxRemovals,omitempty"`

	// Where removals that wait may be approved. Cluster: by the annotation alone. PullRequest: also on the pull request that
	// removes them, by a comment of a user who may write to the repository. The comment of the plan shows it. It needs
	// forge.pullRequests.
	// +kubebuilder:validation:Enum=Cluster;PullRequest
	// +kubebuilder:default=Cluster
	// +optional
	ApproveOn ApproveOn `json:"approveOn,omitempty"`
}

// ApproveOn is where removals may be approved.
type ApproveOn string

// Where removals may be approved.
const (
	ApproveOnCluster     ApproveOn = "Cluster"
	ApproveOnPullRequest ApproveOn = "PullRequest"
)

// ScanOnChange defines how changed clusters are scanned. Once the operator has picked up the change, Muster creates a Job from
// the operator's CronJob, as kubectl create job --from does.
type ScanOnChange struct {
	// Whether to scan changed clusters as soon as possible.
	// +kubebuilder:default=true
	// +optional
	Enabled *bool `json:"enabled,omitempty"`

	// How many of these scans run at the same time. Up to 100 changed clusters wait in a queue. If more change, for example when
	// a fleet is applied for the first time, the others are scanned as scheduled.
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +optional
	Concurrency int32 `json:"concurrency,omitempty"`
}

// On reports whether changed clusters are scanned as soon as possible.
func (s ScanOnChange) On() bool { return s.Enabled == nil || *s.Enabled }

// AtOnce returns how many of these scans run at the same time.
func (s ScanOnChange) AtOnce() int {
	const standard = 5
	if s.Concurrency < 1 {
		return standard
	}
	return int(s.Concurrency)
}

// Preflight defines whether the credentials of clusters are checked. A check connects to the cluster's API server with the
// credentials of its file, reads, and asks what they may read.
type Preflight struct {
	// Report checks each cluster after its credential or server was applied, and again at each interval. It reports the results in
	// the condition Preflight, status.preflight, problems, events and metrics. Off checks nothing; in YAML it is written "Off", in
	// quotes.
	//
	// Required also checks a changed credential or server before it is applied. Until it has passed, what is applied stays, and a
	// new cluster is not added. It then waits for the end of a scan that runs with the applied one, for 30 minutes at most. Clusters
	// that can't be checked from Muster's Pod, such as those with workload identity, are applied at once. Rights that are only
	// partial don't hold a change. What is applied and fails later is reported, and stays.
	//
	// Off is the default, because Muster itself connects to no cluster otherwise. A check sends a credential only to the server of
	// the same file, as a scan does. But the connections come from Muster's Pod, which has the keys of the repository, and whoever
	// may change the repository chooses the addresses. It is for the owner of the management cluster to allow that, and to open its
	// network policies for it.
	// +kubebuilder:validation:Enum=Report;Required;Off
	// +kubebuilder:default=Off
	// +optional
	Mode PreflightMode `json:"mode,omitempty"`

	// How often to check each cluster, as a duration such as 24h; at least 5m. The checks are spread by up to a tenth of it. A
	// cluster that fails is checked again after 10 minutes, then after 20, and so on, until the interval is reached.
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5m')",message="the interval is at least 5m"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Addresses and networks that are contacted although they are loopback, link-local, metadata or multicast addresses, or that of
	// the management cluster's API server, such as 10.96.0.1 or 169.254.0.0/16. Private networks need no permission.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^[0-9a-fA-F:.]+(/[0-9]{1,3})?$'))",message="an entry is an IP address, or a network such as 169.254.0.0/16"
	// +listType=set
	// +optional
	AllowAddresses []string `json:"allowAddresses,omitempty"`

	// Proxies that kubeconfigs may name, as host:port. A cluster behind another proxy is not checked: a proxy decides where a
	// connection leads.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=300
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^([^/?#@%:[:space:]]+|[[][0-9a-fA-F:.]+[]]):[0-9]{1,5}$'))",message="a proxy is host:port"
	// +listType=set
	// +optional
	AllowProxies []string `json:"allowProxies,omitempty"`

	// Checks clusters with vaultAuth, too: Muster logs in to Vault as the Mondoo Operator, gets a credential as the operator would, uses
	// it once at the cluster, and revokes it. It asks only the servers in spec.vaultAuth.addresses. Muster needs the permission to
	// create tokens of the operator's ServiceAccount, which its Role doesn't have: see config/README.md. Default: such clusters are not
	// checked.
	// +optional
	VaultAuth *PreflightVaultAuth `json:"vaultAuth,omitempty"`
}

// PreflightVaultAuth defines how Muster logs in to Vault to check clusters.
type PreflightVaultAuth struct {
	// The operator's ServiceAccount, in the namespace of the AuditSync.
	// +kubebuilder:default=mondoo-operator-controller-manager
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

// PreflightMode is Report, Required or Off.
type PreflightMode string

// The modes of preflights.
const (
	PreflightReport   PreflightMode = "Report"
	PreflightRequired PreflightMode = "Required"
	PreflightOff      PreflightMode = "Off"
)

// On reports whether clusters are checked.
func (p Preflight) On() bool { return p.Mode == PreflightReport || p.Required() }

// Required reports whether a credential must work before it is applied.
func (p Preflight) Required() bool { return p.Mode == PreflightRequired }

// Allowed returns AllowAddresses as networks.
func (p Preflight) Allowed() ([]netip.Prefix, error) {
	var allowed []netip.Prefix
	for _, text := range p.AllowAddresses {
		prefix, err := netip.ParsePrefix(text)
		if address, single := netip.ParseAddr(text); single == nil {
			prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("spec.preflight.allowAddresses: %q is neither an IP address nor a network such as 127.0.0.0/8", text)
		}
		allowed = append(allowed, prefix)
	}
	return allowed, nil
}

// Every returns how often each cluster is checked.
func (p Preflight) Every() time.Duration {
	const standard = 24 * time.Hour
	if p.Interval == nil || p.Interval.Duration <= 0 {
		return standard
	}
	return p.Interval.Duration
}

// AuditSyncStatus is the result of the last syncs.
type AuditSyncStatus struct {
	// The generation of the AuditSync that this status is for.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Ready, Fetched, Rendered, Applied, InSync and Scanned; Webhook with spec.webhook, Reported with spec.forge,
	// and Preflight with spec.preflight.mode; Reconciling and Stalled while they are true.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// The revision that was last fetched, as branch@sha1:commit.
	// +optional
	LastAttemptedRevision string `json:"lastAttemptedRevision,omitempty"`

	// The revision that was last applied.
	// +optional
	LastAppliedRevision string `json:"lastAppliedRevision,omitempty"`

	// The last handled value of the annotation muster.dev/reconcile-requested-at.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// The path of the webhook receiver, at the address of Muster's Service muster-webhook.
	// +optional
	WebhookPath string `json:"webhookPath,omitempty"`

	// What the last applied revision changed.
	// +optional
	LastChanges string `json:"lastChanges,omitempty"`

	// The last drift correction since the revision was applied.
	// +optional
	LastCorrection string `json:"lastCorrection,omitempty"`

	// Revisions with a pending commit status. Muster ends these statuses if they will not get a result.
	// +kubebuilder:validation:MaxItems=20
	// +listType=atomic
	// +optional
	PendingRevisions []string `json:"pendingRevisions,omitempty"`

	// Where the statuses of pendingRevisions are shown, so that they can be ended there after spec has changed.
	// +optional
	PendingAt *ReportPlace `json:"pendingAt,omitempty"`

	// When events last reported credentials that expire. Thresholds that a credential has reached since then are still to be reported.
	// +optional
	LastExpiryReport *metav1.Time `json:"lastExpiryReport,omitempty"`

	// The number of clusters, by state.
	// +optional
	Clusters *ClusterCounts `json:"clusters,omitempty"`

	// Whether the credentials of the clusters work, as of the last checks.
	// +optional
	Preflight *PreflightStatus `json:"preflight,omitempty"`

	// The findings for the last revision, most severe first; 50 at most.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	Problems []Problem `json:"problems,omitempty"`

	// The number of problems that are not listed.
	// +optional
	MoreProblems int32 `json:"moreProblems,omitempty"`
}

// ReportPlace is where commit statuses are shown: the values of spec.forge and the repository at that time. Muster never sends
// credentials to an address that is only in the status.
type ReportPlace struct {
	// +optional
	Provider string `json:"provider,omitempty"`
	// The Git URL of the repository.
	URL string `json:"url"`
	// +optional
	APIURL string `json:"apiURL,omitempty"`
	// The name of the status for the commit itself.
	Context string `json:"context"`
}

// ClusterCounts counts clusters by state.
type ClusterCounts struct {
	// Clusters in the path.
	Total int32 `json:"total"`
	// Clusters that are applied as in the path.
	Applied int32 `json:"applied"`
	// Clusters left out because of an error; their applied state is left unchanged.
	Quarantined int32 `json:"quarantined"`
	// Removals that wait for approval: of clusters, and also of Secrets and audit configs.
	// +optional
	Held int32 `json:"held,omitempty"`
	// Entries of the audit configs that are in no file.
	// +optional
	Foreign int32 `json:"foreign,omitempty"`
	// Clusters that are applied but not scanned yet.
	// +optional
	Awaiting int32 `json:"awaiting,omitempty"`
	// Clusters whose latest scan succeeded.
	// +optional
	Passing int32 `json:"passing,omitempty"`
	// Clusters whose latest scan failed or can't start, whose scan is overdue, or that the operator has not picked up.
	// +optional
	Failing int32 `json:"failing,omitempty"`
}

// Problem is a finding.
type Problem struct {
	// The name of the rule.
	Code string `json:"code"`
	// error, warning or info.
	Severity string `json:"severity"`
	// The cluster it is about.
	// +optional
	Cluster string `json:"cluster,omitempty"`
	// The location in the repository, as path:line:column.
	// +optional
	Place string `json:"place,omitempty"`
	// The cause.
	Message string `json:"message"`
	// How to fix it.
	// +optional
	Fix string `json:"fix,omitempty"`
}

// PreflightStatus is the result of the last checks of credentials.
type PreflightStatus struct {
	// Clusters whose credentials work.
	Passed int32 `json:"passed"`
	// Clusters with a check that failed.
	Failed int32 `json:"failed"`
	// Clusters that can't be checked from here, for example because only the operator's ServiceAccount can log in.
	// +optional
	NotChecked int32 `json:"notChecked,omitempty"`
	// When a cluster was last checked. The status may be an hour behind, so that checks with the same result write nothing.
	// +optional
	LastCheckTime *metav1.Time `json:"lastCheckTime,omitempty"`
	// The first check that failed, of each cluster; 50 at most.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	Failures []PreflightFailure `json:"failures,omitempty"`
}

// PreflightFailure is the first check of a cluster that failed.
type PreflightFailure struct {
	Cluster string `json:"cluster"`
	// +optional
	AuditConfig string `json:"auditConfig,omitempty"`
	// credential, resolve, connect, tls, host-name, http, version, login, rights or identity.
	Check string `json:"check"`
	// The cause, from a fixed list, such as token-expired.
	Cause   string `json:"cause"`
	Message string `json:"message"`
	// How to fix it.
	// +optional
	Fix string `json:"fix,omitempty"`
	// Since when checks have failed for this cause.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
}
