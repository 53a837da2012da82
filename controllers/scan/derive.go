package scan

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Derive gives the status of each entry, in their order.
func Derive(in Input) []Status {
	d := newDeriver(in)
	culprit := d.culprit()
	list := make([]Status, len(in.Entries))
	for i, e := range in.Entries {
		list[i] = d.status(e, culprit)
		list[i].Taken, list[i].Stuck, list[i].NotTaken = d.takenOver(i, &list[i])
		for _, s := range []*Status{&list[i], list[i].Before} {
			if s != nil {
				s.AuditConfig, s.Applied, s.Scanned = in.AuditConfig, e.Applied, e.Scanned
				s.Taken, s.NotTaken, s.Stuck = list[i].Taken, list[i].NotTaken, list[i].Stuck
			}
		}
	}
	return list
}

// at notes a time at which the status may become another. Of several, the first counts.
func (d *deriver) at(s *Status, when time.Time) {
	// Bounds are exceeded a moment after they are reached.
	if when = when.Add(time.Millisecond); when.After(d.Now) && (s.Until.IsZero() || when.Before(s.Until)) {
		s.Until = when
	}
}

type deriver struct {
	Input
	crons     map[string]*CronJob  // by cluster
	jobs      map[string][]*Job    // of the present CronJob, by cluster, the latest first
	pods      map[string]*Pod      // the latest of each Job
	schedules map[schedule]*parsed // those that were met so far: a fleet has few, and to read one takes longer than all else
}

func newDeriver(in Input) *deriver {
	in.Bounds = in.Bounds.orDefault()
	if in.Redact == nil {
		in.Redact = func(text string) string { return text }
	}
	d := &deriver{Input: in, crons: make(map[string]*CronJob, len(in.CronJobs)), jobs: make(map[string][]*Job, len(in.CronJobs)),
		pods: make(map[string]*Pod, len(in.Pods)), schedules: map[schedule]*parsed{}}
	d.index()
	return d
}

func (d *deriver) index() {
	for i := range d.CronJobs {
		c := &d.CronJobs[i]
		// While one is being replaced, two may have the label.
		if known, twice := d.crons[c.Cluster]; !twice || c.Created.After(known.Created) {
			d.crons[c.Cluster] = c
		}
	}
	for i := range d.Jobs {
		j := &d.Jobs[i]
		if cron, ok := d.crons[j.Cluster]; ok && belongs(j, cron) {
			d.jobs[j.Cluster] = append(d.jobs[j.Cluster], j)
		}
	}
	for _, list := range d.jobs {
		slices.SortFunc(list, func(a, b *Job) int {
			return cmp.Or(b.began().Compare(a.began()), b.Created.Compare(a.Created), cmp.Compare(b.Name, a.Name))
		})
	}
	for i := range d.Pods {
		p := &d.Pods[i]
		if known, more := d.pods[p.Job]; !more || p.Created.After(known.Created) {
			d.pods[p.Job] = p
		}
	}
	for i := range d.Jobs {
		if j := &d.Jobs[i]; j.Pod != nil && d.pods[j.Name] == nil {
			d.pods[j.Name] = j.Pod
		}
	}
}

// belongs says whether a Job is one of this CronJob and not of one that had the cluster before it. Both ways of making a Job
// from a CronJob, its schedule and kubectl create job --from, note the owner.
func belongs(j *Job, c *CronJob) bool {
	if j.Owner != "" {
		return j.Owner == c.UID
	}
	return !j.Created.Before(c.Created)
}

func (d *deriver) status(e Entry, culprit culprit) Status {
	cron, made := d.crons[e.Name]
	if !made {
		return d.withoutCronJob(e, culprit)
	}
	s := Status{Cluster: e.Name, CronJob: cron.Name, Schedule: cron.Schedule}
	jobs := d.jobs[e.Name]
	s.LastSuccess, s.LastSuccessBegan = lastSuccess(cron, jobs)
	if cron.Active != "" && d.Now.Sub(cron.LastSchedule) < d.Bounds.Start && !slices.ContainsFunc(jobs, func(j *Job) bool { return j.UID == cron.Active }) {
		// CronJobs and Jobs are seen by two watches, of which one may be ahead.
		jobs = slices.Concat([]*Job{{UID: cron.Active, Cluster: e.Name, Created: cron.LastSchedule}}, jobs)
	}
	if paused := d.Paused || cron.Suspended; len(jobs) > 0 && jobs[0].Outcome == Active && (!paused || !jobs[0].Suspended) {
		before := s
		d.without(&before, e, cron, jobs[1:])
		s.Next = before.Next
		d.active(&s, jobs[0])
		if s.State == Running {
			s.Before = &before
		}
		return s
	}
	d.without(&s, e, cron, jobs)
	return s
}

// without is the status of a cluster of which no scan is on its way, or would be if that one were not.
func (d *deriver) without(s *Status, e Entry, cron *CronJob, jobs []*Job) {
	due, next := d.times(cron, e.Applied)
	s.Next = next
	if d.Paused || cron.Suspended {
		d.paused(s, cron)
		return
	}
	known := known(jobs)
	lost := d.unresolved(cron, jobs, known)
	if known != nil && known.Outcome == Broken && !s.LastSuccess.After(known.Finished) {
		if d.broken(s, known); !lost.IsZero() {
			s.Detail += "; the scan of " + stamp(lost) + " is gone, and nothing tells how it ended"
		}
		return
	}
	d.settled(s, cron, jobs, lost)
	if d.reported(s, cron) {
		return
	}
	if late := due.Add(d.Bounds.Grace); !due.IsZero() && d.Now.After(late) || s.Reason == ReasonBadSchedule {
		d.overdue(s, cron, due)
	} else if !due.IsZero() {
		d.at(s, late)
	} else if !next.IsZero() {
		d.at(s, next.Add(d.Bounds.Grace))
	}
}

// withoutCronJob is the status of an entry that the operator has not come to.
func (d *deriver) withoutCronJob(e Entry, culprit culprit) Status {
	s := Status{Cluster: e.Name, State: Awaiting, Reason: ReasonNoCronJob, Since: e.Applied,
		Detail: "the operator has not made its CronJob yet"}
	switch {
	case d.Paused:
		s.State, s.Reason, s.Detail = Paused, ReasonAllPaused, "scanning is paused for the whole audit config"
	case d.Now.Sub(e.Applied) > d.Bounds.PickUp: // a zero Applied is long ago
		s.State, s.Reason, s.Culprit = NotPickedUp, culprit.reason, culprit.entry
		s.Detail = culprit.detail
	default:
		d.at(&s, e.Applied.Add(d.Bounds.PickUp))
	}
	return s
}

// active is the status of a cluster whose scan is on its way, or would be if it could start.
func (d *deriver) active(s *Status, j *Job) {
	s.Job, s.Began, s.Since = j.Name, j.began(), j.began()
	if j.Suspended {
		s.State, s.Reason, s.Detail = Paused, ReasonSuspended, "the Job is suspended"
		return
	}
	waited := max(d.Now.Sub(j.began()), 0)
	pod, has := d.pods[j.Name]
	if !has || pod.Phase == "Pending" {
		d.at(s, j.began().Add(d.Bounds.Start))
	}
	s.State = Running
	switch why := d.stuck(pod, has, j, waited); {
	case why.reason == ReasonStillStarting:
		s.Reason, s.Detail = why.reason, why.detail
	case why.reason != "":
		s.State, s.Reason, s.Detail = Failed, why.reason, why.detail
	}
}

// broken is the status of a cluster whose latest scan has failed.
func (d *deriver) broken(s *Status, j *Job) {
	pod, has := d.pods[j.Name]
	why := d.ended(pod, has, j)
	s.State, s.Reason, s.Detail = Failed, why.reason, why.detail
	s.Job, s.Began, s.Since, s.Duration = j.Name, j.began(), j.Finished, took(j)
}

func (d *deriver) paused(s *Status, cron *CronJob) {
	s.State, s.Reason, s.Detail, s.Next = Paused, ReasonAllPaused, "scanning is paused for the whole audit config", time.Time{}
	if !d.Paused {
		s.Reason, s.Detail = ReasonSuspended, "the CronJob "+cron.Name+" is suspended"
	}
}

// settled is the status of a cluster of which no scan runs or was the last to fail.
func (d *deriver) settled(s *Status, cron *CronJob, jobs []*Job, lost time.Time) {
	i := slices.IndexFunc(jobs, func(j *Job) bool { return j.Outcome == Complete && !j.Finished.Before(s.LastSuccess.Add(-time.Second)) })
	switch {
	case !lost.IsZero():
		s.State, s.Reason, s.Since = Awaiting, ReasonJobGone, lost
		s.Detail = fmt.Sprintf("the Job of %s is gone, as happens when the operator updates its CronJob, and nothing tells how it ended", stamp(lost))
	case s.LastSuccess.IsZero():
		s.State, s.Reason, s.Since, s.Detail = Awaiting, ReasonFirstScan, cron.Created, "its first scan has not begun"
	default:
		s.State, s.Since = Succeeded, s.LastSuccess
		if i >= 0 {
			s.Job, s.Began, s.Duration = jobs[i].Name, jobs[i].began(), took(jobs[i])
		}
	}
	if d.schedule(cron) == nil {
		s.Reason = ReasonBadSchedule
	}
}

// overdue says that a scan should have begun.
func (d *deriver) overdue(s *Status, cron *CronJob, due time.Time) {
	s.State, s.Since, s.Next = Overdue, due, due
	switch {
	case s.Reason == ReasonBadSchedule:
		s.Detail = "Kubernetes can't read the schedule of the CronJob, so it never starts: " + clean(cron.Schedule+" "+cron.TimeZone)
	case cron.StartingDeadline != nil && d.Now.After(due.Add(*cron.StartingDeadline)):
		s.Reason = ReasonMissed
		s.Detail = fmt.Sprintf("the scan of %s has not begun, and now it is later than its startingDeadlineSeconds (%s) allows; the next one is tried at its time",
			stamp(due), cron.StartingDeadline)
	default:
		s.Reason = ReasonNotStarted
		if cron.StartingDeadline != nil {
			d.at(s, due.Add(*cron.StartingDeadline))
		}
		s.Detail = fmt.Sprintf("the scan of %s has not begun; is the kube-controller-manager at work, or a quota on Jobs in the way?", stamp(due))
	}
}

// lastSuccess is when a scan last ended well, and when it had begun.
func lastSuccess(cron *CronJob, jobs []*Job) (ended, began time.Time) {
	ended = cron.LastSuccess
	started := accounted(cron, jobs) // whether a Job of the last scheduled time is known, or that of the success
	for _, j := range jobs {
		if j.Outcome == Complete {
			if j.Finished.After(ended) {
				ended = j.Finished
			}
			if j.began().After(began) {
				began = j.began()
			}
		}
		started = started || !j.Created.Before(cron.LastSchedule)
	}
	// A success that came after the last scheduled start, of which no Job is left, is most likely that start's.
	if !started && !cron.LastSchedule.IsZero() && cron.LastSuccess.After(cron.LastSchedule) && cron.LastSchedule.After(began) {
		began = cron.LastSchedule
	}
	return ended, began
}

// accounted reports whether the success that the CronJob's status tells of is that of a Job that is known.
func accounted(cron *CronJob, jobs []*Job) bool {
	return slices.ContainsFunc(jobs, func(j *Job) bool {
		return j.Outcome == Complete && cron.LastSuccess.Sub(j.Finished).Abs() <= time.Second
	})
}

// known is the latest scan with a result; nil for none.
func known(jobs []*Job) *Job {
	if i := slices.IndexFunc(jobs, func(j *Job) bool { return j.Outcome == Complete || j.Outcome == Broken }); i >= 0 {
		return jobs[i]
	}
	return nil
}

// unresolved is when the latest scan began, where it has no result and isn't at work; zero where it has or is. A success that the
// CronJob's status tells of is the latest scan's, unless it is that of another Job that is known.
func (d *deriver) unresolved(cron *CronJob, jobs []*Job, known *Job) time.Time {
	var lost time.Time
	if len(jobs) > 0 && jobs[0].Outcome == Vanished {
		lost = jobs[0].began()
	}
	scheduled := func(j *Job) bool { return !j.Manual && !j.Created.Before(cron.LastSchedule) }
	if cron.Active == "" && cron.LastSchedule.After(lost) && !slices.ContainsFunc(d.jobs[cron.Cluster], scheduled) {
		lost = cron.LastSchedule
	}
	if known != nil && !known.began().Before(lost) || !cron.LastSuccess.Before(lost) && !accounted(cron, jobs) {
		return time.Time{}
	}
	return lost
}

// took is how long a Job took. Its two times come from one clock, and may still be in disorder after that was set.
func took(j *Job) time.Duration { return max(j.Finished.Sub(j.began()), 0) }

// stamp is how details give a time: it stays the same from one look to the next.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
