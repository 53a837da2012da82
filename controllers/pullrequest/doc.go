// Package pullrequest answers pull requests: with a commit status on the head that a merge would bring, and a comment that
// lists what the merge would do. It runs beside the reconciler, in a separate queue, and never delays a sync.
//
// What should be shown is computed, what is shown is read, and the difference is written. So a restart, a lost webhook or a
// deleted comment changes nothing in the end. There is one comment for each AuditSync and pull request, found by a marker and
// by the account that wrote it.
//
// Whoever may open a pull request is untrusted. The head of a fork is checked without keys (review.Keyless) until a user whom
// the forge says may write allows this one head with a comment "/muster check SHA". What is fetched for pull requests is in a
// separate clone, with tighter limits than the branch's.
package pullrequest
