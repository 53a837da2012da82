package report

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// Place returns where an AuditSync's commit statuses are shown, or nil if it reports none.
func Place(sync *v1alpha1.AuditSync) *v1alpha1.ReportPlace {
	f := sync.Spec.Forge
	if f == nil {
		return nil
	}
	return &v1alpha1.ReportPlace{Provider: f.Provider, URL: sync.Spec.Source.URL, APIURL: f.APIURL, Context: Contexts(sync)[0]}
}

// SameRepository reports whether two places are in the same repository of the same forge, even if their URLs differ in spelling.
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

// Repository returns the repository of a place. The error is a *forge.ConfigError.
func Repository(p v1alpha1.ReportPlace) (forge.Repository, error) {
	return forge.ParseRepository(forge.Provider(p.Provider), p.URL, p.APIURL)
}

// Ending returns why the AuditSync will never complete its pending commit statuses, as text for the forge. It is empty if it will.
//
// The text contains the address of neither the old nor the new place: users who can see one must not learn of the other.
func Ending(sync *v1alpha1.AuditSync) string {
	const early = " before there was a result"
	here, at := Place(sync), sync.Status.PendingAt
	switch {
	case !sync.DeletionTimestamp.IsZero():
		return "the AuditSync was deleted" + early
	case here == nil:
		return "reports were turned off" + early
	case at != nil && !SameRepository(*at, *here):
		return "the AuditSync was pointed at another repository or forge" + early
	case at != nil && at.Context != here.Context:
		return "reported as " + here.Context + " from now on"
	case sync.Spec.Suspend:
		return "the AuditSync was suspended" + early
	}
	return ""
}

// CommitEnded returns the final status for a pending one that will never be completed.
func CommitEnded(context, why string) forge.Status {
	return forge.Status{Context: context, State: forge.Canceled, Description: why}
}

// CommitSuperseded returns the text for a commit that was superseded by the commit with the given hash before it had a result.
func CommitSuperseded(hash string) string {
	return "superseded by " + short(hash) + " before there was a result"
}

// LeftPending returns the event for commits whose statuses stay pending because they could not be ended.
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
		Note: Cut(fmt.Sprintf("the commit status of %s%s stays pending: %s", strings.Join(names, ", "), where, cause), maxNote)}
}
