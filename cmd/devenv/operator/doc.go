// Package operator is a stand-in for the Mondoo Operator and for the kubelet, so that Muster's tests and its demo can show
// the whole loop: entries of a MondooAuditConfig become CronJobs, Jobs complete, statuses change.
//
// It is not Mondoo's operator, contains none of its code, and scans nothing. Behaviours lists how it handles audit configs,
// each with the version of the operator in which that was observed and how to see it again; TestConformance shows each of
// them. Logins to Vault always succeed, unless the Scenario says otherwise, and no request goes to a cloud.
//
// The real kube-controller-manager turns CronJobs into Jobs and Pods. There are no nodes, so this package also reports the
// status of Pods as a kubelet would, with the outcomes from the ConfigMap named ScenarioName; see Scenario.
package operator
