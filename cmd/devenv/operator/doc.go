// Package operator stands in for the Mondoo Operator and for the kubelet, so that Muster's tests and its demo can show the
// whole loop: entries of a MondooAuditConfig become CronJobs, Jobs get done, statuses change.
//
// It is not Mondoo's operator, has nothing of its code, and scans nothing. What it does with audit configs is listed in
// Behaviours, each with the version of the operator in which it was seen and how to see it again; TestConformance has it show
// each. Logins to Vault always succeed, unless the Scenario says otherwise, and clouds are not asked for anything.
//
// CronJobs become Jobs and Pods by the real kube-controller-manager. There are no nodes, so this package also reports on the
// Pods as a kubelet would, with the outcomes that the ConfigMap named ScenarioName asks for; Scenario describes it.
package operator
