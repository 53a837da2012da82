// Package commitstatus posts the commit statuses of AuditSyncs to their forges.
//
// It owns what each AuditSync wants its forge to show, what the forge is known to show, and the list of pending statuses in the status of
// the AuditSync, which outlives the process. From these follow its promises: a status is never posted twice, even if an earlier process or
// another replica posted it; a pending status is always ended, with the cause; only the newest wanted statuses count; a slow or broken
// forge delays neither syncs nor, for long, another forge; and while nothing changes, no request is sent.
//
// It never decides what a status says: package report does. It never writes conditions: it asks for a sync when the condition Reported
// must change, and the reconciler writes it. It never sends credentials to a server that spec.forge doesn't name.
//
// The main types are Reporter (made by New, run by the manager, and told by the reconciler what to show) and poster. A poster has one
// repository on a forge show some statuses: it reads, posts only the differences, and keeps to the limits. It knows nothing of AuditSyncs.
package commitstatus
