// Package controllers syncs management clusters with Git.
//
// Reconciler syncs one AuditSync: it fetches a commit, renders it, compares it with the live objects, applies the difference, and
// reports. Other packages decide what happens in each stage, as functions of values: gitsync reads repositories, clusters renders and
// plans, report computes status, events and metrics. Only this package applies anything, and only its Reconcile logs.
//
// Reads go through caches. A sync without changes costs one request to the Git server per interval and none to the API server. It
// doesn't even read the caches: watches count changes, and a sync whose inputs are those of a settled one ends at once (settled.go). Live
// objects are watched, and drift is corrected as soon as it happens.
//
// The namespace's Pod Security level is the one exception: it is read before each render and when a sync is requested.
//
// Between syncs, what was applied is stored in ConfigMaps (package clusters/inventory), and results are in the AuditSync's status. All
// else is in memory (state.go) or in the cache of repositories (package gitsync), and may be lost at any time.
//
// What works beside the reconciler is a separate package, which setup.go wires: commitstatus posts commit statuses, receiver turns
// webhooks into requested syncs, scans observes the scans of clusters and starts those of changed clusters, preflights checks credentials,
// and renewals renews tokens.
package controllers
