package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scan"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// What the contexts of an AuditSync's commit statuses end in; the one about the commit itself has no end.
const (
	contextDrift = "/drift"
	contextScan  = "/scan"
)

// CommitStatus is what the forge is to show of a commit in one context.
type CommitStatus struct {
	// Revision is the commit with the ref that led to it, as branch@sha1:commit.
	Revision string
	forge.Status
}

// Contexts are those of an AuditSync: about the commit itself, drift and scans.
func Contexts(sync *v1alpha1.AuditSync) []string {
	base := "muster/" + sync.Name
	if f := sync.Spec.Forge; f != nil {
		base = cmp.Or(f.Context, base)
	}
	return ContextsOf(base)
}

// ContextsOf are the contexts that go with the one about the commit itself.
func ContextsOf(base string) []string { return []string{base, base + contextDrift, base + contextScan} }

// CommitBegun is what the forge shows of a revision that is being worked on.
func CommitBegun(sync *v1alpha1.AuditSync, revision string) CommitStatus {
	return CommitStatus{Revision: revision, Status: forge.Status{Context: Contexts(sync)[0], State: forge.Pending,
		Description: "is being checked and applied"}}
}

func short(hash string) string { return hash[:min(len(hash), 10)] }

// CommitStatuses computes what the forge is to show after a sync: of the revision that was worked on, whether it is valid and
// applied; of the one that is applied, whether somebody has changed it and whether its clusters were scanned; and of one that
// may not be applied, why. What isn't known is left out, and stays as it is shown.
//
// Failure is the commit's fault, or waits for somebody to decide. Error is any other trouble, which never replaces an answer
// that there was before. Sync is the AuditSync before the sync, status what became of it.
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
	add(o.Revision, contexts[0], state, text)
	state, text = driftAnswer(status, o)
	add(o.Revision, contexts[1], state, text)
	if state, text = scanAnswer(o.Scan); o.nothingToScan() {
		state = ""
	}
	add(status.LastAppliedRevision, contexts[2], state, text)
	return list
}

// applyAnswer is about the revision itself. Answered says that it was applied before; its state is empty when this sync adds
// nothing to that.
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
		return forge.Failure, "nothing is changed: " + brief(finding.Cause(o.Fleet.Findings))
	case o.Fleet.Retry:
		return trouble("not opened yet", brief(finding.Cause(o.Fleet.Findings)))
	case finding.Errors(o.Fleet.Findings) > 0 && (o.Plan == nil || !o.refused()):
		return forge.Failure, quarantineAnswer(o)
	case o.Apply != nil && o.Apply.Reason == ReasonConflict:
		return "", "" // the next attempt, in a second, takes in what somebody else has just changed
	case o.Apply != nil:
		return trouble("not applied yet", o.Apply.Message)
	case o.Plan.Waiting:
		return trouble("not applied yet", brief(finding.Cause(o.Plan.Findings)))
	case planErrors(o) > 0:
		return forge.Failure, "not applied: " + brief(finding.Cause(o.Plan.Findings))
	case o.Plan.Held > 0:
		return forge.Failure, heldText(o)
	}
	text := plural(len(o.Fleet.Clusters), "cluster") + " applied"
	if o.Changes != "" {
		text += ": " + o.Changes
	}
	return forge.Success, text
}

// quarantineAnswer names the first cause, and then what the commit changed all the same.
func quarantineAnswer(o Outcome) string {
	total, n := size(o.Fleet)
	text := fmt.Sprintf("%d of %s can't be used: %s", n, plural(total, "cluster"), brief(finding.Cause(o.Fleet.Findings)))
	if n == 0 {
		text = "not all can be used: " + brief(finding.Cause(o.Fleet.Findings))
	}
	if o.inForce() && o.Changes != "" {
		text += "; otherwise " + o.Changes
	}
	return text
}

// brief is a finding in the few words that a commit status has room for: the place, without the column, and the cause. Where
// there is room, the way out follows.
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

// driftAnswer is about the revision that was worked on, where that is the one that is applied.
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
		return forge.Failure, "changed by hand, and left so: " + Drift(drifted)
	case len(drifted) > 0 && o.Apply != nil:
		return forge.Failure, "changed by hand, and not yet put right: " + Drift(drifted)
	case o.Apply != nil:
		return "", ""
	case len(o.Plan.Contested)+len(o.Plan.NotKept) > 0:
		_, text := unkept(o.Plan)
		return forge.Failure, text
	case status.LastCorrection != "":
		return forge.Success, "put right: " + status.LastCorrection
	}
	return forge.Success, "in sync"
}

// scanAnswer words a verdict. While scans are awaited the text stays the same, however many have ended: a fleet's would be
// hundreds of posts.
func scanAnswer(v *scan.Verdict) (forge.State, string) {
	if v == nil {
		return "", ""
	}
	switch v.Answer {
	case scan.AnswerSuccess:
		return forge.Success, v.Text()
	case scan.AnswerFailure:
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

// someOf lists the first of names, sorted.
func someOf(names []string) string {
	const most = 3
	names = slices.Sorted(slices.Values(names))
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
