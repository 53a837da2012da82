package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// Suffixes of the contexts of an AuditSync's commit statuses. The context for the commit itself has no suffix.
const (
	contextDrift = "/drift"
	contextScan  = "/scan"
)

// CommitStatus is the status that the forge should show for a commit in one context.
type CommitStatus struct {
	// Revision is the ref and its commit, as branch@sha1:commit.
	Revision string
	forge.Status
}

// Contexts returns the contexts of an AuditSync: for the commit itself, drift and scans.
func Contexts(sync *v1alpha1.AuditSync) []string {
	base := "muster/" + sync.Name
	if f := sync.Spec.Forge; f != nil {
		base = cmp.Or(f.Context, base)
	}
	return ContextsOf(base)
}

// PlanContext returns the context of the status on the head of a pull request.
func PlanContext(sync *v1alpha1.AuditSync) string { return Contexts(sync)[0] + "/plan" }

// ContextsOf returns all contexts, given the one for the commit itself.
func ContextsOf(base string) []string { return []string{base, base + contextDrift, base + contextScan} }

// CommitBegun returns the status for a revision whose sync has begun.
func CommitBegun(sync *v1alpha1.AuditSync, revision string) CommitStatus {
	return CommitStatus{Revision: revision, Status: forge.Status{Context: Contexts(sync)[0], State: forge.Pending,
		Description: "is being checked and applied"}}
}

func short(hash string) string { return hash[:min(len(hash), 10)] }

// CommitStatuses computes the commit statuses after a sync:
//   - for the synced revision, whether it is valid and applied;
//   - for the applied revision, whether it has drifted, and whether its clusters were scanned;
//   - for a commit that must not be applied, why.
//
// Unknown statuses are left out, so that the forge keeps showing the last one.
//
// Failure means that the commit is at fault, or that a user must decide. Error is any other trouble; it never replaces an earlier
// result. Sync is the AuditSync before the sync, and status its new status.
func CommitStatuses(sync *v1alpha1.AuditSync, status v1alpha1.AuditSyncStatus, o Outcome) []CommitStatus {
	var list []CommitStatus
	contexts := Contexts(sync)
	add := func(revision, context string, state forge.State, text string) {
		if state != "" && revision != "" {
			list = append(list, CommitStatus{revision, forge.Status{Context: context, State: state, Description: text}})
		}
	}
	if o.Refused != "" && o.Fetch != nil {
		add(o.Refused, contexts[0], forge.Failure, o.Fetch.Message)
	}
	state, text := applyAnswer(sync.Status.LastAppliedRevision == o.Revision, o)
	if !checksAgain(sync, o) {
		add(o.Revision, contexts[0], state, text)
	}
	state, text = driftAnswer(status, o)
	add(o.Revision, contexts[1], state, text)
	if state, text = scanAnswer(o.Scan); o.nothingToScan() {
		state = ""
	}
	add(status.LastAppliedRevision, contexts[2], state, text)
	return list
}

// applyAnswer returns the status for the revision itself. Answered is true if the revision was applied before. The returned state is
// empty if this sync has nothing new to report.
func applyAnswer(answered bool, o Outcome) (forge.State, string) {
	trouble := func(what, cause string) (forge.State, string) {
		if answered {
			return "", ""
		}
		return forge.Error, what + ": " + cause
	}
	switch {
	case o.Render != nil && o.Render.Reason == ReasonPathInvalid:
		return forge.Failure, o.Render.Message
	case o.Render != nil:
		return trouble("not checked yet", o.Render.Message)
	case o.Fleet == nil:
		return "", ""
	case o.Fleet.Stopped:
		return forge.Failure, "nothing was applied: " + brief(cause(o.Fleet.Findings))
	case o.Fleet.Retry:
		return trouble("not decrypted yet", brief(cause(o.Fleet.Findings)))
	case o.fleetErrors() > 0 && (o.Plan == nil || !o.refused()):
		return forge.Failure, quarantineAnswer(o)
	case o.Apply != nil && o.Apply.Reason == ReasonConflict:
		return "", "" // another client just changed the object; the next attempt, in a second, reads it again
	case o.Apply != nil:
		return trouble("not applied yet", o.Apply.Message)
	case o.Plan.Waiting:
		return trouble("not applied yet", brief(cause(o.Plan.Findings)))
	case planErrors(o) > 0:
		return forge.Failure, "not applied: " + brief(cause(o.Plan.Findings))
	case o.Plan.Held > 0:
		return forge.Failure, heldText(o)
	case o.pending() > 0, answered && o.Preflight != nil && o.Preflight.Pending > 0:
		return "", "" // the checks will tell; until then, what is shown stays
	}
	text := plural(len(o.Fleet.Clusters), "cluster") + " applied"
	if o.Changes != "" {
		text += ": " + o.Changes
	}
	if failed := failedText(o.Fleet.Findings); failed != "" {
		text += "; " + failed
	}
	return forge.Success, text
}

// quarantineAnswer names the first cause, and what the commit did change.
func quarantineAnswer(o Outcome) string {
	total, n := size(o.Fleet)
	first := brief(cause(o.Fleet.Findings))
	text := fmt.Sprintf("%d of %s can't be used: %s", n-o.pending(), plural(total, "cluster"), first)
	if n == o.pending() {
		text = "some files can't be used: " + first
	}
	if o.inForce() && o.Changes != "" {
		text += "; otherwise " + o.Changes
	}
	return text
}

// brief returns a finding as short text for a commit status: the place without the column, the cause, and then the fix, which a
// forge may cut off.
func brief(f *finding.Finding) string {
	if f == nil {
		return "see the status of the AuditSync"
	}
	place := *f
	place.Column = 0
	text := f.Message
	switch {
	case f.Path != "":
		text = place.Place() + ": " + text
	case f.Cluster != "":
		text = "cluster " + f.Cluster + ": " + text
	}
	if f.Fix != "" {
		text += "; " + f.Fix
	}
	return text
}

// driftAnswer returns the drift status of the synced revision, if it is also the applied one.
func driftAnswer(status v1alpha1.AuditSyncStatus, o Outcome) (forge.State, string) {
	if o.Plan != nil && len(o.Plan.Refused) > 0 && status.LastAppliedRevision == o.Revision {
		return forge.Failure, "not compared: " + brief(finding.Cause(o.Plan.Findings[len(o.Fleet.Findings):]))
	}
	if !o.compared() || status.LastAppliedRevision != o.Revision {
		return "", ""
	}
	drifted := o.Plan.Drifted()
	switch {
	case len(drifted) > 0 && !o.Corrects:
		return forge.Failure, "drift detected, not corrected: " + Drift(drifted)
	case len(drifted) > 0 && o.Apply != nil:
		return forge.Failure, "drift detected, not corrected yet: " + Drift(drifted)
	case o.Apply != nil:
		return "", ""
	case len(o.Plan.Contested)+len(o.Plan.NotKept) > 0:
		_, text := unkept(o.Plan)
		return forge.Failure, text
	case status.LastCorrection != "":
		return forge.Success, "drift corrected: " + status.LastCorrection
	}
	return forge.Success, "in sync"
}

// scanAnswer returns the status for a verdict. While scans are pending, the text doesn't depend on how many have ended. Otherwise a
// fleet would cause hundreds of posts.
func scanAnswer(v *scanstate.Verdict) (forge.State, string) {
	if v == nil {
		return "", ""
	}
	switch v.Answer {
	case scanstate.AnswerSuccess:
		return forge.Success, v.Text()
	case scanstate.AnswerFailure:
		return forge.Failure, v.Text()
	}
	noun := "changed cluster"
	if v.Fleet {
		noun = "cluster"
	}
	all := slices.Concat(v.Scanned, v.Waiting, v.Paused)
	if len(v.Waiting) == 0 && len(v.Paused) > 0 {
		return forge.Pending, fmt.Sprintf("scanning is paused for %d of %s: %s", len(v.Paused), plural(len(all), noun), someOf(v.Paused))
	}
	if v.Stuck != "" {
		return forge.Pending, v.Stuck
	}
	return forge.Pending, "waits for the scan of " + plural(len(all), noun) + ": " + someOf(all)
}

// someOf lists the first names, sorted.
func someOf(names []string) string {
	const most = 3
	names = slices.Sorted(slices.Values(names))
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
