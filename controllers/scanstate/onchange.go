package scanstate

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// soon is how close a scheduled start must be for a changed cluster to wait for it.
const soon = time.Minute

// Changes is what to do for the changed clusters of an audit config that are due for a scan.
type Changes struct {
	// Ready can be scanned now, in the order of the entries.
	Ready []Change
	// Scanned have been scanned since they changed, or are being scanned by a Job that Muster created. Lost have used up the Jobs
	// that Muster creates for a change (MostAgain), and all of these were deleted before they ended.
	Scanned, Lost []string
	// Running is the number of active Jobs that were not created by a schedule.
	Running int
	// Next is when to look again even if nothing happens; zero for never.
	Next time.Time
}

// Change is a changed cluster, and the CronJob to create its Job from.
type Change struct {
	Cluster, CronJob string
	UID              types.UID
	Applied          time.Time
	// Taken is when the operator picked up the change. Again is how many Jobs for this change were deleted.
	Taken time.Time
	Again int
}

// MostAgain is how many Jobs Muster creates for one change: the first, and further ones if that is deleted before it ends.
const MostAgain = 3

// OnChange decides which changed clusters to scan now.
//
// A cluster waits until the operator has created its CronJob and picked up the change (see Status.Taken). It waits while scanning is
// paused. It waits while a scan is active, because that scan may use the old entry or may be deleted before it ends. And it waits if
// its schedule starts a scan within a minute, unless the scan that the schedule started before was lost. After that, any scan with a
// result counts as the one that was due, no matter who started it. If a Job that Muster created is deleted before it ends, the
// cluster is due again.
func OnChange(in Input, due map[string]bool) Changes {
	d := newDeriver(in)
	var c Changes
	for i, e := range in.Entries {
		cron, found := d.crons[e.Name]
		if !found {
			continue // its creation is watched
		}
		if jobs := d.jobs[e.Name]; len(jobs) > 0 && jobs[0].Manual && jobs[0].Outcome == Active && d.status(e, culprit{}).State != Failed {
			c.Running++
		}
		taken, ok := d.taken(i)
		if !ok {
			continue // the change of the operator's objects is watched
		}
		if again := d.deletedJobs(e.Name, taken); due[e.Name] || again > 0 {
			d.changed(&c, e, cron, taken, again)
		}
	}
	return c
}

// deletedJobs counts the Jobs that Muster created for the current entry and that were deleted before they ended.
func (d *deriver) deletedJobs(cluster string, taken time.Time) (n int) {
	for _, j := range d.jobs[cluster] {
		if j.Own && j.Outcome == Vanished && j.Created.After(taken.Truncate(time.Second)) {
			n++
		}
	}
	return n
}

func (d *deriver) changed(c *Changes, e Entry, cron *CronJob, taken time.Time, deleted int) {
	again := func(at time.Time) {
		if at.After(d.Now) && (c.Next.IsZero() || at.Before(c.Next)) {
			c.Next = at
		}
	}
	from := taken.Truncate(time.Second)
	// Times in API objects are whole seconds. A scan that began in the same second as the change may have begun before it, and
	// does not count. So this scan must begin in a later second.
	if over := from.Add(time.Second); d.Now.Before(over) {
		again(over)
		return
	}
	jobs := d.jobs[e.Name]
	_, began := lastSuccess(cron, jobs)
	if began.After(from) || slices.ContainsFunc(jobs, func(j *Job) bool {
		return j.began().After(from) && (j.Outcome == Complete || j.Outcome == Broken || j.Own && j.Outcome == Active)
	}) {
		c.Scanned = append(c.Scanned, e.Name)
		return
	}
	if deleted >= MostAgain {
		c.Lost = append(c.Lost, e.Name)
		return
	}
	if d.Paused || cron.Suspended || cron.Active != "" || slices.ContainsFunc(jobs, func(j *Job) bool { return j.Outcome == Active }) {
		return // the end of the scan is watched
	}
	missed, next := d.times(cron, e.Applied)
	tried := d.unresolved(cron, jobs, latestResult(jobs)).After(from)
	for _, start := range []time.Time{missed, next} {
		if !tried && !start.IsZero() && d.Now.Sub(start).Abs() <= soon {
			again(start.Add(soon + time.Second))
			return
		}
	}
	c.Ready = append(c.Ready, Change{Cluster: e.Name, CronJob: cron.Name, UID: cron.UID, Applied: e.Applied, Taken: taken, Again: deleted})
}
