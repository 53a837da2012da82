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
	// Scanned have been scanned since they changed, or are being scanned.
	Scanned []string
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
}

// OnChange decides which changed clusters to scan at once. A cluster waits for the operator, which has to have made the CronJob
// and to have taken the change into it. When that is, shows in two ways: the CronJob was changed after the entry was applied;
// or Bounds.Settle is over, for a new credential, or a filter that is in a ConfigMap, leaves the CronJob as it is. A cluster
// also waits while scanning is paused, while a scan is at work, which may be of the form before, and where its schedule starts
// one within a minute. A scan that begins after all that is the one that was due, whoever started it.
func OnChange(in Input, due map[string]bool) Changes {
	d := newDeriver(in)
	var c Changes
	for _, e := range in.Entries {
		cron, made := d.crons[e.Name]
		if !made {
			continue // its coming is seen
		}
		if jobs := d.jobs[e.Name]; len(jobs) > 0 && jobs[0].Manual && jobs[0].Outcome == Active && d.status(e, culprit{}).State != Failed {
			c.Running++
		}
		if due[e.Name] {
			d.changed(&c, e, cron)
		}
	}
	return c
}

func (d *deriver) changed(c *Changes, e Entry, cron *CronJob) {
	again := func(at time.Time) {
		if at.After(d.Now) && (c.Next.IsZero() || at.Before(c.Next)) {
			c.Next = at
		}
	}
	from := e.Applied.Truncate(time.Second)
	if !cron.Changed.Before(from) {
		from = cron.Changed
	} else if settled := from.Add(d.Bounds.Settle); d.Now.Before(settled) {
		again(settled)
		return
	}
	// API objects have times of whole seconds. What began in the second of the change may have begun before it, and does not
	// count; so that this scan will, it begins in a later one.
	if over := from.Add(time.Second); d.Now.Before(over) {
		again(over)
		return
	}
	jobs := d.jobs[e.Name]
	if cron.LastSchedule.After(from) || slices.ContainsFunc(jobs, func(j *Job) bool { return j.Created.After(from) }) {
		c.Scanned = append(c.Scanned, e.Name)
		return
	}
	if d.Paused || cron.Suspended || slices.ContainsFunc(jobs, func(j *Job) bool { return j.Outcome == Active }) {
		return // its end is seen
	}
	missed, next := d.times(cron, e.Applied)
	for _, start := range []time.Time{missed, next} {
		if !start.IsZero() && d.Now.Sub(start).Abs() <= soon {
			again(start.Add(soon + time.Second))
			return
		}
	}
	c.Ready = append(c.Ready, Change{Cluster: e.Name, CronJob: cron.Name, UID: cron.UID, Applied: e.Applied})
}
