// Package operator stands in for the Mondoo Operator and for the kubelet, so that Muster's tests and its demo can show the
// whole loop: entries of a MondooAuditConfig become CronJobs, Jobs get done, statuses change.
//
// It is not Mondoo's operator, has nothing of its code, and scans nothing. It does what is documented of v13.3.0 for external
// clusters: it works through the entries in order and stops at the first that it can't use; it makes one CronJob an entry,
// with the operator's names and labels, with the audit config's schedule where the entry has none, and suspended while
// status.scanningPaused is set; changing a CronJob deletes its finished Jobs, and removed entries lose theirs; it writes
// audit configs back with plain updates, in canonical form, with a finalizer and default schedules. Logins to Vault always
// succeed, unless the Scenario says otherwise, and clouds are not asked for anything.
//
// CronJobs become Jobs and Pods by the real kube-controller-manager. There are no nodes, so this package also reports on the
// Pods as a kubelet would, with the outcomes that the ConfigMap named ScenarioName asks for; Scenario describes it.
package operator
