package schedule_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/muster-gitops/muster/clusters/schedule"
)

func TestBusiest(t *testing.T) {
	tests := []struct {
		reason    string
		schedules map[string]int
		want      schedule.Minute
		n         int
	}{
		{"nothing", nil, schedule.Minute{Hourly: true}, 0},
		{"every hour", map[string]int{"17 * * * *": 12}, schedule.Minute{Minute: 17, Hourly: true}, 12},
		{"a word is a schedule", map[string]int{"@daily": 3}, schedule.Minute{}, 3},
		{"different expressions meet", map[string]int{"0 * * * *": 6, "0 3 * * *": 5, "5 3 * * *": 4}, schedule.Minute{Hour: 3}, 11},
		{"different minutes don't", map[string]int{"0 3 * * *": 6, "1 3 * * *": 7}, schedule.Minute{Hour: 3, Minute: 1}, 7},
		{"different week days don't", map[string]int{"0 3 * * 1": 6, "0 3 * * 2": 7}, schedule.Minute{Hour: 3}, 7},
		{"overlapping week days do", map[string]int{"0 3 * * 1-5": 6, "0 3 * * 5,6": 7}, schedule.Minute{Hour: 3}, 13},
		{"different months don't", map[string]int{"0 3 * 1 *": 6, "0 3 * 2 *": 7}, schedule.Minute{Hour: 3}, 7},
		{"day of month or day of week", map[string]int{"0 3 13 * 5": 6, "0 3 13 * *": 7}, schedule.Minute{Hour: 3}, 13},
		{"the 29 February is a day", map[string]int{"0 3 29 2 *": 6, "0 3 * * *": 1}, schedule.Minute{Hour: 3}, 7},
		{"@every has no minute", map[string]int{"@every 1h": 50, "0 3 * * *": 1}, schedule.Minute{Hour: 3}, 1},
		{"what can't be parsed is passed over", map[string]int{"x": 50, "0 3 * * *": 1}, schedule.Minute{Hour: 3}, 1},
	}
	for _, test := range tests {
		at, n := schedule.Busiest(test.schedules)
		if at != test.want || n != test.n {
			t.Errorf("%s: %d at %+v, want %d at %+v", test.reason, n, at, test.n, test.want)
		}
		for expr := range test.schedules {
			if test.n > 0 && len(test.schedules) == 1 && !schedule.FiresAt(expr, at) {
				t.Errorf("%s: %s does not fire at %+v", test.reason, expr, at)
			}
		}
	}
}

func TestSpreadSaysWhoChoseTheMinute(t *testing.T) {
	for expr, want := range map[string]bool{"H * * * *": true, "H/15 * * * *": true, "0,H * * * *": true, "@every 1h": true, " H 3 * * *": true,
		"0 H * * *": false, "0 3 * * *": false, "@hourly": false, "": false} {
		if got := schedule.Spread(expr); got != want {
			t.Errorf("Spread(%q) is %t", expr, got)
		}
	}
}

// counted asks cron itself for every start in a year.
func counted(schedules map[string]int) int {
	starts := map[time.Time]int{}
	end := time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)
	for expr, n := range schedules {
		parsed, err := cron.ParseStandard(expr)
		if err != nil {
			continue
		}
		at := parsed.Next(time.Date(2023, time.December, 31, 23, 59, 59, 0, time.UTC))
		for !at.IsZero() && at.Before(end) {
			starts[at] += n
			at = parsed.Next(at)
		}
	}
	most := 0
	for _, n := range starts {
		most = max(most, n)
	}
	return most
}

func randomSchedules(r *rand.Rand, n int) map[string]int {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	schedules := map[string]int{}
	for range n {
		minute := pick("0", "0,30", strconv.Itoa(r.IntN(60)), "*/15")
		hour := pick("*", "3", "1-5", "*/6", strconv.Itoa(r.IntN(24)))
		dom, month, dow := pick("*", "*", "1", "13", "29-31"), pick("*", "*", "2", "6-8"), pick("*", "*", "1-5", "0", "6")
		schedules[strings.Join([]string{minute, hour, dom, month, dow}, " ")] += 1 + r.IntN(5)
	}
	return schedules
}

func TestBusiestIsWhatCronDoes(t *testing.T) {
	for seed := range uint64(60) {
		schedules := randomSchedules(rand.New(rand.NewPCG(seed, 0)), 6)
		if _, n := schedule.Busiest(schedules); n != counted(schedules) {
			t.Errorf("seed %d: %d, and cron starts %d at once: %v", seed, n, counted(schedules), schedules)
		}
	}
}

// The floor is to ask cron for every start of a year.
func BenchmarkBusiest(b *testing.B) {
	schedules := randomSchedules(rand.New(rand.NewPCG(1, 0)), 500)
	b.Run("busiest", func(b *testing.B) {
		for b.Loop() {
			schedule.Busiest(schedules)
		}
	})
	b.Run("cron", func(b *testing.B) {
		for b.Loop() {
			counted(schedules)
		}
	})
}
