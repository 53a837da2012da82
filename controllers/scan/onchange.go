package scan

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// soon is how near the schedule's own start has to be for a changed cluster to wait for that.
const soon = time.Minute

// Changes is what is to be done for the clusters of an audit config that have changed and are to be scanned for it.
type Changes struct {
	// Ready may be scanned now, in the order of the entries.
	Ready []Change
	// Scanned have been scanned since they changed, or are being scanned by a Job that Muster made. Lost have had as many such Jobs
	// as are made for a change, and all of them were deleted before their end.
	Scanned, Lost []string
	// Running is how many Jobs are at work that no schedule has made.
	Running int
	// Next is when to look again though nothing happens; zero for never.
	Next time.Time
}

// Change is a cluster that has changed, and the CronJob to make its Job from.
type Change struct {
	Cluster, CronJob string
	UID              types.UID
	Applied          time.Time
	// Taken is when the operator had taken the change over, and Again how many Jobs of the same change were deleted.
	Taken time.Time
	Again int
}

// MostAgain is how many Jobs are made for one change: one, and others when it was deleted before its end.
const MostAgain = 3

// OnChange decides which changed clusters to scan at once. A cluster waits for the operator, which has to have made the CronJob
// and to have taken the change over (see Status.Taken). It also waits while scanning is paused, while a scan is at work, which may
// be of the form before or be deleted before its end, and where its schedule starts one within a minute, unless the one that it
// started before has been lost. A scan that begins after all that and has a result is the one that was due, whoever started it. One that Muster made and that was deleted before its end
// is due again.
func OnChange(in Input, due map[string]bool) Changes {
	d := newDeriver(in)
	var c Changes
	for i, e := range in.Entries {
		cron, made := d.crons[e.Name]
		if !made {
			continue // its coming is seen
		}
		if jobs := d.jobs[e.Name]; len(jobs) > 0 && jobs[0].Manual && jobs[0].Outcome == Active && d.status(e, culprit{}).State != Failed {
			c.Running++
		}
		taken, is := d.taken(i)
		if !is {
			continue // its coming is seen
		}
		if again := d.lost(e.Name, taken); due[e.Name] || again > 0 {
			d.changed(&c, e, cron, taken, again)
		}
	}
	return c
}

// lost is how many Jobs that Muster made for the present form of an entry were deleted before their end.
func (d *deriver) lost(cluster string, taken time.Time) (n int) {
	for _, j := range d.jobs[cluster] {
		if j.Own && j.Outcome == Vanished && j.Created.After(taken.Truncate(time.Second)) {
			n++
		}
	}
	return n
}

func (d *deriver) changed(c *Changes, e Entry, cron *CronJob, taken time.Time, lost int) {
	again := func(at time.Time) {
		if at.After(d.Now) && (c.Next.IsZero() || at.Before(c.Next)) {
			c.Next = at
		}
	}
	from := taken.Truncate(time.Second)
	// API objects have times of whole seconds. What began in the second of the change may have begun before it, and does not
	// count; so that this scan will, it begins in a later one.
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
	if lost >= MostAgain {
		c.Lost = append(c.Lost, e.Name)
		return
	}
	if d.Paused || cron.Suspended || cron.Active != "" || slices.ContainsFunc(jobs, func(j *Job) bool { return j.Outcome == Active }) {
		return // its end is seen
	}
	missed, next := d.times(cron, e.Applied)
	tried := d.unresolved(cron, jobs, known(jobs)).After(from)
	for _, start := range []time.Time{missed, next} {
		if !tried && !start.IsZero() && d.Now.Sub(start).Abs() <= soon {
			again(start.Add(soon + time.Second))
			return
		}
	}
	c.Ready = append(c.Ready, Change{Cluster: e.Name, CronJob: cron.Name, UID: cron.UID, Applied: e.Applied, Taken: taken, Again: lost})
}
