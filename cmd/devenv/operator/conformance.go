package operator

// Behaviour is something that the operator does and Muster relies on, or guards against.
type Behaviour struct {
	// Name is that of the subtest of TestConformance in which the stand-in shows it.
	Name string
	// Does says what the operator does, and Check how to see it by hand with a real one in a namespace of its own.
	Does, Check string
	// Seen is the version of the operator in which it was seen.
	Seen string
}

// tried is the version of the operator that ran against what Muster applied.
const tried = "v13.3.0"

// Behaviours are all that the stand-in plays. To check a newer operator, go through them by hand: each takes a minute or two.
var Behaviours = []Behaviour{
	{"order", "works through the entries in order, and stops at the first that it can't use; what comes later gets no CronJob, and removed entries keep theirs",
		"apply three entries, the second without an authentication method; list CronJobs", tried},
	{"names", "labels CronJobs app=mondoo-k8s-scan, scan=k8s, mondoo_cr and cluster_name, names them mondoo-k8s-scan[-integration]-cluster, and owns them",
		"kubectl get cronjobs --show-labels", tried},
	{"inherited schedule", "gives a CronJob the audit config's schedule where the entry has none", "leave out an entry's schedule", tried},
	{"rewrites", "writes audit configs back: a finalizer, schedules, empty structs, durations and quantities as Go prints them (90m becomes 1h30m0s)",
		"apply kubernetesResources.activeDeadline: 90m, and read it back", tried},
	{"deletes Jobs", "updates the CronJob of each service account cluster at each reconcile, and deletes that CronJob's Jobs with status.active 0, also those that have not begun, by the four labels alone",
		"kubectl create job --from a service account cluster's CronJob; annotate the audit config once it is done", tried},
	{"keeps other Jobs", "leaves the Jobs of other clusters alone while their CronJobs stay as they are, and Jobs without the four labels for good",
		"the same with a kubeconfig cluster, and with a Job that has only the owner reference", tried},
	{"triggers", "reconciles at any change of an audit config, an annotation too, and at any change of its CronJobs, their status too",
		"annotate the audit config, and watch Vault's Secret or the Jobs of a service account cluster", tried},
	{"ingredients", "makes the ConfigMaps A-k8s-inventory-C and A-sa-kubeconfig-C, and rewrites the Secret A-vault-kubeconfig-C at each reconcile",
		"kubectl get configmaps,secrets", tried},
	{"Vault", "stops at an entry whose login to Vault fails, or whose CA Secret is missing", "seal Vault, or name a Secret that doesn't exist", tried},
	{"undecodable", "serves no audit config of the management cluster while one has a duration or quantity that Go can't read (activeDeadline: 1d)",
		"apply two audit configs, one with activeDeadline: 1d", tried},
	{"credentials", "makes nothing without the Secret of mondooCredsSecretRef, nor with spaceId where that Secret is no JSON",
		"name a Secret that doesn't exist", tried},
	{"registries", "ends in a nil pointer at the first workload identity cluster with images, where containers.workloadIdentity has no block of its provider",
		"set containers.workloadIdentity: {provider: gke} alone", tried},
	{"annotations", "passes over an audit config whose annotations have an empty key or value, or one over 256 characters", "set a long annotation", tried},
	{"own Secrets", "deletes Secrets named A-config-override, A-scan-api-token and A-private-registries-merged", "create one", tried},
	{"foreign CronJob", "stops at an entry whose CronJob another audit config owns", "two audit configs, mondoo-client with x-y, and mondoo-client-x with y", tried},
	{"paused", "suspends all CronJobs while status.scanningPaused is set", "pause the integration in Mondoo's console", tried},
}
