package schedule_test

import (
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/muster-gitops/muster/clusters/schedule"
)

const day = 24 * time.Hour

func TestGaps(t *testing.T) {
	for expr, want := range map[string][2]time.Duration{
		"17 * * * *":     {time.Hour, time.Hour},
		"*/20 * * * *":   {20 * time.Minute, 20 * time.Minute},
		"5,10 * * * *":   {5 * time.Minute, 55 * time.Minute},
		"0 */7 * * *":    {3 * time.Hour, 7 * time.Hour},
		"* * * * *":      {time.Minute, time.Minute},
		"0 3 * * *":      {day, day},
		"0 9-17 * * *":   {time.Hour, 16 * time.Hour},
		"0 9-17 * * 1-5": {time.Hour, 64 * time.Hour},
		"0 3 * * 1":      {7 * day, 7 * day},
		"0 3 * * 1-5":    {day, 3 * day},
		"0 3 1 * *":      {29 * day, 31 * day},
		"0 3 13 * 5":     {day, 7 * day},
		"0 3 1 1 *":      {366 * day, 366 * day},
		"0,30 3 1 1 *":   {30 * time.Minute, 366*day - 30*time.Minute},
		"@hourly":        {time.Hour, time.Hour},
		"@daily":         {day, day},
		"@every 90m":     {90 * time.Minute, 90 * time.Minute},
	} {
		shortest, longest, ok := schedule.Gaps(expr)
		if !ok || shortest != want[0] || longest != want[1] {
			t.Errorf("%s: %v to %v %v, want %v to %v", expr, shortest, longest, ok, want[0], want[1])
		}
	}
	for _, expr := range []string{"", "x", "0 0 31 2 *", "61 * * * *"} {
		if _, _, ok := schedule.Gaps(expr); ok {
			t.Errorf("%q has gaps", expr)
		}
	}
}

// FuzzGaps compares the gaps with the runs that cron returns within a leap year.
func FuzzGaps(f *testing.F) {
	for _, expr := range []string{"17 * * * *", "5,10 9-17 * * 1-5", "0 */7 1,15 * *", "0 3 13 * 5", "1 1 28 2 *", "@every 90m"} {
		f.Add(expr)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		resolved, err := schedule.Resolve(expr, "seed")
		if err != nil {
			return
		}
		shortest, longest, ok := schedule.Gaps(resolved)
		if !ok {
			t.Fatalf("%s has no gaps", resolved)
		}
		parsed, err := cron.ParseStandard(resolved)
		if err != nil {
			t.Fatal(err)
		}
		// Midnight of the 1 January is a run like any other.
		at := parsed.Next(time.Date(2023, 12, 31, 23, 59, 59, 0, time.UTC))
		for range 2000 {
			next := parsed.Next(at)
			if next.Year() != 2024 {
				return
			}
			if gap := next.Sub(at); gap < shortest || gap > longest {
				t.Fatalf("%s: %v after %v, not from %v to %v", resolved, gap, at, shortest, longest)
			}
			at = next
		}
	})
}
