package scanstate

import (
	"fmt"
	"testing"
	"time"
)

func TestOnChange(t *testing.T) {
	// cron was made at 01:00, last started at 11:30 and not changed since; the entry was changed at 11:50.
	cron := func(change ...func(*CronJob)) []CronJob {
		return hourly(append([]func(*CronJob){func(c *CronJob) { c.Changed = c.Created }}, change...)...)
	}
	changedAt := func(hhmm string) func(*CronJob) { return func(c *CronJob) { c.Changed = clock(hhmm) } }
	manual := func(j *Job) { j.Manual = true }
	own := func(j *Job) { j.Manual, j.Own = true, true }
	running := pod("11:55", phase("Running"))
	cases := map[string]struct {
		reason   string
		applied  string
		observed Observed
		paused   bool
		want     string // R is ready, S is scanned, and nothing is waiting; then how many run, and when to look again
	}{
		"taken over":                   {"the CronJob has changed since", "11:50", Observed{CronJobs: cron(changedAt("11:51"))}, false, "R 0"},
		"in the same second":           {"API objects have whole seconds", "11:50", Observed{CronJobs: cron(changedAt("11:50"))}, false, "R 0"},
		"no CronJob":                   {"its coming is seen", "11:50", Observed{}, false, " 0"},
		"not taken over":               {"nothing was written since", "11:50", Observed{CronJobs: cron()}, false, " 0"},
		"a filter":                     {"it is in the inventory", "11:50", Observed{CronJobs: cron(), Written: map[string]time.Time{"m-k8s-inventory-a": clock("11:51")}}, false, "R 0"},
		"a server":                     {"it is in a kubeconfig", "11:50", Observed{CronJobs: cron(), Written: map[string]time.Time{"m-sa-kubeconfig-a": clock("11:51")}}, false, "R 0"},
		"Vault's":                      {"it is in Vault's kubeconfig", "11:50", Observed{CronJobs: cron(), Written: map[string]time.Time{"m-vault-kubeconfig-a": clock("11:51")}}, false, "R 0"},
		"another's":                    {"b is not a", "11:50", Observed{CronJobs: cron(), Written: map[string]time.Time{"m-vault-kubeconfig-b": clock("11:51"), "n-vault-kubeconfig-a": clock("11:51")}}, false, " 0"},
		"nobody knows when":            {"an inventory of before", "", Observed{CronJobs: cron(func(c *CronJob) { c.LastSchedule = time.Time{} })}, false, "R 0"},
		"scanned since":                {"by hand, or by Muster before it could note that", "11:50", Observed{CronJobs: cron(changedAt("11:51")), Jobs: []Job{job("11:55", complete("11:56"))}}, false, "S 0"},
		"scanned in that second":       {"it may have been before the change", "11:50", Observed{CronJobs: cron(changedAt("11:50")), Jobs: []Job{job("11:50", complete("11:56"))}}, false, "R 0"},
		"in this second":               {"the scan is to begin in a later one", "12:00", Observed{CronJobs: cron(changedAt("12:00"))}, false, " 0 12:00:01"},
		"being scanned":                {"the operator may delete that Job", "11:50", Observed{CronJobs: cron(changedAt("11:51")), Jobs: []Job{job("11:55")}, Pods: running}, false, " 0"},
		"being scanned by Muster":      {"that is the scan", "11:50", Observed{CronJobs: cron(changedAt("11:51")), Jobs: []Job{job("11:55", own)}, Pods: running}, false, "S 1"},
		"scheduled since":              {"its Job is gone already", "11:20", Observed{CronJobs: cron(changedAt("11:21"), func(c *CronJob) { c.LastSuccess = clock("11:35") })}, false, "S 0"},
		"scheduled since, and lost":    {"nothing tells how it ended", "11:20", Observed{CronJobs: cron(changedAt("11:21"))}, false, "R 0"},
		"scheduled since, and seen so": {"it was deleted", "11:20", Observed{CronJobs: cron(changedAt("11:21")), Jobs: []Job{job("11:30", vanished)}}, false, "R 0"},
		"deleted":                      {"it is due again", "11:20", Observed{CronJobs: cron(changedAt("11:21")), Jobs: []Job{job("11:22", own, vanished)}}, false, "R1 0"},
		"deleted twice":                {"it is due again", "11:20", Observed{CronJobs: cron(changedAt("11:21")), Jobs: []Job{job("11:22", own, vanished), job("11:23", own, vanished)}}, false, "R2 0"},
		"deleted thrice":               {"something deletes them", "11:20", Observed{CronJobs: cron(changedAt("11:21")), Jobs: []Job{job("11:22", own, vanished), job("11:23", own, vanished), job("11:24", own, vanished)}}, false, "L 0"},
		"deleted thrice, and scanned":  {"as scheduled", "11:20", Observed{CronJobs: cron(changedAt("11:21")), Jobs: []Job{job("11:30", complete("11:31")), job("11:22", own, vanished), job("11:23", own, vanished), job("11:24", own, vanished)}}, false, "S 0"},
		"started before it took over":  {"that one had the old form", "11:50", Observed{CronJobs: cron(changedAt("11:56")), Jobs: []Job{job("11:55", complete("11:56"))}}, false, "R 0"},
		"running, of the form before":  {"it is let finish", "11:56", Observed{CronJobs: cron(changedAt("11:57")), Jobs: []Job{job("11:55")}, Pods: running}, false, " 0"},
		"paused":                       {"somebody wants no scans", "11:50", Observed{CronJobs: cron(changedAt("11:51"))}, true, " 0"},
		"suspended":                    {"somebody wants no scans of it", "11:50", Observed{CronJobs: cron(changedAt("11:51"), func(c *CronJob) { c.Suspended = true })}, false, " 0"},
		"about to start":               {"the schedule is faster", "11:50", Observed{CronJobs: cron(changedAt("11:51"), func(c *CronJob) { c.Schedule = "1 * * * *"; c.LastSchedule = clock("11:01") })}, false, " 0 12:02:01"},
		"about to start again":         {"the start before was lost", "11:20", Observed{CronJobs: cron(changedAt("11:21"), func(c *CronJob) { c.Schedule = "*/30 * * * *" })}, false, "R 0"},
		"about to have started":        {"the schedule was due at this moment", "11:50", Observed{CronJobs: cron(changedAt("11:51"), func(c *CronJob) { c.Schedule = "0 * * * *"; c.LastSchedule = clock("11:00") })}, false, " 0 12:01:01"},
		"should have started long ago": {"its own start doesn't come", "11:50", Observed{CronJobs: cron(changedAt("11:51"), func(c *CronJob) { c.Schedule = "20 * * * *"; c.LastSchedule = clock("08:20") })}, false, "R 0"},
		"a schedule that never comes":  {"a scan is wanted all the same", "11:50", Observed{CronJobs: cron(changedAt("11:51"), func(c *CronJob) { c.Schedule = "0 0 31 2 *" })}, false, "R 0"},
		"one runs by hand":             {"it takes a place", "11:56", Observed{CronJobs: cron(changedAt("11:57")), Jobs: []Job{job("11:55", manual)}, Pods: running}, false, " 1"},
		"one by hand that is stuck":    {"it takes none, or five of them would end it all", "11:58", Observed{CronJobs: cron(changedAt("11:59")), Jobs: []Job{job("11:55", manual)}, Pods: pod("11:55", with(Container{Name: "scan", Waiting: "ImagePullBackOff"}))}, false, " 0"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e := Entry{Name: "a"}
			if c.applied != "" {
				e.Applied = clock(c.applied).Add(400 * time.Millisecond)
				e.Changed = e.Applied
			}
			got := OnChange(Input{AuditConfig: "m", Entries: []Entry{e}, Observed: c.observed, Paused: c.paused, Now: noon}, map[string]bool{"a": true})
			text := ""
			if len(got.Ready) == 1 && got.Ready[0].CronJob == "scan-a" && got.Ready[0].UID == "cron" {
				if text = "R"; got.Ready[0].Again > 0 {
					text += fmt.Sprint(got.Ready[0].Again)
				}
			}
			if len(got.Lost) == 1 {
				text += "L"
			}
			if len(got.Scanned) == 1 {
				text += "S"
			}
			text += fmt.Sprintf(" %d", got.Running)
			if !got.Next.IsZero() {
				text += got.Next.Format(" 15:04:05")
			}
			if text != c.want {
				t.Errorf("%s: got %q, want %q (%+v)", c.reason, text, c.want, got)
			}
		})
	}
	if got := OnChange(Input{Entries: []Entry{{Name: "a"}}, Observed: Observed{CronJobs: cron()}, Now: noon}, nil); len(got.Ready)+len(got.Scanned) > 0 {
		t.Errorf("nothing is due, and got %+v", got)
	}
}

// TestUntil: whatever the clock alone changes is said beforehand, to the moment.
func TestUntil(t *testing.T) {
	cases := map[string]struct {
		reason   string
		applied  string
		observed Observed
		until    string
		becomes  State
	}{
		"no CronJob":      {"it has five minutes", "11:58", Observed{}, "12:03", NotPickedUp},
		"no Pod":          {"a Job has five minutes to start", "01:00", Observed{CronJobs: hourly(), Jobs: []Job{job("11:57")}}, "12:02", Failed},
		"Pod starting":    {"likewise", "01:00", Observed{CronJobs: hourly(), Jobs: []Job{job("11:57")}, Pods: pod("11:57")}, "12:02", Failed},
		"next start":      {"ten minutes after it, one is overdue", "01:00", Observed{CronJobs: hourly(func(c *CronJob) { c.LastSuccess = clock("11:40") })}, "12:40", Overdue},
		"start in grace":  {"it was due at 11:55", "01:00", Observed{CronJobs: hourly(func(c *CronJob) { c.Schedule, c.LastSchedule = "55 * * * *", clock("10:55") })}, "12:05", Overdue},
		"running":         {"its end is seen", "01:00", Observed{CronJobs: hourly(), Jobs: []Job{job("11:57")}, Pods: pod("11:57", phase("Running"))}, "", ""},
		"failed":          {"the next start is seen", "01:00", Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", failed("11:40"))}}, "", ""},
		"never starts":    {"no such day", "01:00", Observed{CronJobs: hourly(func(c *CronJob) { c.Schedule, c.LastSuccess = "0 0 31 2 *", clock("11:31") })}, "", ""},
		"overdue already": {"it can't get worse", "01:00", Observed{CronJobs: hourly(func(c *CronJob) { c.LastSchedule = clock("08:30") })}, "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := Input{Entries: []Entry{{Name: "a", Applied: clock(c.applied)}}, Observed: c.observed, Now: noon}
			now := Derive(in)[0]
			if c.until == "" {
				if !now.Until.IsZero() {
					t.Errorf("%s: until %s", c.reason, now.Until)
				}
				return
			}
			if at := clock(c.until); now.Until.Before(at) || now.Until.Sub(at) > time.Second {
				t.Fatalf("%s: until %s, want %s", c.reason, now.Until, at)
			}
			in.Now = now.Until.Add(-2 * time.Millisecond)
			if before := Derive(in)[0]; before.State != now.State {
				t.Errorf("%s: it is %s before its time", c.reason, before.State)
			}
			in.Now = now.Until
			if after := Derive(in)[0]; after.State != c.becomes {
				t.Errorf("%s: it becomes %s, want %s", c.reason, after.State, c.becomes)
			}
		})
	}
}

// TestStanding: while a scan runs, the one before it counts.
func TestStanding(t *testing.T) {
	run := job("11:55")
	for name, c := range map[string]struct {
		jobs []Job
		want State
	}{
		"after a failure":  {[]Job{run, job("11:30", failed("11:40"))}, Failed},
		"after a success":  {[]Job{run, job("11:30", complete("11:40"))}, Succeeded},
		"after a lost one": {[]Job{run, job("11:30", vanished), job("10:30", complete("10:40"))}, Awaiting},
		"the first":        {[]Job{run}, Running},
	} {
		t.Run(name, func(t *testing.T) {
			s := Derive(Input{Entries: []Entry{{Name: "a"}}, AuditConfig: "m", Observed: Observed{CronJobs: hourly(), Jobs: c.jobs, Pods: pod("11:55", phase("Running"))}, Now: noon})[0]
			if got := s.Standing(); s.State != Running || got.State != c.want || got.Cluster != "a" || got.AuditConfig != "m" {
				t.Errorf("%s stands as %+v", s.State, got)
			}
		})
	}
}
