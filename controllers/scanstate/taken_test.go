package scanstate

import (
	"strings"
	"testing"
	"time"
)

// TestTaken: a scan counts for a change once the change is in what it runs with, and what stops that is named.
func TestTaken(t *testing.T) {
	const vault = "m-vault-kubeconfig-v"
	cases := map[string]struct {
		reason  string
		entry   Entry // of a, which comes after v, a cluster of Vault
		changed string
		written map[string]time.Time
		scanned bool // by the scan of 11:30
		stuck   string
	}{
		"not taken over":        {"v is older than the change", Entry{Changed: clock("11:20")}, "01:00", map[string]time.Time{vault: clock("11:10")}, false, "stops at entry v, where it has to log in to Vault"},
		"not taken over alone":  {"v was worked since", Entry{Changed: clock("11:20")}, "01:00", map[string]time.Time{vault: clock("11:21")}, false, "check its log"},
		"an entry it refuses":   {"that is certain", Entry{Changed: clock("11:20"), Invalid: "no method"}, "01:00", map[string]time.Time{vault: clock("11:21")}, false, "stops at entry a, which it can't use: no method"},
		"just now":              {"it has half a minute", Entry{Changed: clock("12:00")}, "01:00", nil, false, ""},
		"in time":               {"before the scan began", Entry{Changed: clock("11:20")}, "11:25", nil, true, ""},
		"late":                  {"the scan had begun", Entry{Changed: clock("11:20")}, "11:31", nil, false, ""},
		"late, and seen before": {"the CronJob was written again", Entry{Changed: clock("11:20"), Taken: clock("11:25")}, "11:31", nil, true, ""},
		"seen before a change":  {"that was of the form before", Entry{Changed: clock("11:20"), Taken: clock("11:15")}, "01:00", map[string]time.Time{vault: clock("11:21")}, false, "check its log"},
		"a Secret alone":        {"it is in the next Pod", Entry{Applied: clock("11:20"), Changed: clock("02:00"), Taken: clock("02:01")}, "01:00", nil, true, ""},
		"a Secret, later":       {"the Pod had begun", Entry{Applied: clock("11:40"), Changed: clock("02:00"), Taken: clock("02:01")}, "01:00", nil, false, ""},
		"a Secret, and stuck":   {"the entry has changed before it", Entry{Applied: clock("11:20"), Changed: clock("02:00")}, "01:00", map[string]time.Time{vault: clock("02:10")}, false, "check its log"},
		"long ago":              {"nobody noted when", Entry{}, "01:00", nil, true, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.entry.Name = "a"; c.entry.Applied.IsZero() {
				c.entry.Applied = c.entry.Changed
			}
			observed := Observed{CronJobs: append(hourly(func(cron *CronJob) { cron.Changed = clock(c.changed) }), CronJob{Name: "scan-v", UID: "v", Cluster: "v", Schedule: "30 * * * *", Created: clock("01:00")}),
				Jobs: []Job{job("11:30", complete("11:45"))}, Written: c.written}
			s := Derive(Input{AuditConfig: "m", Entries: []Entry{{Name: "v", Vault: true}, c.entry}, Observed: observed, Now: noon})[1]
			if s.HasScanned() != c.scanned || !strings.Contains(s.Stuck, c.stuck) || (s.Stuck == "") != (c.stuck == "") {
				t.Errorf("%s: scanned %t, stuck %q", c.reason, s.HasScanned(), s.Stuck)
			}
			v := Commit([]Status{s}, func(Status) bool { return true })
			if (v.Answer == AnswerSuccess) != c.scanned || v.Answer == AnswerFailure || c.stuck != "" && !strings.Contains(v.Text(), "a: the operator has not picked up the change yet") {
				t.Errorf("%s: %s, %s", c.reason, v.Answer, v.Text())
			}
		})
	}
}
