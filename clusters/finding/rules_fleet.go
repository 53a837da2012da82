package finding

// fleetRules are about what files make together: audit configs, Secrets, and clusters side by side.
var fleetRules = []Rule{
	{Code: "audit-config", Severities: errorOnly, Cause: "There is no MondooAuditConfig for a cluster, more than one without a choice, or one that can't be read or applied.",
		Fix: "name an audit config that is there in spec.auditConfig, or correct it", Example: "auditConfig: nowhere"},
	{Code: "kind", Severities: errorOnly, Cause: "An object is of a kind that is not for Muster, which applies ExternalCluster, Secret and MondooAuditConfig.",
		Fix: "apply it with another tool; take it out of the kustomization, or list its file in .musterignore", Example: "kind: ConfigMap"},
	{Code: "namespace", Severities: errorOnly, Cause: "An object is for another namespace than the AuditSync's, the only one that Muster writes to.",
		Fix: "leave the namespace out", Example: "kind: Secret\nmetadata: {name: s, namespace: kube-system}"},
	{Code: "registry-workload-identity", Severities: warningInfo, Cause: "The audit config's workload identity for registries will not serve a cluster: the operator uses it only where the cluster itself authenticates by workload identity, scans images, and has no pull secret.",
		Fix: "give the cluster privateRegistries, or authenticate it by workloadIdentity; with a pull secret the identity is not used", Example: "kubeconfigSecretRef: {name: eu}\ncontainerImageScanning: true\n# and in the audit config: containers.workloadIdentity"},
	{Code: "same-minute", Severities: warningOnly, Cause: "Ten or more clusters of an audit config begin their scans in the same minute, which is that many Pods at once in the management cluster.",
		Fix: "write H for the minute, as in \"H * * * *\": a number that is stable for each cluster and spread evenly over the fleet", Example: "schedule: \"0 3 * * *\"  # in ten files, or inherited by ten clusters"},
	{Code: "scan-name", Severities: warningOnly, Cause: "The operator's name for the CronJob of a cluster is also that for a cluster of another audit config, and each of the two would overwrite the other's.",
		Fix: "give one of the two clusters another name", Example: "name: eu-prod  # in the audit config mondoo-client, and prod in mondoo-client-eu"},
	{Code: "secret-form", Severities: errorOnly, Cause: "The API server would refuse a Secret for its name, a key, a label, an annotation, or for want of a key that its type asks for.",
		Fix: "correct what the message names", Example: "stringData:\n  \"pass word\": …"},
	{Code: "secret-key", Severities: errorOnly, Cause: "A Secret lacks the key that the operator reads; nobody would report it, and the scan's Pod would never start.",
		Fix: "add the key to the Secret", Example: "kubeconfigSecretRef: {name: s}  # and s has the key config"},
	{Code: "secret-kind", Severities: errorOnly, Cause: "A Secret is of a type that Kubernetes fills in or acts upon itself.",
		Fix: "leave type out, or use Opaque", Example: "type: kubernetes.io/service-account-token"},
	{Code: "secret-name", Severities: errorOnly, Cause: "Two Secrets have one name, or a cluster refers to a Secret that was made for another cluster or has an error.",
		Fix: "give the Secret another name, or the cluster credentials of its own", Example: "metadata:\n  name: mondoo-client-eu-1-kubeconfig"},
	{Code: "spiffe-pod-security", Severities: warningOnly, Cause: "The namespace enforces Pod Security baseline or restricted, which refuses the scanner's Pod: SPIFFE mounts the agent's socket by hostPath.",
		Fix: "enforce privileged in the operator's namespace, or authenticate in another way", Example: "spiffeAuth: {…}\n# and on the namespace: pod-security.kubernetes.io/enforce: restricted"},
	{Code: "view-role", Severities: infoOnly, Cause: "Clusters authenticate with a ServiceAccount's token. Mondoo's own guide binds such an account to the role view, which can't see nodes, Secrets, RBAC objects and most custom resources: the scan is then partial.",
		Fix: "bind a ClusterRole with get, list and watch on all resources to the account instead", Example: "serviceAccountAuth: {…}\n# and there: kubectl create clusterrolebinding scan --clusterrole=view"},
}
