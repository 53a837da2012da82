// Package controllers keeps management clusters true to Git.
//
// Reconciler is the story of one AuditSync: fetch a commit, render it, compare it with what is there, apply the difference,
// report. What happens in each chapter is decided elsewhere, by functions of values: gitsync reads repositories, clusters
// renders and plans, report says what came of it. Only this package talks to the management cluster, and only Reconcile
// and the receiver of webhooks log.
//
// Everything is read through caches, so that a sync with nothing to do costs one request to the Git server at each interval
// and none to the API server. Live objects are watched, and put right as soon as somebody changes them.
//
// Every replica receives webhooks, and asks for a sync as people do, by an annotation. The replica that leads works.
package controllers
