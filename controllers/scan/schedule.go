package scan

import (
	"errors"
	"strings"
	"time"
	_ "time/tzdata" // a CronJob's time zone is looked up as Kubernetes' controller does it: with the data in the binary

	"github.com/robfig/cron/v3"
)

var errSchedule = errors.New("not a schedule that Kubernetes reads")

// schedule is how a CronJob says when it starts.
type schedule struct{ text, zone string }

// parsed is a schedule as it was read, with the starts that were asked for: those of one schedule were last started at one
// time.
type parsed struct {
	cron.Schedule
	starts map[int64]time.Time
}

// after is the first start after a time; zero for none.
func (p *parsed) after(t time.Time) time.Time {
	start, known := p.starts[t.Unix()]
	if !known {
		start = p.Next(t.UTC())
		p.starts[t.Unix()] = start
	}
	return start
}

// schedule is that of a CronJob, read once; nil where Kubernetes can't read it.
func (d *deriver) schedule(c *CronJob) *parsed {
	key := schedule{c.Schedule, c.TimeZone}
	known, met := d.schedules[key]
	if !met {
		if read, err := parse(key); err == nil {
			known = &parsed{read, map[int64]time.Time{}}
		}
		d.schedules[key] = known
	}
	return known
}

// parse reads a CronJob's schedule as its controller does. The library panics on some input, from which Kubernetes guards
// itself in the same way.
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
		return nil, errSchedule // the library's message quotes, in words that Kubernetes doesn't use
	}
	return read, nil
}

// times are when a scan that has not begun was due, zero when none was, and when the next one is. Without a time zone of its
// own, a CronJob runs in that of the kube-controller-manager, which is UTC wherever nobody has set another.
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
		return due, due // a day that does not exist
	}
	if due.After(d.Now) {
		return time.Time{}, due
	}
	// Right after a change the controller looks at the schedule anew, and finds a start that the former one did not have.
	if applied.After(due) {
		due = applied
	}
	return due, schedule.after(d.Now)
}
