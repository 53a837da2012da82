package finding

// liveRules are about what is in the management cluster already.
var liveRules = []Rule{
	{Code: "audit-config-missing", Severities: errorOnly, Cause: "The audit config is neither in the repository nor in the management cluster, or has no list to put clusters into.",
		Fix: "install it (with Helm or from Mondoo's console), or put it into the repository", Example: "spec.auditConfig: mondoo-client, in an empty namespace"},
	{Code: "audit-config-owned", Severities: errorOnly, Cause: "Another AuditSync drives the audit config.",
		Fix: "let one AuditSync drive it: name another audit config, or delete the other AuditSync", Example: "two AuditSyncs with one auditConfig"},
	{Code: "audit-config-size", Severities: errorOnly, Cause: "An audit config with all its clusters would not fit into one Kubernetes object.",
		Fix: "split the clusters over several audit configs, with spec.auditConfig", Example: "some 3,000 clusters in one audit config"},
	{Code: "field-not-kept", Severities: warningOnly, Cause: "A field is gone every time after Muster has applied it: the API server or the operator drops it. InSync is False. No other field is given in to.",
		Fix: "take it out of the file, or upgrade the operator", Example: "a field that the installed operator does not know"},
	{Code: "foreign-cluster", Severities: infoOnly, Cause: "An audit config has entries that come from no file.",
		Fix: "write cluster files for them, or set foreignClusters: Remove", Example: "a cluster that was added by hand"},
	{Code: "removals-held", Severities: warningOnly, Cause: "A commit removes more than spec.prune.maxRemovals allows, a whole audit config, what a file may still hold that can't be read or is empty, or a Secret that is still named; the removals wait.",
		Fix: "approve exactly these removals with the annotation that the message gives, or bring the files back", Example: "a folder renamed in Git"},
	{Code: "secret-foreign", Severities: errorOnly, Cause: "There is a Secret of that name which Muster did not make.",
		Fix: "delete it, or annotate it with muster.dev/adopt to let Muster take it over", Example: "a Secret that was made by hand"},
	{Code: "secret-in-use", Severities: errorOnly, Cause: "A Secret that an AuditSync uses itself is neither changed from a repository nor given to a cluster.",
		Fix: "give it another name, or the cluster credentials of its own", Example: "kubeconfigSecretRef: {name: sops-keys}"},
	{Code: "secret-missing", Severities: warningOnly, Cause: "A cluster names a Secret that does not exist; nobody would report it, and the scan's Pod would never start.",
		Fix: "make the Secret with the keys that the message names, or correct the name", Example: "kubeconfigSecretRef: {name: tpyo}"},
	{Code: "secret-of-other", Severities: errorOnly, Cause: "A cluster or an audit config names a Secret with the credentials of a cluster file, which are for that cluster alone, or a manifest has its name; or a cluster names a token of another AuditSync.",
		Fix: "give the cluster credentials of its own, or the Secret another name", Example: "kubeconfigSecretRef: {name: mondoo-client-other-kubeconfig}"},
	{Code: "secret-owned", Severities: errorOnly, Cause: "A Secret of that name belongs to another AuditSync.",
		Fix: "give it another name", Example: "two AuditSyncs whose repositories have one Secret"},
	{Code: "secret-type", Severities: errorOnly, Cause: "A Secret has another type than it should have, which Kubernetes can't change.",
		Fix: "delete the Secret, and Muster makes it anew", Example: "a Secret made as kubernetes.io/dockercfg"},
}
