// Package receiver turns webhooks into requested syncs.
//
// It owns the listener with its certificate, the lookup of the AuditSync and the secrets that a webhook is for, and the requests: many
// webhooks for one AuditSync become one request a second at most, and the last is never lost while the process lives. A sync is requested
// by annotation, as users do. So any replica can receive webhooks, and the leader runs the syncs.
//
// It never verifies or parses a delivery, which is done by gitsync/webhook, and never syncs. It writes that annotation and nothing else.
//
// The main types are Config (what flags set), Receiver (made by New, and run by the manager) and requests (what still has to be
// requested). Secrets reads the Secret of a webhook, also for whoever reports that it can't be used.
package receiver
