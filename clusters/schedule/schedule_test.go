package schedule_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/muster-gitops/muster/clusters/schedule"
)

func TestResolve(t *testing.T) {
	const seed = "mondoo-client/prod-eu-west-1"
	tests := []struct{ reason, expr, want string }{
		{"plain cron is left alone", "0 3 * * 1-5", "0 3 * * 1-5"},
		{"blanks are made single", " 0   3\t* * *\r\n", "0 3 * * *"},
		{"words are Kubernetes' own", "@hourly", "@hourly"},
		{"@every is taken by Kubernetes too", "@every 90m", "@every 90m"},
		{"the question mark means any", "0 0 ? * *", "0 0 ? * *"},
		{"names of days contain H and are not hashed", "0 0 * MAR THU", "0 0 * MAR THU"},
		{"a week day mends a hashed month", "0 0 31 H(6-6) MON", "0 0 31 6 MON"},
		{"the leap day fires", "0 0 29 2 *", "0 0 29 2 *"},
		{"day of month or week: the week's day fires", "0 0 31 2 1", "0 0 31 2 1"},

		// These pin the hash. If they change, the scans of every fleet move.
		{"minute", "H * * * *", "23 * * * *"},
		{"both", "H H * * *", "23 5 * * *"},
		{"step", "H/15 * * * *", "8-59/15 * * * *"},
		{"range", "H(0-29) * * * *", "23 * * * *"},
		{"range and step", "H(0-29)/10 * * * *", "3-29/10 * * * *"},
		{"day of month", "0 0 H * *", "0 0 3 * *"},
		{"month and words", "0 0 1 H(JAN-jun) *", "0 0 1 4 *"},
		{"day of week by words", "0 0 * * H(MON-FRI)", "0 0 * * 4"},
		{"list", "H(0-29),H(30-59) * * * *", "23,52 * * * *"},
		{"list with plain items", "5,H(10-19),50-55/2 * * * *", "5,12,50-55/2 * * * *"},
		{"one value only", "H(7-7) * * * *", "7 * * * *"},
		{"step as long as the range", "H(0-9)/10 * * * *", "3-9/10 * * * *"},
		{"step of one", "H/1 * * * *", "0-59/1 * * * *"},
		{"the default", schedule.Default, "23 * * * *"},
	}
	for _, test := range tests {
		got, err := schedule.Resolve(test.expr, seed)
		if err != nil || got != test.want {
			t.Errorf("%s: Resolve(%q) = %q, %v; want %q", test.reason, test.expr, got, err, test.want)
		}
	}
}

func TestResolveRefuses(t *testing.T) {
	tests := []struct {
		reason, expr string
		want         schedule.Reason
		field        string
	}{
		{"empty", "", schedule.Empty, ""},
		{"blank", " \t\r\n", schedule.Empty, ""},
		{"huge", strings.Repeat("0,", 300) + "0 * * * *", schedule.TooLong, ""},
		{"too few", "H * * *", schedule.FieldCount, ""},
		{"seconds are not standard cron", "0 H * * * *", schedule.FieldCount, ""},
		{"one word", "hourly", schedule.FieldCount, ""},
		{"time zone", "TZ=Europe/Berlin 0 3 * * *", schedule.TimeZone, ""},
		{"time zone, long form", "CRON_TZ=UTC 0 3 * * *", schedule.TimeZone, ""},
		{"time zone that makes robfig/cron panic", "TZ=UTC", schedule.TimeZone, ""},
		{"time zone behind a blank", " TZ=UTC @daily", schedule.TimeZone, ""},
		{"time zone anywhere", "0 0 * * TZ", schedule.TimeZone, ""},
		{"unknown word", "@fortnightly", schedule.UnknownWord, ""},
		{"reboot", "@reboot", schedule.UnknownWord, ""},
		{"word with fields", "@daily * * * *", schedule.UnknownWord, ""},
		{"every what", "@every", schedule.UnknownWord, ""},
		{"every second", "@every 1s", schedule.TooOften, ""},
		{"backwards", "@every -1h", schedule.TooOften, ""},
		{"minute 60", "60 * * * *", schedule.BadValue, "minute"},
		{"hour 24", "0 24 * * *", schedule.BadValue, "hour"},
		{"day 0", "0 0 0 * *", schedule.BadValue, "day of month"},
		{"month 13", "0 0 1 13 *", schedule.BadValue, "month"},
		{"week day 7, which Kubernetes refuses", "0 0 * * 7", schedule.BadValue, "day of week"},
		{"second item", "0,99 * * * *", schedule.BadValue, "minute"},
		{"empty item", "0,,5 * * * *", schedule.BadValue, "minute"},
		{"only a comma, which robfig/cron takes for never", ", * * * *", schedule.BadValue, "minute"},
		{"trailing comma", "0 1, * * *", schedule.BadValue, "hour"},
		{"backward range", "0 5-1 * * *", schedule.BadValue, "hour"},
		{"step 0", "*/0 * * * *", schedule.BadValue, "minute"},
		{"small h", "h * * * *", schedule.BadValue, "minute"},
		{"not UTF-8", "\xff\xfe * * * *", schedule.BadValue, "minute"},
		{"other digits", "٣ * * * *", schedule.BadValue, "minute"},
		{"hostile", "0\x1b[2J * * * *", schedule.BadValue, "minute"},
		{"number that overflows", "99999999999999999999 * * * *", schedule.BadValue, "minute"},
		{"H and something", "Hx * * * *", schedule.BadHash, "minute"},
		{"H with open bracket", "H(0-5 * * * *", schedule.BadHash, "minute"},
		{"H with one number", "H(5) * * * *", schedule.BadHash, "minute"},
		{"H range without H", "0 H-5 * * *", schedule.BadHash, "hour"},
		{"H with a negative step", "H/-5 * * * *", schedule.BadHash, "minute"},
		{"H above the field", "H(0-60) * * * *", schedule.OutOfRange, "minute"},
		{"H backward", "H(30-10) * * * *", schedule.OutOfRange, "minute"},
		{"H on days that some months lack", "0 0 H(1-31) * *", schedule.OutOfRange, "day of month"},
		{"H on day 0", "0 0 H(0-28) * *", schedule.OutOfRange, "day of month"},
		{"H of a word that is none", "0 0 * * H(MON-FUN)", schedule.OutOfRange, "day of week"},
		{"H of words in a field without", "H(JAN-FEB) * * * *", schedule.OutOfRange, "minute"},
		{"H step 0", "H/0 * * * *", schedule.BadStep, "minute"},
		{"H step beyond the field", "H/61 * * * *", schedule.BadStep, "minute"},
		{"H step beyond the range", "H(0-29)/31 * * * *", schedule.BadStep, "minute"},
		{"H step that overflows", "H/99999999999999999999 * * * *", schedule.BadStep, "minute"},
		{"31 February", "0 0 31 2 *", schedule.NeverFires, "day of month"},
		{"30 February by name", "H H 30 FEB *", schedule.NeverFires, "day of month"},
		{"a day that some months lack, month hashed", "0 0 31 H *", schedule.ShortMonth, "day of month"},
		{"the same, from a range", "H H 29-31 H(JUN-SEP) *", schedule.ShortMonth, "day of month"},
		{"the same, with a question mark", "0 0 31 H ?", schedule.ShortMonth, "day of month"},
		{"31st of short months", "0 0 31 4,6,9,11 *", schedule.NeverFires, "day of month"},
	}
	for _, test := range tests {
		got, err := schedule.Resolve(test.expr, "a/b")
		var refused *schedule.Error
		if !errors.As(err, &refused) {
			t.Errorf("%s: Resolve(%q) = %q, %v; want *Error", test.reason, test.expr, got, err)
			continue
		}
		if refused.Reason != test.want || refused.Field != test.field {
			t.Errorf("%s: Resolve(%q): %q in field %q; want %q in %q", test.reason, test.expr, refused.Reason, refused.Field, test.want, test.field)
		}
		if refused.Fix == "" {
			t.Errorf("%s: no way out", test.reason)
		}
		if message := refused.Error(); len(message) > 200 || strings.ContainsFunc(message, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%s: message %q is long or has control characters", test.reason, message)
		}
	}
}

// cluster returns realistic names, numbered and not.
func cluster(i int) string {
	return fmt.Sprintf("%s-%s-%d", []string{"prod", "stage", "edge"}[i%3], []string{"eu-west", "us-east", "ap-south"}[i/3%3], i)
}

// TestSpread verifies that H is even: chi-square over 10,000 clusters. The limit is the mean plus six standard deviations of the
// chi-square distribution with n-1 degrees of freedom. The hash is fixed, so the test is exact and can't flake.
func TestSpread(t *testing.T) {
	const clusters = 10_000
	tests := []struct {
		expr     string
		part, n  int
		smallest int
	}{
		{"H * * * *", 0, 60, 0},
		{"0 H * * *", 1, 24, 0},
		{"0 0 H * *", 2, 28, 1},
		{"0 0 1 H *", 3, 12, 1},
		{"0 0 * * H", 4, 7, 0},
		{"H(10-19) * * * *", 0, 10, 10},
		{"H/15 * * * *", 0, 15, 0},
		{"H(0-29)/10 * * * *", 0, 10, 0},
		{"0,H * * * *", 0, 60, 0},
	}
	for _, test := range tests {
		counts := make([]int, test.n)
		for i := range clusters {
			got, err := schedule.Resolve(test.expr, schedule.Seed("mondoo-client", cluster(i)))
			if err != nil {
				t.Fatal(err)
			}
			value := strings.Fields(got)[test.part]
			value, _, _ = strings.Cut(strings.TrimPrefix(value, "0,"), "-")
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatalf("%s: %s", test.expr, got)
			}
			counts[n-test.smallest]++
		}
		expected := float64(clusters) / float64(test.n)
		square := 0.0
		for _, count := range counts {
			square += (float64(count) - expected) * (float64(count) - expected) / expected
		}
		degrees := float64(test.n - 1)
		if bound := degrees + 6*math.Sqrt(2*degrees); square > bound {
			t.Errorf("%s: chi-square %.1f over the bound %.1f: %v", test.expr, square, bound, counts)
		}
	}
}

// TestFieldsAreIndependent verifies that clusters with the same minute don't have the same hour: 1,440 minutes of a day are
// used.
func TestFieldsAreIndependent(t *testing.T) {
	seen := map[string]int{}
	for i := range 10_000 {
		got, err := schedule.Resolve("H H * * *", schedule.Seed("mondoo-client", cluster(i)))
		if err != nil {
			t.Fatal(err)
		}
		seen[got]++
	}
	for at, n := range seen {
		if n > 30 { // 6.9 expected
			t.Errorf("%d clusters at %s", n, at)
		}
	}
	if len(seen) < 1400 {
		t.Errorf("%d minutes of the day in use, want nearly all 1440", len(seen))
	}
}

// TestProperties draws expressions from a grammar. The result is stable, accepted by Kubernetes' parser and free of H, and only
// has times that the expression without hashing would have.
func TestProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	bounds := [5][2]int{{0, 59}, {0, 23}, {1, 28}, {1, 12}, {0, 6}}
	item := func(low, high int) (hashed, plain string) {
		a := low + random.IntN(high-low+1)
		b := a + random.IntN(high-a+1)
		step := 1 + random.IntN(b-a+1)
		switch random.IntN(5) {
		case 0:
			return "*", "*"
		case 1:
			return strconv.Itoa(a), strconv.Itoa(a)
		case 2:
			return "H", fmt.Sprintf("%d-%d", low, high)
		case 3:
			return fmt.Sprintf("H(%d-%d)", a, b), fmt.Sprintf("%d-%d", a, b)
		default:
			return fmt.Sprintf("H(%d-%d)/%d", a, b, step), fmt.Sprintf("%d-%d", a, b)
		}
	}
	for range 2_000 {
		var hashed, plain [5]string
		for i, bound := range bounds {
			var items, plainItems []string
			for range 1 + random.IntN(3) {
				h, p := item(bound[0], bound[1])
				items, plainItems = append(items, h), append(plainItems, p)
			}
			hashed[i], plain[i] = strings.Join(items, ","), strings.Join(plainItems, ",")
		}
		expr, seed := strings.Join(hashed[:], " "), schedule.Seed("a", strconv.Itoa(random.Int()))
		got, err := schedule.Resolve(expr, seed)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		if again, _ := schedule.Resolve(expr, seed); again != got {
			t.Fatalf("%s: %s, then %s", expr, got, again)
		}
		if fixed, err := schedule.Resolve(got, "another/seed"); err != nil || fixed != got {
			t.Fatalf("%s: the result %s is not final: %s, %v", expr, got, fixed, err)
		}
		spec, wide := parse(t, got), parse(t, strings.Join(plain[:], " "))
		const star = 1 << 63
		for i, pair := range [5][2]uint64{{spec.Minute, wide.Minute}, {spec.Hour, wide.Hour}, {spec.Dom, wide.Dom}, {spec.Month, wide.Month}, {spec.Dow, wide.Dow}} {
			if extra := pair[0] &^ pair[1] &^ star; extra != 0 {
				t.Fatalf("%s: %s names times outside of field %d of the expression (%b)", expr, got, i, extra)
			}
		}
	}
}

func parse(t *testing.T, expr string) *cron.SpecSchedule {
	t.Helper()
	parsed, err := cron.ParseStandard(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return parsed.(*cron.SpecSchedule)
}

// TestNeighboursDoNotMove: the result for a cluster depends only on its own name and audit config.
func TestNeighboursDoNotMove(t *testing.T) {
	if a, b := schedule.Seed("x-y", "z"), schedule.Seed("x", "y-z"); a == b {
		t.Errorf("two clusters share the seed %s", a)
	}
	one, _ := schedule.Resolve("H H * * *", schedule.Seed("mondoo-client", "a"))
	two, _ := schedule.Resolve("H H * * *", schedule.Seed("mondoo-client-eu", "a"))
	if one == two {
		t.Errorf("the audit config has no say: both %s", one)
	}
}

// FuzzResolve verifies that any text returns a schedule that Kubernetes accepts and that fires, or an *Error, and never panics.
func FuzzResolve(f *testing.F) {
	for _, seed := range []string{"H H(0-5)/2 * * H(MON-FRI)", "@every 1h", "TZ=UTC", "0 0 31 2 *", "H/15,H(0-9) * * * *", ", , , , ,", "\xff", "@"} {
		f.Add(seed, "a/b")
	}
	f.Fuzz(func(t *testing.T, expr, seed string) {
		got, err := schedule.Resolve(expr, seed)
		if err != nil {
			var refused *schedule.Error
			if !errors.As(err, &refused) || got != "" {
				t.Fatalf("Resolve(%q) = %q, %v", expr, got, err)
			}
			return
		}
		parsed, err := cron.ParseStandard(got)
		if err != nil {
			t.Fatalf("Resolve(%q) = %q, which Kubernetes refuses: %v", expr, got, err)
		}
		if parsed.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
			t.Fatalf("Resolve(%q) = %q, which never fires", expr, got)
		}
	})
}
