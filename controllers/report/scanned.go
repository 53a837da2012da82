package report

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// Reasons of the condition Scanned.
const (
	ReasonScanned     = "Scanned"
	ReasonAwaiting    = "Awaiting"
	ReasonRunning     = "Running"
	ReasonPaused      = "Paused"
	ReasonScanFailed  = "Failed"
	ReasonOverdue     = "Overdue"
	ReasonNotPickedUp = "NotPickedUp"
	ReasonUnknown     = "Unknown"
)

// ScanNotes is what is reported about scans in addition to their statuses.
type ScanNotes struct {
	// Unknown is why nothing is known about scans.
	Unknown string
	// Before are the statuses of the last report; nil if this process has not reported yet.
	Before []scanstate.Status
	// Started are the changed clusters whose scan was just started. Due is how many more wait for one.
	Started []string
	Due     int
	// Lost are changed clusters whose Jobs were all deleted before they ended; see scanstate.MostAgain.
	Lost []string
	// Refused is why the Job of a changed cluster could not be created.
	Refused string
}

// AppliedRevision returns the applied revision after an outcome.
func (o *Outcome) AppliedRevision(sync *v1alpha1.AuditSync) string {
	if o.Revision != "" && o.inForce() {
		return o.Revision
	}
	return sync.Status.LastAppliedRevision
}

// scanGroups are the clusters of a fleet, grouped by the result of their scans. While a scan runs, the previous one counts.
type scanGroups struct {
	failing, awaiting, paused []*scanstate.Status
	passing, running          int
}

func groupScans(statuses []scanstate.Status) scanGroups {
	var s scanGroups
	for i := range statuses {
		status := statuses[i].Standing()
		switch status.State {
		case scanstate.NotPickedUp, scanstate.Failed, scanstate.Overdue:
			s.failing = append(s.failing, status)
		case scanstate.Paused:
			s.paused = append(s.paused, status)
		case scanstate.Succeeded:
			s.passing++
		case scanstate.Running:
			if !status.LastSuccess.IsZero() {
				s.passing++
				continue
			}
			s.running++
			s.awaiting = append(s.awaiting, status)
		case scanstate.Awaiting:
			s.awaiting = append(s.awaiting, status)
		}
	}
	// Worst first.
	rank := func(s *scanstate.Status) int { return slices.Index(scanstate.States(), s.State) }
	slices.SortStableFunc(s.failing, func(a, b *scanstate.Status) int { return rank(a) - rank(b) })
	return s
}

// countScans sets the scan counts. If the scans aren't known this time, it keeps the counts from before.
func countScans(status *v1alpha1.AuditSyncStatus, before *v1alpha1.ClusterCounts, o Outcome) {
	c := status.Clusters
	switch {
	case c == nil:
	case o.Scans != nil:
		s := groupScans(o.Scans)
		//nolint:gosec // bounded by the size of audit configs
		c.Awaiting, c.Passing, c.Failing = int32(len(s.awaiting)), int32(s.passing), int32(len(s.failing))
	case before != nil && o.ScanNotes.Unknown == "":
		c.Awaiting, c.Passing, c.Failing = before.Awaiting, before.Passing, before.Failing
	default:
		c.Awaiting, c.Passing, c.Failing = 0, 0, 0
	}
}

// nothingToScan reports whether there are no scans because the clusters that should be applied are not.
func (o *Outcome) nothingToScan() bool {
	if o.Scans == nil || len(o.Scans) > 0 {
		return false
	}
	if o.Fleet == nil {
		return o.Fetch != nil || o.Render != nil
	}
	if !o.inForce() {
		return true
	}
	total, _ := size(o.Fleet)
	return total > 0
}

// scanned sets the condition Scanned. Its message has only absolute times and doesn't follow single runs, so that it changes only
// when the result does.
func (c conditions) scanned(o Outcome) {
	if o.Scans == nil {
		if o.ScanNotes.Unknown != "" {
			c.put(v1alpha1.ConditionScanned, metav1.ConditionUnknown, ReasonUnknown, o.ScanNotes.Unknown)
		}
		return
	}
	s, total := groupScans(o.Scans), plural(len(o.Scans), "cluster")
	put := func(status metav1.ConditionStatus, reason, message string) {
		c.put(v1alpha1.ConditionScanned, status, reason, message+changes(o.ScanNotes, len(s.awaiting)))
	}
	switch {
	case len(s.failing) > 0:
		put(metav1.ConditionFalse, reasonOf(s.failing[0].State), fmt.Sprintf("%d of %s not scanned: %s", len(s.failing), total, causes(s.failing)))
	case len(s.awaiting) > 0:
		reason := ReasonAwaiting
		if s.running == len(s.awaiting) {
			reason = ReasonRunning
		}
		put(metav1.ConditionUnknown, reason, fmt.Sprintf("%d of %s not scanned yet: %s", len(s.awaiting), total, causes(s.awaiting)))
	case len(s.paused) > 0 && s.passing == 0:
		put(metav1.ConditionUnknown, ReasonPaused, fmt.Sprintf("%s: %s", total, causes(s.paused)))
	case len(s.paused) > 0:
		put(metav1.ConditionTrue, ReasonScanned, fmt.Sprintf("%s scanned, %d paused: %s", plural(s.passing, "cluster"), len(s.paused), causes(s.paused)))
	case o.nothingToScan():
		put(metav1.ConditionUnknown, ReasonPending, "no cluster has been applied")
	case len(o.Scans) == 0:
		put(metav1.ConditionTrue, ReasonScanned, "no clusters to scan")
	default:
		put(metav1.ConditionTrue, ReasonScanned, total+" scanned")
	}
}

func reasonOf(state scanstate.State) string {
	switch state { //nolint:exhaustive // the other states are not failures
	case scanstate.NotPickedUp:
		return ReasonNotPickedUp
	case scanstate.Overdue:
		return ReasonOverdue
	}
	return ReasonScanFailed
}

// changes describes the changed clusters that wait for a scan.
func changes(n ScanNotes, awaiting int) string {
	text := ""
	if n.Due > 0 {
		text = fmt.Sprintf("; %s will be scanned as soon as possible", plural(n.Due, "changed cluster"))
		if awaiting > n.Due {
			text += ", the others as scheduled"
		}
	}
	if len(n.Lost) > 0 {
		text += fmt.Sprintf("; scanned as scheduled, because the Jobs that Muster created were deleted %d times each: %s", scanstate.MostAgain, some(n.Lost))
	}
	if n.Refused != "" {
		text += "; a changed cluster is scanned as scheduled, because the API server rejects its Job: " + n.Refused
	}
	return text
}

// causes lists clusters with the cause of their state, grouped by cause.
func causes(list []*scanstate.Status) string {
	const mostCauses, mostNames = 3, 5
	var order []string
	names := map[string][]string{}
	for _, s := range list {
		why := s.Detail
		if s.State == scanstate.Failed && s.Reason != "" {
			why = string(s.Reason) + ": " + s.Detail
		} else if s.State == scanstate.Running {
			why = "its first scan is running"
		}
		if names[why] == nil {
			order = append(order, why)
		}
		names[why] = append(names[why], s.Cluster)
	}
	var parts []string
	rest := 0
	for i, why := range order {
		if i >= mostCauses {
			rest += len(names[why])
			continue
		}
		who := names[why]
		text := strings.Join(who[:min(len(who), mostNames)], ", ")
		if len(who) > mostNames {
			text += fmt.Sprintf(" and %d more", len(who)-mostNames)
		}
		parts = append(parts, text+": "+why)
	}
	if rest > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", rest))
	}
	return strings.Join(parts, "; ")
}

// maxScanEvents is how many clusters of one report get their own event. One more event counts the others.
const maxScanEvents = 10

// scanEvents returns events for clusters that have started to fail, for clusters that have recovered, and for scans on change. After
// a restart the earlier statuses are unknown, so there is only an event if the condition has changed.
func scanEvents(sync *v1alpha1.AuditSync, status v1alpha1.AuditSyncStatus, o Outcome) []Event {
	var list []Event
	add := func(kind, reason, note string) {
		list = append(list, Event{Type: kind, Reason: reason, Action: "Scan", Note: Cut(note, maxNote)})
	}
	if n := o.ScanNotes; len(n.Started) > 0 {
		add(corev1.EventTypeNormal, "ScanStarted", "started scans of changed clusters: "+some(n.Started))
	}
	if o.Plan != nil && o.Apply == nil && o.Plan.ScansLeft > 0 {
		add(corev1.EventTypeNormal, "ScanScheduled", plural(o.Plan.ScansLeft, "changed cluster")+" will be scanned as scheduled, because too many changed at the same time")
	}
	before := meta.FindStatusCondition(sync.Status.Conditions, v1alpha1.ConditionScanned)
	after := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionScanned)
	if o.Scans == nil || o.ScanNotes.Before == nil && before != nil {
		if after != nil && (before == nil || before.Message != after.Message) && (after.Status == metav1.ConditionFalse || after.Reason == ReasonUnknown) {
			add(corev1.EventTypeWarning, "Scan"+after.Reason, after.Message)
		}
		return list
	}
	failed, recovered := compareScans(o.ScanNotes.Before, o.Scans)
	for i, s := range failed {
		if i == maxScanEvents {
			add(corev1.EventTypeWarning, "ScanFailed", plural(len(failed)-i, "more cluster")+": "+causes(failed[i:]))
			break
		}
		add(corev1.EventTypeWarning, "Scan"+reasonOf(s.State), causes(failed[i:i+1]))
	}
	if len(recovered) > 0 {
		add(corev1.EventTypeNormal, "ScanRecovered", "scanned again: "+some(recovered))
	}
	return list
}

// compareScans returns the clusters that fail now but did not before, or did for another reason, and those that failed before and are
// scanned now.
func compareScans(before, after []scanstate.Status) (failed []*scanstate.Status, recovered []string) {
	was := lookup(before)
	fails := func(s *scanstate.Status) bool {
		return s != nil && (s.State == scanstate.Failed || s.State == scanstate.NotPickedUp || s.State == scanstate.Overdue)
	}
	for i := range after {
		s, was := after[i].Standing(), was(i, &after[i])
		switch {
		case fails(s) && (!fails(was) || was.State != s.State || was.Reason != s.Reason):
			failed = append(failed, s)
		case s.State == scanstate.Succeeded && fails(was):
			recovered = append(recovered, s.Cluster)
		}
	}
	return failed, recovered
}

// lookup returns a function that finds the status of a cluster, or nil. Usually the cluster is at the same index as before. An index
// by name is only built if one is not.
func lookup(list []scanstate.Status) func(i int, of *scanstate.Status) *scanstate.Status {
	type key struct{ auditConfig, cluster string }
	var index map[key]int
	return func(i int, of *scanstate.Status) *scanstate.Status {
		if i < len(list) && list[i].Cluster == of.Cluster && list[i].AuditConfig == of.AuditConfig {
			return list[i].Standing()
		}
		if index == nil {
			index = make(map[key]int, len(list))
			for i := range list {
				index[key{list[i].AuditConfig, list[i].Cluster}] = i
			}
		}
		if i, known := index[key{of.AuditConfig, of.Cluster}]; known {
			return list[i].Standing()
		}
		return nil
	}
}

// some lists the first names.
func some(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
