package report

import (
	"fmt"
	"strings"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Tally collects the changes of one revision over all its syncs. If a sync fails half way, the next one no longer plans what was
// already done. The zero value is empty.
type Tally struct {
	revision string
	// before is the text from the AuditSync's status when this process first saw the revision.
	before  string
	changes map[changed]plan.Action
}

// changed identifies what a revision changes: a cluster, or an object that belongs to no cluster.
type changed struct{ kind, config, name string }

// Note adds the planned changes of a sync, and returns all changes of its revision so far. Drift and values from
// elsewhere don't count, because the revision did not cause them.
func (t *Tally) Note(status v1alpha1.AuditSyncStatus, o Outcome) string {
	if t.revision != o.Revision {
		*t = Tally{revision: o.Revision, changes: map[changed]plan.Action{}}
		if status.LastAppliedRevision == o.Revision {
			t.before = status.LastChanges
		}
	}
	if o.Plan != nil {
		t.add(o.Plan.Steps, o.Fleet)
	}
	return t.text()
}

func (t *Tally) add(steps []plan.Step, f *fleet.Opened) {
	owners := ownersOfSecrets(steps, f)
	for _, s := range steps {
		if s.Drift || s.Supplied || s.Action == plan.Hold {
			continue
		}
		owner := owners[s.Name]
		switch {
		case s.Kind == plan.KindSecret && owner.name != "":
			t.note(owner, plan.Change)
		case s.Kind == plan.KindSecret && s.Reason == plan.ReasonReplaced:
			// Counted as a change of its cluster.
		case s.Kind == plan.KindSecret && s.Action == plan.Remove && len(t.names(plan.KindCluster, plan.Remove)) > 0:
			// Removed with its cluster.
		default:
			t.note(changed{s.Kind, s.AuditConfig, s.Name}, s.Action)
		}
	}
}

// ownersOfSecrets returns the clusters that the Secrets in the steps belong to, by name of the Secret. Most plans have no Secret
// steps, and don't need the fleet.
func ownersOfSecrets(steps []plan.Step, f *fleet.Opened) map[string]changed {
	owners := map[string]changed{}
	for _, s := range steps {
		if s.Kind == plan.KindSecret {
			owners[s.Name] = changed{}
		}
	}
	if len(owners) == 0 || f == nil {
		return nil
	}
	for i := range f.Secrets {
		s := &f.Secrets[i]
		if _, asked := owners[s.Name]; asked && s.Cluster != "" {
			owners[s.Name] = changed{plan.KindCluster, s.AuditConfig, s.Cluster}
		}
	}
	return owners
}

// weight decides which of two actions on the same object is reported.
var weight = map[plan.Action]int{plan.Move: 1, plan.Change: 2, plan.Remove: 3, plan.Add: 4}

func (t *Tally) note(c changed, action plan.Action) {
	if weight[action] > weight[t.changes[c]] {
		t.changes[c] = action
	}
}

func (t *Tally) names(kind string, action plan.Action) (names []string) {
	for c, done := range t.changes {
		if c.kind == kind && done == action {
			names = append(names, c.name)
		}
	}
	return names
}

// text returns a summary such as "1 added (eu), 2 changed (asia, us), 1 Secret added".
func (t *Tally) text() string {
	var parts []string
	if t.before != "" {
		parts = append(parts, t.before)
	}
	for _, kind := range []struct{ kind, noun string }{{plan.KindCluster, ""}, {plan.KindAuditConfig, "audit config"}, {plan.KindSecret, "Secret"}} {
		for _, a := range actionWords {
			names := t.names(kind.kind, a.action)
			switch {
			case len(names) == 0:
			case kind.noun == "":
				parts = append(parts, fmt.Sprintf("%d %s (%s)", len(names), a.word, someOf(names)))
			default:
				parts = append(parts, plural(len(names), kind.noun)+" "+a.word)
			}
		}
	}
	return strings.Join(parts, ", ")
}
