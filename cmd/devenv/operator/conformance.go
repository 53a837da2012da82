package operator

// Behaviour is a behaviour of the operator that Muster relies on, or guards against.
type Behaviour struct {
	// Name is the name of the subtest of TestConformance in which the stand-in shows it.
	Name string
	// Does is what the operator does, and Check is how to see it by hand with a real operator in a separate namespace.
	Does, Check string
	// Seen is the version of the operator in which it was observed.
	Seen string
}

// tried is the version of the operator that was run on the objects that Muster applied.
const tried = "v13.3.0"

// Behaviours are all behaviours that the stand-in imitates. To check a newer operator, go through them by hand: each takes a
// minute or two.
var Behaviours = []Behaviour{
	{"order", "processes the entries in order, and stops at the first that it can't use; later entries get no CronJob, and removed entries keep theirs",
		"apply three entries, the second without an authentication method; list CronJobs", tried},
	{"names", "labels CronJobs app=mondoo-k8s-scan, scan=k8s, mondoo_cr and cluster_name, names them mondoo-k8s-scan[-integration]-cluster, and owns them",
		"kubectl get cronjobs --show-labels", tried},
	{"inherited schedule", "uses the audit config's schedule for a CronJob if the entry has none", "leave out an entry's schedule", tried},
	{"rewrites", "writes audit configs back: a finalizer, schedules, empty structs, durations and quantities as Go prints them (90m becomes 1h30m0s)",
		"apply kubernetesResources.activeDeadline: 90m, and read it back", tried},
	{"deletes Jobs", "updates the CronJob of each service account cluster at each reconcile, and deletes that CronJob's Jobs with status.active 0, including those that have not started, by the four labels only",
		"kubectl create job --from a service account cluster's CronJob; annotate the audit config once it is done", tried},
	{"keeps other Jobs", "never deletes the Jobs of other clusters while their CronJobs are unchanged, nor Jobs without the four labels",
		"the same with a kubeconfig cluster, and with a Job that has only the owner reference", tried},
	{"triggers", "reconciles at any change of an audit config, including annotations, and at any change of its CronJobs, including their status",
		"annotate the audit config, and watch Vault's Secret or the Jobs of a service account cluster", tried},
	{"ingredients", "creates the ConfigMaps A-k8s-inventory-C and A-sa-kubeconfig-C, and rewrites the Secret A-vault-kubeconfig-C at each reconcile",
		"kubectl get configmaps,secrets", tried},
	{"Vault", "stops at an entry whose login to Vault fails, or whose CA Secret is missing", "seal Vault, or name a Secret that doesn't exist", tried},
	{"undecodable", "serves no audit config of the management cluster while one has a duration or quantity that Go can't parse (activeDeadline: 1d)",
		"apply two audit configs, one with activeDeadline: 1d", tried},
	{"credentials", "creates nothing without the Secret of mondooCredsSecretRef, nor with spaceId if that Secret is not JSON",
		"name a Secret that doesn't exist", tried},
	{"registries", "panics with a nil pointer at the first workload identity cluster with images if containers.workloadIdentity has no block for its provider",
		"set containers.workloadIdentity: {provider: gke} only", tried},
	{"annotations", "ignores an audit config whose annotations have an empty key or value, or one over 256 characters", "set a long annotation", tried},
	{"own Secrets", "deletes Secrets named A-config-override, A-scan-api-token and A-private-registries-merged", "create one", tried},
	{"foreign CronJob", "stops at an entry whose CronJob another audit config owns", "two audit configs, mondoo-client with x-y, and mondoo-client-x with y", tried},
	{"paused", "suspends all CronJobs while status.scanningPaused is set", "pause the integration in Mondoo's console", tried},
}
