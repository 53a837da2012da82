package schedule

import (
	"math/bits"
	"time"

	"github.com/robfig/cron/v3"
)

// Gaps returns the shortest and the longest time between two runs of a schedule in the form that Resolve returns, from 2024 on.
// ok is false for a schedule that Resolve would refuse.
func Gaps(resolved string) (shortest, longest time.Duration, ok bool) {
	parsed, err := cron.ParseStandard(resolved)
	if err != nil {
		return 0, 0, false
	}
	if every, constant := parsed.(cron.ConstantDelaySchedule); constant {
		return every.Delay, every.Delay, true
	}
	spec, known := parsed.(*cron.SpecSchedule)
	if !known {
		return 0, 0, false
	}
	g := gaps{shortest: 366 * 24 * time.Hour}
	first, last := minutes(spec.Hour, spec.Minute, g.add)
	overnight := 24*time.Hour - last + first
	if spec.Dom&spec.Month&spec.Dow&anyDay != 0 {
		g.add(overnight)
		return g.shortest, g.longest, true
	}
	d := days{dom: spec.Dom, month: spec.Month, dow: spec.Dow}
	year, decade := firstDay.AddDate(1, 0, 0), firstDay.AddDate(10, 0, 0)
	var before time.Time
	// A year is enough, except for schedules that only run in leap years.
	for day := firstDay; day.Before(decade); day = day.AddDate(0, 0, 1) {
		if !d.on(day) {
			continue
		}
		if !before.IsZero() {
			g.add(day.Sub(before) - 24*time.Hour + overnight)
		}
		if !day.Before(year) {
			return g.shortest, g.longest, true
		}
		before = day
	}
	return 0, 0, false
}

type gaps struct{ shortest, longest time.Duration }

func (g *gaps) add(d time.Duration) { g.shortest, g.longest = min(g.shortest, d), max(g.longest, d) }

// minutes calls gap for each time between two runs of one day. It returns the first and the last run, as times since midnight.
func minutes(hourMask, minuteMask uint64, gap func(time.Duration)) (first, last time.Duration) {
	var before time.Duration
	ran := false
	for hours := hourMask &^ anyDay; hours != 0; hours &= hours - 1 {
		for rest := minuteMask &^ anyDay; rest != 0; rest &= rest - 1 {
			at := time.Duration(bits.TrailingZeros64(hours))*time.Hour + time.Duration(bits.TrailingZeros64(rest))*time.Minute
			if ran {
				gap(at - before)
			} else {
				first = at
			}
			before, ran = at, true
		}
	}
	return first, before
}
