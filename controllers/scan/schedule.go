package scan

import (
	"errors"
	"strings"
	"time"
	_ "time/tzdata" // a CronJob's time zone is looked up as Kubernetes' controller does it: with the data in the binary

	"github.com/robfig/cron/v3"
)

var errSchedule = errors.New("not a schedule that Kubernetes reads")

// parse reads a CronJob's schedule as its controller does. The library panics on some input, from which Kubernetes guards
// itself in the same way.
func parse(c CronJob) (schedule cron.Schedule, err error) {
	defer func() {
		if recover() != nil {
			schedule, err = nil, errSchedule
		}
	}()
	text := c.Schedule
	if c.TimeZone != "" && !strings.Contains(text, "TZ") {
		if _, err := time.LoadLocation(c.TimeZone); err != nil {
			return nil, errSchedule
		}
		text = "TZ=" + c.TimeZone + " " + text
	}
	if schedule, err = cron.ParseStandard(text); err != nil {
		return nil, errSchedule // the library's message quotes, in words that Kubernetes doesn't use
	}
	return schedule, nil
}

// times are when a scan that has not begun was due, zero when none was, and when the next one is. Without a time zone of its
// own, a CronJob runs in that of the kube-controller-manager, which is UTC wherever nobody has set another.
func (d *deriver) times(c CronJob, applied time.Time) (due, next time.Time) {
	schedule, err := parse(c)
	if err != nil {
		return time.Time{}, time.Time{}
	}
	from := c.Created
	if !c.LastSchedule.IsZero() {
		from = c.LastSchedule
	}
	due = schedule.Next(from.UTC())
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
	return due, schedule.Next(d.Now.UTC())
}
