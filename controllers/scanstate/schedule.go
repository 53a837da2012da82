package scanstate

import (
	"errors"
	"strings"
	"time"
	_ "time/tzdata" // look up a CronJob's time zone as Kubernetes' controller does: in data that is part of the binary

	"github.com/robfig/cron/v3"
)

var errSchedule = errors.New("not a schedule that Kubernetes can parse")

// schedule is a CronJob's schedule and time zone.
type schedule struct{ text, zone string }

// parsed is a parsed schedule with a cache of its starts. All CronJobs with the same schedule last started at the same time, so
// the cache stays small.
type parsed struct {
	cron.Schedule
	starts map[int64]time.Time
}

// after returns the first start after a time; zero for none.
func (p *parsed) after(t time.Time) time.Time {
	start, cached := p.starts[t.Unix()]
	if !cached {
		start = p.Next(t.UTC())
		p.starts[t.Unix()] = start
	}
	return start
}

// schedule returns the parsed schedule of a CronJob, or nil if Kubernetes can't parse it. It caches the result.
func (d *deriver) schedule(c *CronJob) *parsed {
	key := schedule{c.Schedule, c.TimeZone}
	cached, found := d.schedules[key]
	if !found {
		if read, err := parse(key); err == nil {
			cached = &parsed{read, map[int64]time.Time{}}
		}
		d.schedules[key] = cached
	}
	return cached
}

// parse parses a CronJob's schedule as its controller does. The library panics on some input; Kubernetes recovers in the same way.
func parse(c schedule) (read cron.Schedule, err error) {
	defer func() {
		if recover() != nil {
			read, err = nil, errSchedule
		}
	}()
	text := c.text
	if c.zone != "" && !strings.Contains(text, "TZ") {
		if _, err := time.LoadLocation(c.zone); err != nil {
			return nil, errSchedule
		}
		text = "TZ=" + c.zone + " " + text
	}
	if read, err = cron.ParseStandard(text); err != nil {
		return nil, errSchedule // the library's message quotes its input, in terms that Kubernetes doesn't use
	}
	return read, nil
}

// times returns when a scan was due that has not begun (zero if none was), and when the next one is due. A CronJob without a time
// zone runs in the kube-controller-manager's, which is UTC by default.
func (d *deriver) times(c *CronJob, applied time.Time) (due, next time.Time) {
	schedule := d.schedule(c)
	if schedule == nil {
		return time.Time{}, time.Time{}
	}
	from := c.Created
	if !c.LastSchedule.IsZero() {
		from = c.LastSchedule
	}
	due = schedule.after(from)
	if due.IsZero() {
		return due, due // a date that does not exist
	}
	if due.After(d.Now) {
		return time.Time{}, due
	}
	// After a change the controller evaluates the new schedule, and may find a start that the old one did not have.
	if applied.After(due) {
		due = applied
	}
	return due, schedule.after(d.Now)
}
