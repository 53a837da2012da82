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
// The namespace's level of Pod Security is the one exception: it is read before each render and when a sync is asked for.
//
// CronJobs, Jobs and Pods of scans are watched as well, cut down to what scan looks at. News of them are gathered for a second,
// and whatever only the clock changes is computed beforehand, so that nothing polls.
//
// Every replica receives webhooks, and asks for a sync as people do, by an annotation. The replica that leads works.
package controllers
