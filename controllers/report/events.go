package report

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Event is an event about an AuditSync.
type Event struct {
	Type, Reason, Action, Note string
	// Related is another object that the event is about; nil for none.
	Related runtime.Object
}

// maxNote is Kubernetes' limit for the note of an event.
const maxNote = 1024

// Events returns the events for what has changed since the last report: applied changes, corrected drift, a new verdict, and
// credentials that reach a threshold.
func Events(sync *v1alpha1.AuditSync, status v1alpha1.AuditSyncStatus, o Outcome) []Event {
	var list []Event
	add := func(kind, reason, action, note string) {
		list = append(list, Event{Type: kind, Reason: reason, Action: action, Note: Cut(note, maxNote)})
	}
	if o.Plan != nil && o.Apply == nil && !o.Plan.Empty() {
		if changes := Changes(o.Plan); changes != "" {
			add(corev1.EventTypeNormal, "Applied", "Apply", o.Revision+": "+changes)
		}
		if drifted := o.Plan.Corrected(); len(drifted) > 0 && o.Corrects {
			add(corev1.EventTypeWarning, "DriftCorrected", "Apply", "drift corrected: "+Drift(drifted))
		}
	}
	before := meta.FindStatusCondition(sync.Status.Conditions, v1alpha1.ConditionReady)
	after := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	changed := before == nil || before.Status != after.Status || before.Reason != after.Reason || before.Message != after.Message
	if changed && o.Plan != nil && o.Plan.Mismatch != "" {
		add(corev1.EventTypeWarning, "ApprovalMismatch", "Sync", o.Plan.Mismatch)
	}
	switch {
	case !changed, after.Reason == ReasonPreflightPending: // the result is an event
	case after.Status == "True":
		if before != nil && before.Status != after.Status {
			add(corev1.EventTypeNormal, after.Reason, "Sync", after.Message)
		}
	default:
		add(corev1.EventTypeWarning, after.Reason, "Sync", after.Message)
	}
	drift := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionInSync)
	known := meta.FindStatusCondition(sync.Status.Conditions, v1alpha1.ConditionInSync)
	if drift != nil && drift.Status == "False" && (known == nil || known.Message != drift.Message) {
		add(corev1.EventTypeWarning, drift.Reason, "Compare", drift.Message)
	}
	return slices.Concat(list, expiryEvents(sync.Status, o), preflightEvents(sync.Status, status), scanEvents(sync, status, o))
}

// maxKept is how many Secrets that are kept after a deletion get their own event.
const maxKept = 20

// CleanUp returns the events of an AuditSync that is deleted together with what it applied: what is kept and why, and what is deleted
// although Muster did not write it. Damaged are the ConfigMaps whose inventory can't be read. Mask removes secrets from names.
func CleanUp(p *plan.Plan, damaged []string, mask func(string) string) []Event {
	var list []Event
	add := func(reason, note string) {
		list = append(list, Event{Type: corev1.EventTypeWarning, Reason: reason, Action: "Delete", Note: Cut(mask(note), maxNote)})
	}
	var kept, along []string
	for _, name := range damaged {
		kept = append(kept, "everything in the inventory of ConfigMap "+name+", which can't be read")
	}
	for _, f := range p.Findings {
		if f.Severity == finding.Error {
			kept = append(kept, "the objects that it applied, because of an error: "+f.Message)
		}
	}
	for _, s := range p.Steps {
		switch {
		case s.NamedBy != "" && len(list) < maxKept:
			add("SecretKept", "Secret "+s.Name+" is kept because "+s.NamedBy+" names it; delete it once nothing names it")
			// Events with the same reason and object are only distinct if their related objects differ; the note doesn't count.
			list[len(list)-1].Related = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: s.Name}}
		case s.NamedBy != "":
			kept = append(kept, "Secret "+s.Name+", because "+s.NamedBy+" names it")
		case s.Action == plan.Hold:
			kept = append(kept, s.Kind+" "+s.Name+": "+string(s.Reason))
		case s.Action == plan.Remove && s.Kind == plan.KindCluster && s.Reason != "":
			along = append(along, s.Name+" ("+s.AuditConfig+")")
		}
	}
	if len(kept) > 0 {
		add("Kept", "kept: "+strings.Join(kept, "; "))
	}
	if len(along) > 0 {
		add("EntriesRemoved", "entries deleted with their audit config although they are in no file: "+strings.Join(along, ", "))
	}
	return list
}
