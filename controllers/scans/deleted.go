package scans

import (
	"slices"
	"time"

	"github.com/muster-gitops/muster/controllers/scanstate"
)

// maxGone is how many deleted Jobs are remembered for each cluster, separately for Muster's Jobs and for others.
const maxGone = scanstate.MostAgain

// rememberDeleted remembers a deleted Job while its CronJob exists. The operator deletes some Jobs within seconds of their end, and others
// before they end.
func (o *objects) rememberDeleted(j scanstate.Job, at time.Time) {
	if !slices.ContainsFunc(o.cronJobs.list, func(c scanstate.CronJob) bool { return c.UID == j.Owner }) {
		return
	}
	if j.Gone = true; j.Outcome == scanstate.Active {
		j.Outcome, j.Finished = scanstate.Vanished, at
	}
	if i := slices.IndexFunc(o.pods.list, func(p scanstate.Pod) bool { return p.Job == j.Name }); i >= 0 {
		pod := o.pods.list[i]
		j.Pod = &pod
		o.pods.remove(pod.Name) // it may have been kept only for the Job
	}
	if o.gone == nil {
		o.gone = map[string][]scanstate.Job{}
	}
	o.gone[j.Cluster] = dropOldest(append(o.gone[j.Cluster], j), j.Own)
}

// dropOldest drops the oldest Job if there are more than maxGone. It keeps the latest one that ended, because that has the last result.
func dropOldest(jobs []scanstate.Job, own bool) []scanstate.Job {
	alike, latest := []int{}, -1
	for i, j := range jobs {
		if j.Own == own {
			alike = append(alike, i)
			if j.Outcome != scanstate.Vanished {
				latest = i
			}
		}
	}
	if len(alike) <= maxGone {
		return jobs
	}
	oldest := alike[0]
	if oldest == latest && !own { // after maxGone deleted Jobs, Muster creates no more
		oldest = alike[1]
	}
	return slices.Delete(jobs, oldest, oldest+1)
}

// explainsFailure reports whether a Pod has failed and its Job still exists. Pods are deleted before their Jobs, and the cause of the
// failure would be lost with the Pod.
func (o *objects) explainsFailure(p scanstate.Pod) bool {
	return p.Phase == "Failed" && slices.ContainsFunc([]*table[scanstate.Job]{&o.jobs, &o.own}, func(t *table[scanstate.Job]) bool {
		_, exists := t.at[p.Job]
		return exists
	})
}

// updateDeleted stores a new state of the Pod of a deleted Job.
func (o *objects) updateDeleted(cluster string, p scanstate.Pod) {
	for i, j := range o.gone[cluster] {
		if j.Name == p.Job {
			o.gone[cluster][i].Pod = &p
		}
	}
}
