package report

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// Place is where an AuditSync's commit statuses are shown; nil where it reports nothing.
func Place(sync *v1alpha1.AuditSync) *v1alpha1.ReportPlace {
	f := sync.Spec.Forge
	if f == nil {
		return nil
	}
	return &v1alpha1.ReportPlace{Provider: f.Provider, URL: sync.Spec.Source.URL, APIURL: f.APIURL, Context: Contexts(sync)[0]}
}

// SameRepository says whether two places are in one repository of one forge, however they are written.
func SameRepository(a, b v1alpha1.ReportPlace) bool {
	if a.Provider == b.Provider && a.URL == b.URL && a.APIURL == b.APIURL {
		return true
	}
	first, err := Repository(a)
	if err != nil {
		return false
	}
	second, err := Repository(b)
	return err == nil && first == second
}

// Repository is the one that a place is in. The error is a *forge.ConfigError.
func Repository(p v1alpha1.ReportPlace) (forge.Repository, error) {
	return forge.ParseRepository(forge.Provider(p.Provider), p.URL, p.APIURL)
}

// Ending says why nobody will answer any more for what is pending, in words for the forge. It is empty while somebody will.
//
// The words name neither the former nor the new place by its address: who may see the one need not know of the other.
func Ending(sync *v1alpha1.AuditSync) string {
	const early = " before there was an answer"
	here, at := Place(sync), sync.Status.PendingAt
	switch {
	case !sync.DeletionTimestamp.IsZero():
		return "the AuditSync was deleted" + early
	case here == nil:
		return "reports were turned off" + early
	case at != nil && !SameRepository(*at, *here):
		return "the AuditSync was pointed at another repository or forge" + early
	case at != nil && at.Context != here.Context:
		return "is called " + here.Context + " from now on"
	case sync.Spec.Suspend:
		return "the AuditSync was suspended" + early
	}
	return ""
}

// CommitEnded ends a status that is pending and that nobody will answer for.
func CommitEnded(context, why string) forge.Status {
	return forge.Status{Context: context, State: forge.Canceled, Description: why}
}

// CommitSuperseded is why nobody will answer for a commit after another one has come, whose hash is given.
func CommitSuperseded(hash string) string {
	return "superseded by " + short(hash) + " before there was an answer"
}

// LeftPending tells of commits whose statuses stay pending, for they could not be ended.
func LeftPending(hashes []string, at *v1alpha1.ReportPlace, cause string) Event {
	names := make([]string, len(hashes))
	for i, hash := range hashes {
		names[i] = short(hash)
	}
	where := ""
	if at != nil {
		where = fmt.Sprintf(" as %s in %s", at.Context, at.URL)
	}
	return Event{Type: corev1.EventTypeWarning, Reason: "LeftPending", Action: "Report",
		Note: Cut(fmt.Sprintf("what is shown of %s%s stays pending: %s", strings.Join(names, ", "), where, cause), maxNote)}
}
