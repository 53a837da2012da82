package scanstate

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Derive returns the status of each entry, in the order of the entries.
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

// mayChangeAt records a time at which the status may change. The earliest one counts.
func (d *deriver) mayChangeAt(s *Status, when time.Time) {
	// A bound is exceeded a moment after it is reached.
	if when = when.Add(time.Millisecond); when.After(d.Now) && (s.Until.IsZero() || when.Before(s.Until)) {
		s.Until = when
	}
}

type deriver struct {
	Input
	crons     map[string]*CronJob  // by cluster
	jobs      map[string][]*Job    // of the current CronJob, by cluster, the latest first
	pods      map[string]*Pod      // the latest of each Job
	schedules map[schedule]*parsed // cached: a fleet has few, and parsing one takes longer than everything else
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
		// While a CronJob is being replaced, two may have the label.
		if other, found := d.crons[c.Cluster]; !found || c.Created.After(other.Created) {
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
		if other, found := d.pods[p.Job]; !found || p.Created.After(other.Created) {
			d.pods[p.Job] = p
		}
	}
	for i := range d.Jobs {
		if j := &d.Jobs[i]; j.Pod != nil && d.pods[j.Name] == nil {
			d.pods[j.Name] = j.Pod
		}
	}
}

// belongs reports whether a Job is from this CronJob, and not from an earlier one for the same cluster. A CronJob's schedule and
// kubectl create job --from both set the owner.
func belongs(j *Job, c *CronJob) bool {
	if j.Owner != "" {
		return j.Owner == c.UID
	}
	return !j.Created.Before(c.Created)
}

func (d *deriver) status(e Entry, culprit culprit) Status {
	cron, found := d.crons[e.Name]
	if !found {
		return d.withoutCronJob(e, culprit)
	}
	s := Status{Cluster: e.Name, CronJob: cron.Name, Schedule: cron.Schedule}
	jobs := d.jobs[e.Name]
	s.LastSuccess, s.LastSuccessBegan = lastSuccess(cron, jobs)
	if cron.Active != "" && d.Now.Sub(cron.LastSchedule) < d.Bounds.Start && !slices.ContainsFunc(jobs, func(j *Job) bool { return j.UID == cron.Active }) {
		// CronJobs and Jobs come from two watches, and one may be ahead of the other.
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

// without sets the status of a cluster without an active scan. For a cluster with one, this is the status it would have otherwise.
func (d *deriver) without(s *Status, e Entry, cron *CronJob, jobs []*Job) {
	due, next := d.times(cron, e.Applied)
	s.Next = next
	if d.Paused || cron.Suspended {
		d.paused(s, cron)
		return
	}
	latest := latestResult(jobs)
	unresolved := d.unresolved(cron, jobs, latest)
	if latest != nil && latest.Outcome == Broken && !s.LastSuccess.After(latest.Finished) {
		if d.broken(s, latest); !unresolved.IsZero() {
			s.Detail += "; the Job of the scan of " + stamp(unresolved) + " is gone, and its result is unknown"
		}
		return
	}
	d.settled(s, cron, jobs, unresolved)
	if d.reported(s, cron) {
		return
	}
	if late := due.Add(d.Bounds.Grace); !due.IsZero() && d.Now.After(late) || s.Reason == ReasonBadSchedule {
		d.overdue(s, cron, due)
	} else if !due.IsZero() {
		d.mayChangeAt(s, late)
	} else if !next.IsZero() {
		d.mayChangeAt(s, next.Add(d.Bounds.Grace))
	}
}

// withoutCronJob returns the status of an entry that has no CronJob yet.
func (d *deriver) withoutCronJob(e Entry, culprit culprit) Status {
	s := Status{Cluster: e.Name, State: Awaiting, Reason: ReasonNoCronJob, Since: e.Applied,
		Detail: "the operator has not created its CronJob yet"}
	switch {
	case d.Paused:
		s.State, s.Reason, s.Detail = Paused, ReasonAllPaused, "scanning is paused for the whole audit config"
	case d.Now.Sub(e.Applied) > d.Bounds.PickUp: // a zero Applied means long ago
		s.State, s.Reason, s.Culprit = NotPickedUp, culprit.reason, culprit.entry
		s.Detail = culprit.detail
	default:
		d.mayChangeAt(&s, e.Applied.Add(d.Bounds.PickUp))
	}
	return s
}

// active sets the status of a cluster whose Job is active, even if the Job can't start.
func (d *deriver) active(s *Status, j *Job) {
	s.Job, s.Began, s.Since = j.Name, j.began(), j.began()
	if j.Suspended {
		s.State, s.Reason, s.Detail = Paused, ReasonSuspended, "the Job is suspended"
		return
	}
	waited := max(d.Now.Sub(j.began()), 0)
	pod, has := d.pods[j.Name]
	if !has || pod.Phase == "Pending" {
		d.mayChangeAt(s, j.began().Add(d.Bounds.Start))
	}
	s.State = Running
	switch why := d.stuck(pod, has, j, waited); {
	case why.reason == ReasonStillStarting:
		s.Reason, s.Detail = why.reason, why.detail
	case why.reason != "":
		s.State, s.Reason, s.Detail = Failed, why.reason, why.detail
	}
}

// broken sets the status of a cluster whose latest scan failed.
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

// settled sets the status of a cluster that has no active scan and whose latest known scan did not fail.
func (d *deriver) settled(s *Status, cron *CronJob, jobs []*Job, unresolved time.Time) {
	i := slices.IndexFunc(jobs, func(j *Job) bool { return j.Outcome == Complete && !j.Finished.Before(s.LastSuccess.Add(-time.Second)) })
	switch {
	case !unresolved.IsZero():
		s.State, s.Reason, s.Since = Awaiting, ReasonJobGone, unresolved
		s.Detail = fmt.Sprintf("the Job of %s is gone and its result is unknown; this happens when the operator updates its CronJob", stamp(unresolved))
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

// overdue sets the status of a cluster whose scan should have begun.
func (d *deriver) overdue(s *Status, cron *CronJob, due time.Time) {
	s.State, s.Since, s.Next = Overdue, due, due
	switch {
	case s.Reason == ReasonBadSchedule:
		s.Detail = "Kubernetes can't parse the CronJob's schedule, so it never starts: " + clean(cron.Schedule+" "+cron.TimeZone)
	case cron.StartingDeadline != nil && d.Now.After(due.Add(*cron.StartingDeadline)):
		s.Reason = ReasonMissed
		s.Detail = fmt.Sprintf("the scan of %s has not begun within its startingDeadlineSeconds (%s); Kubernetes skips it and starts the next one on schedule",
			stamp(due), cron.StartingDeadline)
	default:
		s.Reason = ReasonNotStarted
		if cron.StartingDeadline != nil {
			d.mayChangeAt(s, due.Add(*cron.StartingDeadline))
		}
		s.Detail = fmt.Sprintf("the scan of %s has not begun; check that the kube-controller-manager is running, and for a quota on Jobs", stamp(due))
	}
}

// lastSuccess returns when the last successful scan ended, and when it began.
func lastSuccess(cron *CronJob, jobs []*Job) (ended, began time.Time) {
	ended = cron.LastSuccess
	started := accounted(cron, jobs) // whether the Job of the last scheduled time or of the last success is known
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
	// The Job of the last scheduled start is gone. A success after that start is most likely its result.
	if !started && !cron.LastSchedule.IsZero() && cron.LastSuccess.After(cron.LastSchedule) && cron.LastSchedule.After(began) {
		began = cron.LastSchedule
	}
	return ended, began
}

// accounted reports whether the Job of the last success in the CronJob's status is known.
func accounted(cron *CronJob, jobs []*Job) bool {
	return slices.ContainsFunc(jobs, func(j *Job) bool {
		return j.Outcome == Complete && cron.LastSuccess.Sub(j.Finished).Abs() <= time.Second
	})
}

// latestResult returns the latest scan that has a result, or nil.
func latestResult(jobs []*Job) *Job {
	if i := slices.IndexFunc(jobs, func(j *Job) bool { return j.Outcome == Complete || j.Outcome == Broken }); i >= 0 {
		return jobs[i]
	}
	return nil
}

// unresolved returns when the latest scan began if that scan is no longer active and has no result; otherwise the zero time. The last
// success in the CronJob's status counts as the result of the latest scan, unless it belongs to another known Job.
func (d *deriver) unresolved(cron *CronJob, jobs []*Job, latest *Job) time.Time {
	var began time.Time
	if len(jobs) > 0 && jobs[0].Outcome == Vanished {
		began = jobs[0].began()
	}
	scheduled := func(j *Job) bool { return !j.Manual && !j.Created.Before(cron.LastSchedule) }
	if cron.Active == "" && cron.LastSchedule.After(began) && !slices.ContainsFunc(d.jobs[cron.Cluster], scheduled) {
		began = cron.LastSchedule
	}
	if latest != nil && !latest.began().Before(began) || !cron.LastSuccess.Before(began) && !accounted(cron, jobs) {
		return time.Time{}
	}
	return began
}

// took returns how long a Job took. Its times come from one clock, but they may be out of order if that clock was adjusted.
func took(j *Job) time.Duration { return max(j.Finished.Sub(j.began()), 0) }

// stamp formats a time for a detail. It is absolute, so that the text doesn't change as time passes.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
