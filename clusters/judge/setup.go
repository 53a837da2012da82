package judge

import (
	"fmt"
	"slices"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/clusters/setup"
)

// maxSetups is for how many clusters a review tells what to set up. A comment should be short, and muster setup tells the rest.
const maxSetups = 5

// methods are the fields of an entry that decide what must be set up.
var methods = []string{"kubeconfigSecretRef", "serviceAccountAuth", "workloadIdentity", "spiffeAuth", "vaultAuth"}

// SetUp returns the setups as commands, for a comment.
func (r *Result) SetUp() []review.Fold {
	var folds []review.Fold
	for i, s := range r.Setups() {
		if i == maxSetups {
			title := fmt.Sprintf("%d more clusters", len(r.Setups())-maxSetups)
			return append(folds, review.Fold{Title: title, Text: "muster setup CLUSTER " + setup.Quote(r.Path) + "\n"})
		}
		folds = append(folds, review.Fold{Title: fmt.Sprintf("`%s`: %s", s.Cluster, s.Method), Text: s.Commands()})
	}
	return folds
}

// Setups returns what must exist at the cloud and in the target before the scan works, for each cluster that the pull request
// adds, or whose authentication it changes.
func (r *Result) Setups() []setup.Setup {
	var setups []setup.Setup
	for i := range r.Changes {
		if c := r.cluster(&r.Changes[i]); c != nil {
			s := setup.For(c.Entry, c.AuditConfig, r.Namespace)
			if c.File != nil && c.File.Spec.Renew != nil {
				s = s.Renewing()
			}
			if len(s.Steps) > 0 {
				setups = append(setups, s)
			}
		}
	}
	return setups
}

// cluster returns the cluster of a change, if it needs a set-up.
func (r *Result) cluster(change *review.Change) *fleet.Cluster {
	if change.Kind != plan.KindCluster || change.Action != plan.Add && change.Action != plan.Change ||
		change.Action == plan.Change && !slices.ContainsFunc(change.Fields, func(f plan.Field) bool { return slices.Contains(methods, f.Path) }) {
		return nil
	}
	return r.clusterOf(change)
}

// clusterOf returns the cluster of a change in the merge result; nil if there is none, or if it is left out.
func (r *Result) clusterOf(change *review.Change) *fleet.Cluster {
	at := slices.IndexFunc(r.fleet.Clusters, func(c fleet.Cluster) bool {
		return c.Name == change.Name && c.AuditConfig == change.AuditConfig && !c.Quarantined
	})
	if at < 0 {
		return nil
	}
	return &r.fleet.Clusters[at]
}
