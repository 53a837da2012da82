package report

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Reasons of events about credentials, by stage.
var expiryReasons = map[credential.Stage]string{
	credential.Expiring: "CredentialsExpiring",
	credential.Urgent:   "CredentialsExpireSoon",
	credential.Expired:  "CredentialsExpired",
}

// ending is a credential that has reached a threshold.
type ending struct {
	secret *fleet.Secret
	term   credential.Term
	stage  credential.Stage
}

// ending returns the credentials whose stage was not reported yet, those that end first at the front: those that have reached it since
// the last report, and those that this sync applied. An accepted finding is not reported. A fleet with files that could not be opened
// for the moment waits for the next sync, because a report of a part would count as one of all. A file that a key service refuses to
// open keeps no one waiting.
func (o *Outcome) ending(last *metav1.Time) []ending {
	if o.Fleet == nil || o.Fleet.Retry {
		return nil
	}
	var list []ending
	applied, accepted := o.newSecrets(), acceptedFindings(o.Fleet.Findings)
	for i := range o.Fleet.Secrets {
		s := &o.Fleet.Secrets[i]
		for _, t := range s.Terms {
			stage, since := t.Stage(o.Now, s.WarnBefore)
			reported := last != nil && !since.After(last.Time) && !applied[s.Name]
			if stage == credential.Lasting || reported || accepted[acceptedFinding{t.Code(stage), s.Cluster, s.Origin.Path}] {
				continue
			}
			list = append(list, ending{s, t, stage})
		}
	}
	slices.SortStableFunc(list, func(a, b ending) int {
		return cmp.Or(a.term.Compare(b.term), strings.Compare(a.secret.Name, b.secret.Name))
	})
	return list
}

// newSecrets returns the names of the Secrets that this sync has given another content.
func (o *Outcome) newSecrets() map[string]bool {
	if o.Plan == nil || o.Apply != nil {
		return nil
	}
	names := map[string]bool{}
	for _, s := range o.Plan.Steps {
		if s.Kind != plan.KindSecret || s.Drift || s.Action != plan.Add && s.Action != plan.Change {
			continue
		}
		content := func(f plan.Field) bool { return strings.HasPrefix(f.Path, "data.") }
		names[s.Name] = s.Action == plan.Add || slices.ContainsFunc(s.Fields, content)
	}
	return names
}

// acceptedFinding identifies what a cluster accepts.
type acceptedFinding struct {
	code          finding.Code
	cluster, path string
}

func acceptedFindings(findings []finding.Finding) map[acceptedFinding]bool {
	accepted := map[acceptedFinding]bool{}
	for _, f := range findings {
		if f.Accepted != "" {
			accepted[acceptedFinding{f.Code, f.Cluster, f.Path}] = true
		}
	}
	return accepted
}

// expiryEvents returns an event for each stage that credentials have reached. Events with the same reason are only distinct if their
// related objects differ, so each has the Secret that it names first.
func expiryEvents(before v1alpha1.AuditSyncStatus, o Outcome) []Event {
	byStage := map[credential.Stage][]ending{}
	for _, e := range o.ending(before.LastExpiryReport) {
		byStage[e.stage] = append(byStage[e.stage], e)
	}
	var list []Event
	for _, stage := range []credential.Stage{credential.Expired, credential.Urgent, credential.Expiring} {
		if of := byStage[stage]; len(of) > 0 {
			list = append(list, Event{Type: corev1.EventTypeWarning, Reason: expiryReasons[stage], Action: "Sync", Note: Cut(o.masked(endingText(of)), maxNote),
				Related: &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.Fleet.Namespace, Name: of[0].secret.Name}}})
		}
	}
	return list
}

func (o *Outcome) masked(text string) string {
	if o.Mask == nil {
		return text
	}
	return o.Mask(text)
}

// endingText names some of the credentials.
func endingText(list []ending) string {
	parts := make([]string, len(list))
	for i, e := range list {
		parts[i] = cmp.Or(e.secret.Cluster, "Secret "+e.secret.Name) + ": " + e.term.Text(e.stage)
	}
	return some(parts)
}
