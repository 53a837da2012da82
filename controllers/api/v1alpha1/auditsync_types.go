package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Annotations on an AuditSync by which people ask for something.
const (
	// AnnotationReconcile asks for a sync now, whenever its value changes. status.lastHandledReconcileAt answers.
	AnnotationReconcile = "muster.dev/reconcile-requested-at"
	// Finalizer holds an AuditSync until its deletion policy has been carried out.
	Finalizer = "muster.dev/finalizer"
)

// The types of an AuditSync's conditions.
const (
	// ConditionReady: the path is applied at the latest revision, completely and without errors.
	ConditionReady = "Ready"
	// ConditionReconciling and ConditionStalled are there only while they are true, as kstatus wants it: work is going on or
	// is tried again; or nothing will happen until somebody changes something, as when it is suspended.
	ConditionReconciling = "Reconciling"
	ConditionStalled     = "Stalled"
	// ConditionFetched: the repository was read at the last attempt.
	ConditionFetched = "Fetched"
	// ConditionRendered: the path compiled without errors; false with reason Quarantined when some clusters are left out.
	ConditionRendered = "Rendered"
	// ConditionApplied: what could be rendered is in the management cluster.
	ConditionApplied = "Applied"
	// ConditionInSync: nobody has changed what Muster applied.
	ConditionInSync = "InSync"
	// ConditionScanned: the latest scan of every cluster was good. Ready doesn't depend on it.
	ConditionScanned = "Scanned"
	// ConditionWebhook: deliveries can be verified. It is there only with spec.webhook, and Ready doesn't depend on it.
	ConditionWebhook = "Webhook"
	// ConditionReported: the forge shows the commit statuses as they should be. It is there only with spec.forge, and Ready
	// doesn't depend on it.
	ConditionReported = "Reported"
)

// AuditSync keeps the audit configs of its namespace true to a path of a Git repository.
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

// AuditSyncSpec says what is applied, from where, and with which policy.
type AuditSyncSpec struct {
	// The Git repository.
	Source Source `json:"source"`

	// The folder of the repository that holds the cluster files, relative to its root. Default: the root.
	// +kubebuilder:default="./"
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(p, p == '..')",message="the path is relative to the root of the repository and stays within it"
	// +optional
	Path string `json:"path,omitempty"`

	// How often the repository is asked for changes, as a duration such as 5m; at least 5s. A sync can be asked for at any
	// time with the annotation muster.dev/reconcile-requested-at.
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s')",message="the interval is at least 5s"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// The keys that open SOPS-encrypted files. Without it, a path with encrypted files can't be applied.
	// +optional
	Decryption *Decryption `json:"decryption,omitempty"`

	// The MondooAuditConfig that gets the clusters when the path holds none: one that exists in the namespace, installed by
	// Helm or from Mondoo's console. Muster then owns its list of external clusters and touches nothing else of it.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	AuditConfig string `json:"auditConfig,omitempty"`

	// What audit configs in the repository may have beyond harmless fields.
	// +optional
	AuditConfigs AuditConfigs `json:"auditConfigs,omitempty"`

	// The Vault servers that clusters may name in vaultAuth.
	// +optional
	VaultAuth VaultAuth `json:"vaultAuth,omitempty"`

	// What happens when a live object differs from what Muster applied while Git has not changed: Correct puts it right at
	// once; Report only says so.
	// +kubebuilder:validation:Enum=Correct;Report
	// +kubebuilder:default=Correct
	// +optional
	Drift DriftPolicy `json:"drift,omitempty"`

	// What happens to clusters and Secrets that are no longer in Git.
	// +kubebuilder:default={}
	// +optional
	Prune Prune `json:"prune,omitempty"`

	// What happens to entries of the audit config that are in no file and that Muster never applied: Keep leaves and reports
	// them, Remove removes them. More than prune.maxRemovals allows of the audit config's entries waits for an approval, and so
	// do all while a file can't be read.
	// +kubebuilder:validation:Enum=Keep;Remove
	// +kubebuilder:default=Keep
	// +optional
	ForeignClusters ForeignPolicy `json:"foreignClusters,omitempty"`

	// What happens to what Muster applied when the AuditSync is deleted: Orphan leaves everything as it is, Delete removes it.
	// +kubebuilder:validation:Enum=Orphan;Delete
	// +kubebuilder:default=Orphan
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// Stops everything: no fetch, no apply, no correction of drift. Commit statuses that are pending are ended.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Lets the forge ask for a sync as soon as something is pushed. The interval stays, for what gets lost on the way.
	// +optional
	Webhook *Webhook `json:"webhook,omitempty"`

	// Tells the forge by commit statuses what became of each commit: whether it is valid and applied, whether somebody has
	// changed what it applied, and whether its clusters were scanned.
	// +optional
	Forge *Forge `json:"forge,omitempty"`

	// Scans a cluster that has changed once at once, rather than at its next scheduled time.
	// +kubebuilder:default={}
	// +optional
	ScanOnChange ScanOnChange `json:"scanOnChange,omitempty"`

	// The ServiceAccount of this namespace in whose name Muster applies; its rights bound what this AuditSync can change.
	// Default: Muster's own.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

// AuditConfigs says what audit configs in the repository may have.
type AuditConfigs struct {
	// Fields of MondooAuditConfigs that name a Secret, choose the code that runs, or change its rights, each as it is written below
	// spec: FIELD=VALUE allows one value, such as mondooCredsSecretRef=mondoo-client or scanner.image.tag=13.3.0; FIELD any value and
	// all fields below it, such as nodes.jobOverrides. Lists are passed through: scanner.env. A field that names a Secret, at
	// whatever depth, needs the Secret's name: scanner.env.valueFrom.secretKeyRef=proxy. Secrets that an AuditSync uses itself, and
	// those that Muster makes of inline credentials, are never allowed.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^[^=[:space:].]+([.][^=[:space:].]+)*(=.+)?$'))",message="an entry is FIELD or FIELD=VALUE, such as scanner.image.tag=13.3.0"
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.contains('=') || !a.matches('(?i)secret(key)?refs?$'))",message="a field that names a Secret is allowed for one name: FIELD=NAME, such as mondooCredsSecretRef=mondoo-client"
	// +listType=set
	// +optional
	Allow []string `json:"allow,omitempty"`
}

// VaultAuth says where the operator may log in for clusters.
type VaultAuth struct {
	// The servers, as https://host or https://host:port. The operator sends its own ServiceAccount's token to the server that a
	// cluster names, so a cluster that names another one is left out.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^https://[^/?#@%[:space:]]+/?$'))",message="an address is https://host or https://host:port, without a path or credentials"
	// +listType=set
	// +optional
	Addresses []string `json:"addresses,omitempty"`
}

// Source is a Git repository and what to take of it.
type Source struct {
	// The address: https://host/path, or ssh://user@host/path. http:// is taken for loopback addresses alone. It holds no
	// credentials; these are in secretRef.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https?|ssh)://')",message="the address starts with https:// or ssh://; write git@host:path as ssh://git@host/path"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*@') && !self.matches('^ssh://[^/@]*:[^/@]*@')",message="the address must not hold credentials; put them into the Secret of secretRef"
	URL string `json:"url"`

	// What to follow. Default: the repository's default branch.
	// +optional
	Ref *Ref `json:"ref,omitempty"`

	// The Secret with the credentials. Keys, as Flux has them: username and password, or bearerToken; identity, known_hosts
	// and password (the passphrase) for ssh; caFile for a private CA.
	// +optional
	SecretRef *SecretRef `json:"secretRef,omitempty"`

	// Applies only commits that are signed with one of these keys. A commit that is not leaves everything as it was. What is
	// verified is the commit that would be applied; signatures of tags, and of the commits before it, are not looked at.
	// +optional
	Verify *Verify `json:"verify,omitempty"`

	// How long one fetch may take. Default: 60s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// Ref selects a commit. Of several fields, commit goes before semver, tag and branch, in this order.
//
// +kubebuilder:validation:XValidation:rule="(has(self.semver) ? 1 : 0) + (has(self.tag) ? 1 : 0) + (has(self.branch) ? 1 : 0) <= 1",message="give one of branch, tag and semver"
// +kubebuilder:validation:XValidation:rule="!(has(self.commit) && has(self.semver))",message="a commit and a range of versions exclude each other"
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
	// One commit by its full hash. With branch, it is looked for there.
	// +kubebuilder:validation:Pattern="^[0-9a-f]{40}$"
	// +optional
	Commit string `json:"commit,omitempty"`
}

// Verify says whose signatures are accepted.
type Verify struct {
	// The Secret with the public keys. Fields named NAME.asc hold armored PGP keys, as in Flux; fields named NAME.pub and
	// authorized_keys hold SSH keys, one a line; allowed_signers holds them with principals, which are not compared.
	SecretRef SecretRef `json:"secretRef"`

	// Applies only descendants of the commit that was applied last. Otherwise whoever may force-push, or runs the Git server, can
	// bring back an older signed commit, and with it a cluster that was removed or a token that was replaced. When the branch is
	// rewritten, or url or ref lead to another history, set it to false until that is applied.
	// +optional
	Monotonic bool `json:"monotonic,omitempty"`
}

// SecretRef names a Secret of the AuditSync's namespace.
type SecretRef struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Webhook says who may send to this AuditSync's receiver, whose path is status.webhookPath.
type Webhook struct {
	// The Secret with what the forge proves itself with, in the field token, as Flux has it: the webhook's secret, GitLab's
	// secret token, or, when it begins with whsec_, a signing token of GitLab or of another sender of Standard Webhooks; of 16
	// bytes at least. While it is being changed, the field previousToken holds the one before, which is taken as well.
	SecretRef SecretRef `json:"secretRef"`

	// The kind of webhook that is taken: github, gitlab, gitea or forgejo (which are the same), or generic, for any sender that
	// puts the HMAC-SHA256 of the body into X-Signature or X-Hub-Signature as sha256=…, or that follows Standard Webhooks. auto
	// goes by the host of the repository where that is a public forge, and otherwise by the delivery's headers.
	// +kubebuilder:validation:Enum=auto;github;gitlab;gitea;forgejo;generic
	// +kubebuilder:default=auto
	// +optional
	Provider string `json:"provider,omitempty"`
}

// Forge says where commit statuses go, and as whom.
type Forge struct {
	// github, gitlab or gitea, which stands for Forgejo too. Default: what the host of the repository's address tells, for the
	// public forges.
	// +kubebuilder:validation:Enum=github;gitlab;gitea
	// +optional
	Provider string `json:"provider,omitempty"`

	// The address of the server or of its API, as https://host or https://host/path, where it isn't at the host of the
	// repository's address. http:// is taken for loopback addresses alone.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[^/?#@%[:space:]]+(/[^?#@[:space:]]*)?$') || self.matches('^http://(localhost|127[.]0[.]0[.]1|[[]::1[]])(:[0-9]+)?(/[^?#@[:space:]]*)?$')",message="an address is https://host or https://host/path, without credentials or a query; http:// is for loopback alone"
	// +optional
	APIURL string `json:"apiURL,omitempty"`

	// The Secret with what statuses are set as: token, an access token that may set commit statuses; or bearerToken; or username
	// and password; or githubAppID, githubAppInstallationID and githubAppPrivateKey. Beside it caFile for a private CA, and
	// proxy. It may be that of the repository.
	SecretRef SecretRef `json:"secretRef"`

	// The name of the status; those for drift and scans have it with /drift and /scan. Two AuditSyncs that follow the same
	// repository, in other namespaces or clusters, need different ones, or each overwrites what the other has said. Default:
	// muster/ and the name of the AuditSync.
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:Pattern="^[A-Za-z0-9]([A-Za-z0-9._/:@-]*[A-Za-z0-9])?$"
	// +optional
	Context string `json:"context,omitempty"`
}

// Decryption says where the keys for SOPS are, and which key services may be asked for them. A file only ever chooses among
// the servers and keys that are named here.
type Decryption struct {
	// The Secret with the keys and credentials, named as in Flux, so that its sops-age and sops-gpg Secrets serve. Fields whose
	// names end in .agekey hold age identities, those that end in .asc armored PGP private keys without passphrase. The fields
	// sops.vault-token, sops.aws-kms, sops.gcp-kms and sops.azure-kv hold the credentials of key services.
	SecretRef SecretRef `json:"secretRef"`

	// The Vault servers whose transit engine may be asked. The Secret then has a token in the field sops.vault-token, and for
	// a server with a private CA its certificate in vault.ca.crt. What the token may decrypt is up to its policy in Vault.
	// +optional
	Vault *VaultDecryption `json:"vault,omitempty"`

	// The AWS KMS keys that may be asked for. The Secret then has aws_access_key_id, aws_secret_access_key and, if need be,
	// aws_session_token in the field sops.aws-kms.
	// +optional
	AWS *AWSDecryption `json:"aws,omitempty"`

	// The Google Cloud KMS keys that may be asked for. The Secret then has the JSON key of a service account in the field
	// sops.gcp-kms.
	// +optional
	GCP *GCPDecryption `json:"gcp,omitempty"`

	// The Azure Key Vault keys that may be asked for. The Secret then has a service principal in the field sops.azure-kv.
	// +optional
	Azure *AzureDecryption `json:"azure,omitempty"`
}

// VaultDecryption names Vault servers.
type VaultDecryption struct {
	// The servers, as https://host or https://host:port, each as the files name it. http:// is taken for loopback addresses
	// alone.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^https://[^/?#@%[:space:]]+/?$') || a.matches('^http://(localhost|127[.]0[.]0[.]1|[[]::1[]])(:[0-9]+)?/?$'))",message="an address is https://host or https://host:port, without a path or credentials; http:// is for loopback alone"
	// +listType=set
	Addresses []string `json:"addresses"`

	// The namespace of Vault Enterprise that the engine is in. Default: the root.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern="^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?$"
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// AWSDecryption names keys of AWS KMS.
type AWSDecryption struct {
	// ARNs of keys and aliases, as the files name them. A * may stand at the end, after the account, such as
	// arn:aws:kms:eu-west-1:111122223333:key/*.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^arn:aws(-[a-z-]+)?:kms:[a-z0-9-]+:[0-9]{12}:([*]|(key|alias)/[A-Za-z0-9/_-]*[*]?)$'))",message="a key is arn:aws:kms:REGION:ACCOUNT:key/ID; a * may stand at the end, after the account"
	// +listType=set
	Keys []string `json:"keys"`

	// ARNs of the roles that may be assumed when a file names a role.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^arn:aws(-[a-z-]+)?:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@/_-]+$'))",message="a role is arn:aws:iam::ACCOUNT:role/NAME"
	// +listType=set
	// +optional
	Roles []string `json:"roles,omitempty"`
}

// GCPDecryption names keys of Google Cloud KMS.
type GCPDecryption struct {
	// Resource IDs, as projects/P/locations/L/keyRings/R/cryptoKeys/K. A * may stand at the end, after the project, such as
	// projects/fleet/*.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^projects/[a-z0-9.:-]+/([*]|locations/[A-Za-z0-9/_-]*[*]?)$'))",message="a key is projects/P/locations/L/keyRings/R/cryptoKeys/K; a * may stand at the end, after the project"
	// +listType=set
	Keys []string `json:"keys"`
}

// AzureDecryption names keys of Azure Key Vault.
type AzureDecryption struct {
	// Key identifiers, as https://NAME.vault.azure.net/keys/KEY/VERSION. A * may stand at the end, after the host, such as
	// https://fleet.vault.azure.net/*.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^https://[a-z0-9-]+[.](vault[.]azure[.]net|managedhsm[.]azure[.]net|vault[.]azure[.]cn|vault[.]usgovcloudapi[.]net|managedhsm[.]usgovcloudapi[.]net)/([*]|keys/[A-Za-z0-9/-]*[*]?)$'))",message="a key is https://NAME.vault.azure.net/keys/KEY/VERSION; a * may stand at the end, after the host"
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

// Prune says how removals are handled.
type Prune struct {
	// Whether what is no longer in Git is removed.
	// +kubebuilder:default=true
	// +optional
	Enabled *bool `json:"enabled,omitempty"`

	// How many clusters and Secrets one change may remove, as a number or a percentage of what is applied; a percentage always
	// allows one. More than that waits until somebody approves exactly this with the annotation
	// muster.dev/approve-removals and the value that the status gives; everything else is applied meanwhile.
	// +kubebuilder:default="25%"
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : self.matches('^(100|[0-9]{1,2})%$')",message="a number from 0, or a percentage from 0% to 100%"
	// +optional
	MaxRemovals *intstr.IntOrString `json:"maxRemovals,omitempty"`
}

// ScanOnChange says how clusters are scanned that have changed: by a Job made from the operator's CronJob, as kubectl create
// job --from makes it, once the operator has taken the change over.
type ScanOnChange struct {
	// Whether changed clusters are scanned at once.
	// +kubebuilder:default=true
	// +optional
	Enabled *bool `json:"enabled,omitempty"`

	// How many of these scans run at a time. Up to 100 changed clusters wait for their turn; what a change has beyond that, such
	// as a fleet that is applied for the first time, is scanned as scheduled.
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +optional
	Concurrency int32 `json:"concurrency,omitempty"`
}

// On says whether changed clusters are scanned at once.
func (s ScanOnChange) On() bool { return s.Enabled == nil || *s.Enabled }

// AtOnce is how many of these scans run at a time.
func (s ScanOnChange) AtOnce() int {
	const standard = 5
	if s.Concurrency < 1 {
		return standard
	}
	return int(s.Concurrency)
}

// AuditSyncStatus is what became of the last revisions.
type AuditSyncStatus struct {
	// The generation that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Ready, Fetched, Rendered, Applied, InSync and Scanned; with spec.webhook Webhook, and with spec.forge Reported; while they
	// hold, Reconciling and Stalled.
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

	// The value of the annotation muster.dev/reconcile-requested-at that was last acted upon.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// The path of the webhook's receiver, below the address under which Muster's Service muster-webhook is reached.
	// +optional
	WebhookPath string `json:"webhookPath,omitempty"`

	// What the revision that was last applied has changed.
	// +optional
	LastChanges string `json:"lastChanges,omitempty"`

	// What was last put right of the revision that was last applied, after somebody had changed it by hand.
	// +optional
	LastCorrection string `json:"lastCorrection,omitempty"`

	// Revisions with a commit status that is pending, so that none is left so when nobody will answer for it any more.
	// +kubebuilder:validation:MaxItems=20
	// +listType=atomic
	// +optional
	PendingRevisions []string `json:"pendingRevisions,omitempty"`

	// Where the statuses of pendingRevisions are shown, so that they can be ended there after spec has changed.
	// +optional
	PendingAt *ReportPlace `json:"pendingAt,omitempty"`

	// How many clusters the path has, and what state they are in.
	// +optional
	Clusters *ClusterCounts `json:"clusters,omitempty"`

	// The findings of the last revision, gravest first: 50 at most.
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +optional
	Problems []Problem `json:"problems,omitempty"`

	// How many more problems there are than are listed.
	// +optional
	MoreProblems int32 `json:"moreProblems,omitempty"`
}

// ReportPlace is where commit statuses are shown: spec.forge and the repository as they were. No credentials are sent to an
// address because it stands here alone.
type ReportPlace struct {
	// +optional
	Provider string `json:"provider,omitempty"`
	// The repository's Git address.
	URL string `json:"url"`
	// +optional
	APIURL string `json:"apiURL,omitempty"`
	// The name of the status about the commit itself.
	Context string `json:"context"`
}

// ClusterCounts counts clusters by state.
type ClusterCounts struct {
	// In the path.
	Total int32 `json:"total"`
	// In the management cluster as the path says.
	Applied int32 `json:"applied"`
	// Left out because of an error; what was applied for them before stays.
	Quarantined int32 `json:"quarantined"`
	// Removals that wait for an approval: of clusters, and of Secrets and audit configs beside them.
	// +optional
	Held int32 `json:"held,omitempty"`
	// In the audit configs and in no file.
	// +optional
	Foreign int32 `json:"foreign,omitempty"`
	// Applied, and not scanned yet.
	// +optional
	Awaiting int32 `json:"awaiting,omitempty"`
	// Whose latest scan was good.
	// +optional
	Passing int32 `json:"passing,omitempty"`
	// Whose latest scan has failed or can't start, that are overdue, or that the operator has not taken over.
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
	// The place in the repository, as path:line:column.
	// +optional
	Place string `json:"place,omitempty"`
	// The cause.
	Message string `json:"message"`
	// The way out.
	// +optional
	Fix string `json:"fix,omitempty"`
}
