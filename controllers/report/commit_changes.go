package report

import (
	"fmt"
	"strings"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Tally gathers what one revision changes, over all the syncs that it takes: one that fails half way has done the other half,
// and the next no longer plans it. The zero value knows nothing.
type Tally struct {
	revision string
	// before is what was known when this process began.
	before  string
	changes map[changed]plan.Action
}

// changed is what a revision changes: a cluster, or an object that belongs to none.
type changed struct{ kind, config, name string }

// Note takes in what a sync was to change, and returns all that its revision has changed so far. What drifted doesn't count:
// that is no change of the revision's.
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
		if s.Drift || s.Action == plan.Hold {
			continue
		}
		owner := owners[s.Name]
		switch {
		case s.Kind == plan.KindSecret && owner.name != "":
			t.note(owner, plan.Change)
		case s.Kind == plan.KindSecret && s.Reason == plan.ReasonReplaced:
			// The cluster's own change is told.
		case s.Kind == plan.KindSecret && s.Action == plan.Remove && len(t.names(plan.KindCluster, plan.Remove)) > 0:
			// That of a cluster which is removed.
		default:
			t.note(changed{s.Kind, s.AuditConfig, s.Name}, s.Action)
		}
	}
}

// ownersOfSecrets tells which clusters the Secrets among the steps are made for. Most plans have none, and need no look at the
// fleet.
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

// weight says which of two actions on one thing is the one to tell.
var weight = map[plan.Action]int{plan.Move: 1, plan.Change: 2, plan.Remove: 3, plan.Add: 4}

func (t *Tally) note(what changed, action plan.Action) {
	if weight[action] > weight[t.changes[what]] {
		t.changes[what] = action
	}
}

func (t *Tally) names(kind string, action plan.Action) (names []string) {
	for what, done := range t.changes {
		if what.kind == kind && done == action {
			names = append(names, what.name)
		}
	}
	return names
}

// text is "1 added (eu), 2 changed (asia, us), 1 Secret added".
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
