package report

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Event is one thing to tell.
type Event struct {
	Type, Reason, Action, Note string
}

// maxNote is the length that Kubernetes allows for the note of an event.
const maxNote = 1024

// Events are what has changed since the last report: what was applied, drift that was put right, and a verdict that is not
// the one before.
func Events(sync *v1alpha1.AuditSync, status v1alpha1.AuditSyncStatus, o Outcome) []Event {
	var list []Event
	add := func(kind, reason, action, note string) {
		list = append(list, Event{kind, reason, action, Cut(note, maxNote)})
	}
	if o.Plan != nil && o.Apply == nil && !o.Plan.Empty() {
		if changes := Changes(o.Plan); changes != "" {
			add(corev1.EventTypeNormal, "Applied", "Apply", o.Revision+": "+changes)
		}
		if drifted := o.Plan.Drifted(); len(drifted) > 0 && o.Corrects {
			add(corev1.EventTypeWarning, "DriftCorrected", "Apply", "changed by hand, and put right: "+Drift(drifted))
		}
	}
	before := meta.FindStatusCondition(sync.Status.Conditions, v1alpha1.ConditionReady)
	after := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	changed := before == nil || before.Status != after.Status || before.Reason != after.Reason || before.Message != after.Message
	switch {
	case !changed:
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
	return append(list, scanEvents(sync, status, o)...)
}
