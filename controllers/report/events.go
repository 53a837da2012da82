package report

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Event is one thing to tell.
type Event struct {
	Type, Reason, Action, Note string
	// Related is what else than the AuditSync it is about; nil for nothing.
	Related runtime.Object
}

// maxNote is the length that Kubernetes allows for the note of an event.
const maxNote = 1024

// Events are what has changed since the last report: what was applied, drift that was put right, and a verdict that is not
// the one before.
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
			add(corev1.EventTypeWarning, "DriftCorrected", "Apply", "changed by hand, and put right: "+Drift(drifted))
		}
	}
	before := meta.FindStatusCondition(sync.Status.Conditions, v1alpha1.ConditionReady)
	after := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	changed := before == nil || before.Status != after.Status || before.Reason != after.Reason || before.Message != after.Message
	if changed && o.Plan != nil && o.Plan.Mismatch != "" {
		add(corev1.EventTypeWarning, "ApprovalMismatch", "Sync", o.Plan.Mismatch)
	}
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

// maxKept is how many Secrets that stay after a deletion have an event of their own.
const maxKept = 20

// CleanUp are the events of an AuditSync that is deleted with what it applied: what stays all the same, and why, and what goes although
// Muster did not write it. Damaged are the ConfigMaps whose inventory can't be read. Mask takes the secrets out of names.
func CleanUp(p *plan.Plan, damaged []string, mask func(string) string) []Event {
	var list []Event
	add := func(reason, note string) {
		list = append(list, Event{Type: corev1.EventTypeWarning, Reason: reason, Action: "Delete", Note: Cut(mask(note), maxNote)})
	}
	var kept, along []string
	for _, name := range damaged {
		kept = append(kept, "whatever the inventory in the ConfigMap "+name+" lists, for it can't be read")
	}
	for _, f := range p.Findings {
		if f.Severity == finding.Error {
			kept = append(kept, "what was applied for it, for "+f.Message)
		}
	}
	for _, s := range p.Steps {
		switch {
		case s.NamedBy != "" && len(list) < maxKept:
			add("SecretKept", "the Secret "+s.Name+" stays, for "+s.NamedBy+" names it; delete it when nothing does any more")
			// Events of one reason and object are told apart by what else they are about, and by nothing that they say.
			list[len(list)-1].Related = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: s.Name}}
		case s.NamedBy != "":
			kept = append(kept, "the Secret "+s.Name+", for "+s.NamedBy+" names it")
		case s.Action == plan.Hold:
			kept = append(kept, s.Kind+" "+s.Name+", for "+s.Reason)
		case s.Action == plan.Remove && s.Kind == plan.KindCluster && s.Reason != "":
			along = append(along, s.Name+" ("+s.AuditConfig+")")
		}
	}
	if len(kept) > 0 {
		add("Kept", "what stays: "+strings.Join(kept, "; "))
	}
	if len(along) > 0 {
		add("EntriesRemoved", "audit configs are deleted with entries that are in no file: "+strings.Join(along, ", "))
	}
	return list
}
