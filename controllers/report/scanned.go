package report

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scan"
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

// ScanNotes are what is told of scans beside their statuses.
type ScanNotes struct {
	// Unknown is why nothing is known of scans.
	Unknown string
	// Before are the statuses of the last report; nil when this process has made none.
	Before []scan.Status
	// Started are clusters that are scanned because they have changed, and Due is how many more wait for that.
	Started []string
	Due     int
	// Lost are changed clusters whose Jobs were deleted before their end as often as they are made.
	Lost []string
	// Refused is why no Job could be made for one of them.
	Refused string
}

// AppliedRevision is the revision in force after an outcome.
func (o *Outcome) AppliedRevision(sync *v1alpha1.AuditSync) string {
	if o.Revision != "" && o.inForce() {
		return o.Revision
	}
	return sync.Status.LastAppliedRevision
}

// standings are the clusters of a fleet by what their scans have come to. While a scan runs, the one before it counts.
type standings struct {
	failing, awaiting, paused []*scan.Status
	passing, running          int
}

func sortScans(statuses []scan.Status) standings {
	var s standings
	for i := range statuses {
		status := statuses[i].Standing()
		switch status.State {
		case scan.NotPickedUp, scan.Failed, scan.Overdue:
			s.failing = append(s.failing, status)
		case scan.Paused:
			s.paused = append(s.paused, status)
		case scan.Succeeded:
			s.passing++
		case scan.Running:
			if !status.LastSuccess.IsZero() {
				s.passing++
				continue
			}
			s.running++
			s.awaiting = append(s.awaiting, status)
		case scan.Awaiting:
			s.awaiting = append(s.awaiting, status)
		}
	}
	// The gravest come first.
	rank := func(s *scan.Status) int { return slices.Index(scan.States(), s.State) }
	slices.SortStableFunc(s.failing, func(a, b *scan.Status) int { return rank(a) - rank(b) })
	return s
}

// countScans counts clusters by what their scans have come to. What isn't known stays as it was.
func countScans(status *v1alpha1.AuditSyncStatus, before *v1alpha1.ClusterCounts, o Outcome) {
	c := status.Clusters
	switch {
	case c == nil:
	case o.Scans != nil:
		s := sortScans(o.Scans)
		//nolint:gosec // bounded by the size of audit configs
		c.Awaiting, c.Passing, c.Failing = int32(len(s.awaiting)), int32(s.passing), int32(len(s.failing))
	case before != nil && o.ScanNotes.Unknown == "":
		c.Awaiting, c.Passing, c.Failing = before.Awaiting, before.Passing, before.Failing
	default:
		c.Awaiting, c.Passing, c.Failing = 0, 0, 0
	}
}

// nothingToScan reports whether nothing can be said of scans because nothing is applied that should be.
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

// scanned says how the fleet's scans stand. It holds no times but absolute ones, and follows no single run, so that it changes
// when the answer does.
func (c conditions) scanned(o Outcome) {
	if o.Scans == nil {
		if o.ScanNotes.Unknown != "" {
			c.put(v1alpha1.ConditionScanned, metav1.ConditionUnknown, ReasonUnknown, o.ScanNotes.Unknown)
		}
		return
	}
	s, total := sortScans(o.Scans), plural(len(o.Scans), "cluster")
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
		put(metav1.ConditionUnknown, ReasonPending, "no cluster is applied")
	case len(o.Scans) == 0:
		put(metav1.ConditionTrue, ReasonScanned, "there is no cluster to scan")
	default:
		put(metav1.ConditionTrue, ReasonScanned, total+" scanned")
	}
}

func reasonOf(state scan.State) string {
	switch state { //nolint:exhaustive // the others fail nothing
	case scan.NotPickedUp:
		return ReasonNotPickedUp
	case scan.Overdue:
		return ReasonOverdue
	}
	return ReasonScanFailed
}

// changes says what becomes of clusters that wait because they have changed.
func changes(n ScanNotes, awaiting int) string {
	text := ""
	if n.Due > 0 {
		text = fmt.Sprintf("; %s to be scanned at once", plural(n.Due, "changed cluster"))
		if awaiting > n.Due {
			text += ", the others as scheduled"
		}
	}
	if len(n.Lost) > 0 {
		text += fmt.Sprintf("; scanned as scheduled, for something deleted the Jobs that Muster made, %d times each: %s", scan.MostAgain, some(n.Lost))
	}
	if n.Refused != "" {
		text += "; a changed cluster is scanned as scheduled, for the API server refuses its Job: " + n.Refused
	}
	return text
}

// causes names clusters with what is the matter, those of one cause together.
func causes(list []*scan.Status) string {
	const mostCauses, mostNames = 3, 5
	var order []string
	names := map[string][]string{}
	for _, s := range list {
		why := s.Detail
		if s.State == scan.Failed && s.Reason != "" {
			why = string(s.Reason) + ": " + s.Detail
		} else if s.State == scan.Running {
			why = "its first scan runs"
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

// maxScanEvents bounds the events of one report; what exceeds it is counted.
const maxScanEvents = 10

// scanEvents tell of clusters that have begun to fail, of those that have recovered, and of scans on change. A process that
// has just begun knows of no single one before, and tells when the whole has become another.
func scanEvents(sync *v1alpha1.AuditSync, status v1alpha1.AuditSyncStatus, o Outcome) []Event {
	var list []Event
	add := func(kind, reason, note string) {
		list = append(list, Event{Type: kind, Reason: reason, Action: "Scan", Note: Cut(note, maxNote)})
	}
	if n := o.ScanNotes; len(n.Started) > 0 {
		add(corev1.EventTypeNormal, "ScanStarted", "scanned at once, for they have changed: "+some(n.Started))
	}
	if o.Plan != nil && o.Apply == nil && o.Plan.ScansLeft > 0 {
		add(corev1.EventTypeNormal, "ScanScheduled", plural(o.Plan.ScansLeft, "changed cluster")+" will be scanned as scheduled, for many have changed together")
	}
	before := meta.FindStatusCondition(sync.Status.Conditions, v1alpha1.ConditionScanned)
	after := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionScanned)
	if o.Scans == nil || o.ScanNotes.Before == nil && before != nil {
		if after != nil && (before == nil || before.Message != after.Message) && (after.Status == metav1.ConditionFalse || after.Reason == ReasonUnknown) {
			add(corev1.EventTypeWarning, "Scan"+after.Reason, after.Message)
		}
		return list
	}
	failed, recovered := turned(o.ScanNotes.Before, o.Scans)
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

// turned are the clusters that fail, and did not before or for another reason, and those that did and are scanned now.
func turned(before, after []scan.Status) (failed []*scan.Status, recovered []string) {
	was := lookup(before)
	fails := func(s *scan.Status) bool {
		return s != nil && (s.State == scan.Failed || s.State == scan.NotPickedUp || s.State == scan.Overdue)
	}
	for i := range after {
		s, was := after[i].Standing(), was(i, &after[i])
		switch {
		case fails(s) && (!fails(was) || was.State != s.State || was.Reason != s.Reason):
			failed = append(failed, s)
		case s.State == scan.Succeeded && fails(was):
			recovered = append(recovered, s.Cluster)
		}
	}
	return failed, recovered
}

// lookup finds the standing of a cluster among statuses; nil when it isn't there. As a rule it is where it was, and an index of
// all is only made when one is not.
func lookup(list []scan.Status) func(i int, of *scan.Status) *scan.Status {
	type key struct{ auditConfig, cluster string }
	var index map[key]int
	return func(i int, of *scan.Status) *scan.Status {
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
