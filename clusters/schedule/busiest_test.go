package schedule_test

import (
	"testing"

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
