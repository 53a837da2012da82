package judge

import (
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/clusters/review"
)

// Candidate is a cluster whose credential or server would change with the merge.
type Candidate struct {
	Cluster, AuditConfig, Path string
	// Target is what to check. It contains secrets.
	Target preflight.Target
}

// Candidates returns the clusters that the pull request adds, or whose credential or server it changes, if they can be checked from
// here. Without keys, there are none.
func (r *Result) Candidates(now time.Time) []Candidate {
	if r == nil || r.fleet == nil || r.Trust == review.Keyless || r.Trust == review.NoKeys {
		return nil
	}
	var list []Candidate
	for i := range r.Changes {
		c := r.changed(&r.Changes[i])
		if c == nil {
			continue
		}
		if target := preflight.CandidateOf(r.fleet, c, now); target.NotChecked == "" {
			list = append(list, Candidate{c.Name, c.AuditConfig, c.Origin.Path, target})
		}
	}
	return list
}

// changed returns the cluster of a change if it logs in otherwise than before.
func (r *Result) changed(change *review.Change) *fleet.Cluster {
	logsIn := func(f plan.Field) bool {
		method, _, _ := strings.Cut(f.Path, ".")
		return slices.Contains(methods, method)
	}
	if change.Kind != plan.KindCluster || change.Action == plan.Remove || change.Action == plan.Change && len(change.Credentials) == 0 && !slices.ContainsFunc(change.Fields, logsIn) {
		return nil
	}
	return r.clusterOf(change)
}

// Checked adds what the check of a candidate has shown. If the credential must work before it is applied, one that doesn't keeps the
// cluster out.
func (r *Result) Checked(c Candidate, found preflight.Result, required bool) {
	blocks, failed := found.Blocks(), found.Failure()
	switch {
	case found.NotChecked != "" || failed == nil:
		return
	case blocks != nil && required:
		r.add(c, blocks.Finding(finding.Error, "the credential fails the preflight"))
		if !slices.Contains(r.LeftOut, c.Cluster) {
			r.LeftOut = append(r.LeftOut, c.Cluster)
			slices.Sort(r.LeftOut)
		}
	default:
		r.add(c, failed.Finding(finding.Warning, "the credential fails the preflight"))
	}
}

func (r *Result) add(c Candidate, f finding.Finding) {
	f.Cluster, f.Path = c.Cluster, c.Path
	r.New = finding.Sorted(append(r.New, f))
}
