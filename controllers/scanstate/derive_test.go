package scanstate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// noon is now in all tests; clock gives a time of the day.
var noon = time.Date(2026, time.March, 3, 12, 0, 0, 0, time.UTC)

func clock(hhmm string) time.Time {
	t, err := time.Parse("15:04", hhmm)
	if err != nil {
		panic(err)
	}
	return time.Date(2026, time.March, 3, t.Hour(), t.Minute(), 0, 0, time.UTC)
}

// hourly is the CronJob of cluster a, an hour into its day.
func hourly(change ...func(*CronJob)) []CronJob {
	c := CronJob{Name: "scan-a", UID: "cron", Cluster: "a", Schedule: "30 * * * *", Created: clock("01:00"), LastSchedule: clock("11:30")}
	for _, f := range change {
		f(&c)
	}
	return []CronJob{c}
}

func job(began string, change ...func(*Job)) Job {
	j := Job{Name: "scan-a-" + began, Cluster: "a", Owner: "cron", Created: clock(began), Started: clock(began)}
	for _, f := range change {
		f(&j)
	}
	return j
}

func complete(at string) func(*Job) {
	return func(j *Job) { j.Outcome, j.Finished = Complete, clock(at) }
}

func failed(at string) func(*Job) {
	return func(j *Job) { j.Outcome, j.Finished, j.Reason = Broken, clock(at), "BackoffLimitExceeded" }
}

func vanished(j *Job) { j.Outcome, j.Finished, j.Gone = Vanished, j.Created.Add(time.Second), true }

func pod(j string, change ...func(*Pod)) []Pod {
	p := Pod{Name: "pod", Job: "scan-a-" + j, Created: clock(j), Phase: "Pending"}
	for _, f := range change {
		f(&p)
	}
	return []Pod{p}
}

func with(c Container) func(*Pod) { return func(p *Pod) { p.Containers = append(p.Containers, c) } }
func phase(s string) func(*Pod)   { return func(p *Pod) { p.Phase = s } }

func TestDerive(t *testing.T) {
	deadline := time.Minute
	owner := func(uid types.UID) func(*Job) { return func(j *Job) { j.Owner = uid } }
	cases := map[string]struct {
		reason   string
		entry    Entry
		observed Observed
		paused   bool
		secrets  map[string][]string
		state    State
		want     Reason
		detail   string // part of it
		check    func(Status) bool
	}{
		"no CronJob yet":     {"the operator has five minutes", Entry{Applied: clock("11:58")}, Observed{}, false, nil, Awaiting, ReasonNoCronJob, "not created", nil},
		"no CronJob":         {"five minutes are over", Entry{Applied: clock("11:50")}, Observed{}, false, nil, NotPickedUp, ReasonOperator, "check that it is running", nil},
		"applied long ago":   {"nobody knows when it was applied", Entry{}, Observed{}, false, nil, NotPickedUp, ReasonOperator, "", nil},
		"applied in future":  {"a clock is ahead", Entry{Applied: clock("12:01")}, Observed{}, false, nil, Awaiting, ReasonNoCronJob, "", nil},
		"paused, no CronJob": {"a paused operator owes nothing", Entry{}, Observed{}, true, nil, Paused, ReasonAllPaused, "", nil},
		"first scan to come": {"made at 11:45 for :30", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.Created, c.LastSchedule = clock("11:45"), time.Time{} })},
			false, nil, Awaiting, ReasonFirstScan, "", func(s Status) bool { return s.Next.Equal(clock("12:30")) && s.CronJob == "scan-a" }},
		"first scan overdue": {"made at 11:00 for :30, and it is noon", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.Created, c.LastSchedule = clock("11:00"), time.Time{} })},
			false, nil, Overdue, ReasonNotStarted, "11:30", func(s Status) bool { return s.Next.Equal(clock("11:30")) }},
		"within grace": {"its time was five minutes ago", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.Schedule, c.LastSchedule = "55 * * * *", clock("10:55") })},
			false, nil, Awaiting, ReasonJobGone, "", nil},
		"schedule has just changed": {"daily became hourly at 11:55; the old last start is 11 hours ago", Entry{Applied: clock("11:55")},
			Observed{CronJobs: hourly(func(c *CronJob) { c.LastSchedule, c.LastSuccess = clock("01:00"), clock("01:05") })}, false, nil, Succeeded, "", "", nil},
		"deadline missed": {"startingDeadlineSeconds is over as well", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) {
			c.StartingDeadline, c.LastSchedule = &deadline, clock("10:30")
		})}, false, nil, Overdue, ReasonMissed, "startingDeadlineSeconds (1m0s)", nil},
		"time zone": {"30 14 in Berlin is 13:30 UTC", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) {
			c.Schedule, c.TimeZone, c.LastSchedule, c.LastSuccess = "30 14 * * *", "Europe/Berlin", clock("11:30").Add(-22*time.Hour), clock("11:31").Add(-22*time.Hour)
		})}, false, nil, Succeeded, "", "", func(s Status) bool { return s.Next.Equal(clock("13:30")) }},
		"unknown time zone": {"Kubernetes never starts it", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.TimeZone = "Mars/Base" })},
			false, nil, Overdue, ReasonBadSchedule, "Mars/Base", nil},
		"schedule that panics": {"robfig/cron does on TZ= without a blank", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.Schedule = "TZ=0" })},
			false, nil, Overdue, ReasonBadSchedule, "", nil},
		"a day that never comes": {"31 February has no next time", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.Schedule, c.LastSuccess = "0 0 31 2 *", clock("11:31") })},
			false, nil, Succeeded, "", "", func(s Status) bool { return s.Next.IsZero() }},
		"every": {"@every counts from the last start", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.Schedule, c.LastSuccess = "@every 2h", clock("11:40") })},
			false, nil, Succeeded, "", "", func(s Status) bool { return s.Next.Equal(clock("13:30")) }},
		"succeeded": {"a Job that is done", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", complete("11:42"))}}, false, nil, Succeeded, "", "",
			func(s Status) bool {
				return s.Duration == 12*time.Minute && s.LastSuccessBegan.Equal(clock("11:30")) && s.Next.Equal(clock("12:30"))
			}},
		"succeeded, Job gone": {"a changed CronJob loses its Jobs; lastSuccessfulTime stays", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.LastSuccess = clock("11:40") })},
			false, nil, Succeeded, "", "", func(s Status) bool { return s.Duration == 0 && s.LastSuccessBegan.Equal(clock("11:30")) }},
		"success of an older start": {"the success of 11:20 began before the start of 11:30, whose Job runs", Entry{}, Observed{
			CronJobs: hourly(func(c *CronJob) { c.LastSuccess = clock("11:35") }), Jobs: []Job{job("11:30")}, Pods: pod("11:30", phase("Running"))},
			false, nil, Running, "", "", func(s Status) bool { return s.LastSuccessBegan.IsZero() }},
		"nothing left of it": {"a start is noted, and neither Job nor success", Entry{}, Observed{CronJobs: hourly()}, false, nil, Awaiting, ReasonJobGone, "11:30", nil},
		"failure, then success": {"one of each is kept; the later counts", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("10:30", failed("10:40")), job("11:30", complete("11:40"))}},
			false, nil, Succeeded, "", "", nil},
		"success, then failure": {"the later counts", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("10:30", complete("10:40")), job("11:30", failed("11:40"))}},
			false, nil, Failed, ReasonUnknown, "gone", func(s Status) bool { return s.LastSuccess.Equal(clock("10:40")) && s.Since.Equal(clock("11:40")) }},
		"failure, then a success that is gone": {"its Job has a TTL", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.LastSuccess = clock("11:45") }),
			Jobs: []Job{job("11:30", failed("11:40"))}}, false, nil, Succeeded, "", "", nil},
		"Job of a CronJob before": {"the cluster was removed and added again", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.LastSchedule, c.Created = time.Time{}, clock("11:45") }),
			Jobs: []Job{job("11:30", failed("11:40"), owner("other"))}}, false, nil, Awaiting, ReasonFirstScan, "", nil},
		"Job without owner, from before": {"somebody's copy of an older Job", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.LastSchedule, c.Created = time.Time{}, clock("11:45") }),
			Jobs: []Job{job("11:30", failed("11:40"), owner(""))}}, false, nil, Awaiting, ReasonFirstScan, "", nil},
		"Job by hand": {"kubectl create job --from counts", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:50", complete("11:55"))}}, false, nil, Succeeded, "", "",
			func(s Status) bool { return s.LastSuccessBegan.Equal(clock("11:50")) }},
		"Job by hand while paused": {"somebody wants it all the same", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:58")}, Pods: pod("11:58", phase("Running"))}, true, nil, Running, "", "", nil},
		"paused":                   {"a paused operator suspends all", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.LastSchedule = clock("02:30") })}, true, nil, Paused, ReasonAllPaused, "", func(s Status) bool { return s.Next.IsZero() }},
		"suspended":                {"one CronJob alone", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.Suspended = true })}, false, nil, Paused, ReasonSuspended, "scan-a", nil},
		"Job suspended":            {"a queue such as Kueue holds it", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", func(j *Job) { j.Suspended = true })}}, false, nil, Paused, ReasonSuspended, "Job", nil},
		"running":                  {"a Pod at work", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30")}, Pods: pod("11:30", phase("Running"))}, false, nil, Running, "", "", func(s Status) bool { return s.Began.Equal(clock("11:30")) }},
		"starting":                 {"a minute is nothing", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:59")}, Pods: pod("11:59", with(Container{Name: "scan", Waiting: "ContainerCreating"}))}, false, nil, Running, ReasonStillStarting, "", nil},
		"no Pod yet":               {"a moment after the Job", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("12:00")}}, false, nil, Running, ReasonStillStarting, "", nil},
		"no Pod":                   {"Pod Security refuses it", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30")}}, false, nil, Failed, ReasonNoPod, "Pod Security", nil},
		"Job from the future":      {"its clock is ahead", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("12:03")}}, false, nil, Running, ReasonStillStarting, "", nil},
		"image": {"a name that no registry has", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:59")},
			Pods: pod("11:59", with(Container{Name: "scan", Waiting: "ImagePullBackOff", WaitingMessage: "Back-off pulling image \"nope\""}))}, false, nil, Failed, ReasonImagePull, "nope", nil},
		"Secret missing": {"an env from a Secret", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:59")},
			Pods: pod("11:59", with(Container{Name: "scan", Waiting: "CreateContainerConfigError", WaitingMessage: "secret \"eu\" not found"}))}, false, nil, Failed, ReasonMissingSecret, `secret "eu" not found`, nil},
		"key missing": {"the Secret is there", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:59")},
			Pods: pod("11:59", with(Container{Name: "scan", Waiting: "CreateContainerConfigError", WaitingMessage: "couldn't find key token in Secret ns/eu"}))}, false, nil, Failed, ReasonMissingSecret, "key token", nil},
		"other config": {"not every config error is a Secret's", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:59")},
			Pods: pod("11:59", with(Container{Name: "scan", Waiting: "CreateContainerConfigError", WaitingMessage: "container has runAsNonRoot"}))}, false, nil, Failed, ReasonConfig, "runAsNonRoot", nil},
		"mount, Secrets unknown": {"the Pod does not say what it waits for", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30")},
			Pods: pod("11:30", func(p *Pod) { p.Mounts = []Mount{{Secret: "eu"}} })}, false, nil, Failed, ReasonNotStarting, "it mounts eu; check that these Secrets exist", nil},
		"mount, Secret missing": {"all Secrets are known", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30")},
			Pods: pod("11:30", func(p *Pod) { p.Mounts = []Mount{{Secret: "eu"}} })}, false, map[string][]string{}, Failed, ReasonNotStarting, "Secret eu, which does not exist", nil},
		"mount, key missing": {"all Secrets are known", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30")},
			Pods: pod("11:30", func(p *Pod) { p.Mounts = []Mount{{"eu", []string{"kubeconfig"}}} })}, false, map[string][]string{"eu": {"config"}}, Failed, ReasonNotStarting, "key kubeconfig of Secret eu", nil},
		"unschedulable": {"after the time for it", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30")}, Pods: pod("11:30", func(p *Pod) { p.Unschedulable = "0/3 nodes" })}, false, nil, Failed, ReasonUnschedulable, "0/3 nodes", nil},
		"out of memory": {"the limit is named", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", failed("11:40"))},
			Pods: pod("11:30", phase("Failed"), with(Container{Name: "scan", Ended: true, Code: 137, EndReason: "OOMKilled", MemoryLimit: "300Mi"}))}, false, nil, Failed, ReasonOutOfMemory, "300Mi", nil},
		"Pod ended, Job not": {"two programs write them", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30")},
			Pods: pod("11:30", phase("Failed"), with(Container{Name: "scan", Ended: true, Code: 137, EndReason: "OOMKilled"}))}, false, nil, Failed, ReasonOutOfMemory, "", nil},
		"killed": {"cgroup kills show no more than the signal", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", failed("11:40"))},
			Pods: pod("11:30", phase("Failed"), with(Container{Name: "scan", Ended: true, Code: 137, EndReason: "Error"}))}, false, nil, Failed, ReasonExitCode, "often because it ran out of memory", nil},
		"exit code": {"the last lines of what it said", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", failed("11:40"))},
			Pods: pod("11:30", phase("Failed"), with(Container{Name: "scan", Ended: true, Code: 2, EndReason: "Error", Output: "one\ntwo\nthree\n\x1b[31mfour s3cret\n"}))}, false, nil, Failed, ReasonExitCode, "exited with code 2: two / three / [31mfour ***", nil},
		"deadline": {"the Job's own reason", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", failed("11:40"), func(j *Job) { j.Reason, j.ActiveDeadline = "DeadlineExceeded", 10*time.Minute })}},
			false, nil, Failed, ReasonDeadline, "10m0s", nil},
		"deadline of a Pod that could not start": {"the image is the cause", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", failed("11:40"), func(j *Job) { j.Reason = "DeadlineExceeded" })},
			Pods: pod("11:30", with(Container{Name: "scan", Waiting: "ErrImagePull"}))}, false, nil, Failed, ReasonImagePull, "", nil},
		"evicted":   {"a full node", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", failed("11:40"))}, Pods: pod("11:30", phase("Failed"), func(p *Pod) { p.Reason, p.Message = "Evicted", "low on memory" })}, false, nil, Failed, ReasonEvicted, "low on memory", nil},
		"node lost": {"taken off by the taint manager", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", failed("11:40"))}, Pods: pod("11:30", phase("Failed"), func(p *Pod) { p.Disrupted = "DeletionByTaintManager: x" })}, false, nil, Failed, ReasonNodeLost, "", nil},
		"lost after a success": {"it is not known to have succeeded", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.LastSuccess = clock("10:40") })}, false, nil, Awaiting, ReasonJobGone, "11:30",
			func(s Status) bool { return s.LastSuccess.Equal(clock("10:40")) && s.LastSuccessBegan.IsZero() }},
		"seen to be lost": {"its Job was deleted before its end", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", vanished), job("10:30", complete("10:40"))}}, false, nil, Awaiting, ReasonJobGone, "11:30", nil},
		"lost after a failure": {"that is no recovery", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", vanished), job("10:30", failed("10:40"))}}, false, nil, Failed, ReasonUnknown, "2026-03-03 11:30 UTC is gone",
			func(s Status) bool { return s.Began.Equal(clock("10:30")) }},
		"lost and not seen, after a failure": {"that is no recovery", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("10:30", failed("10:40"))}}, false, nil, Failed, ReasonUnknown, "11:30", nil},
		"a success of another Job": {"one by hand began before the one that is lost, and ended after it", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.LastSuccess = clock("11:35") }),
			Jobs: []Job{job("11:30", vanished), job("11:29", complete("11:35"), func(j *Job) { j.Manual = true })}}, false, nil, Awaiting, ReasonJobGone, "11:30",
			func(s Status) bool { return s.LastSuccessBegan.Equal(clock("11:29")) }},
		"the same, and the lost one was not seen": {"its time alone is noted", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.LastSuccess = clock("11:35") }),
			Jobs: []Job{job("11:29", complete("11:35"), func(j *Job) { j.Manual = true })}}, false, nil, Awaiting, ReasonJobGone, "11:30",
			func(s Status) bool { return s.LastSuccessBegan.Equal(clock("11:29")) }},
		"its end was missed": {"a watch began anew, and the CronJob tells", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.LastSuccess = clock("11:35") }),
			Jobs: []Job{job("11:30", vanished)}}, false, nil, Succeeded, "", "", nil},
		"at work, and not seen yet": {"the CronJob is seen before its Job", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.LastSchedule, c.Active = clock("11:58"), "job" }),
			Jobs: []Job{job("10:30", complete("10:40"))}}, false, nil, Running, ReasonStillStarting, "", func(s Status) bool { return s.Before.State == Succeeded }},
		"at work, and deleted": {"the CronJob does not know it yet", Entry{}, Observed{CronJobs: hourly(func(c *CronJob) { c.LastSchedule, c.Active = clock("11:58"), "job" }),
			Jobs: []Job{job("11:58", vanished, func(j *Job) { j.UID = "job" })}}, false, nil, Awaiting, ReasonJobGone, "11:58", nil},
		"a failure that is gone": {"its Pod was seen, and tells the cause", Entry{}, Observed{CronJobs: hourly(), Jobs: []Job{job("11:30", failed("11:40"), func(j *Job) {
			j.Gone, j.Pod = true, &pod("11:30", phase("Failed"), with(Container{Name: "scan", Ended: true, Code: 137, EndReason: "OOMKilled"}))[0]
		})}}, false, nil, Failed, ReasonOutOfMemory, "", nil},
		"old and new CronJob": {"one is being replaced; its label is still there", Entry{}, Observed{CronJobs: append(hourly(func(c *CronJob) { c.UID, c.Created = "old", clock("00:10") }), hourly()...),
			Jobs: []Job{job("11:30", complete("11:40"))}}, false, nil, Succeeded, "", "", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.entry.Name = "a"
			s := Derive(Input{Entries: []Entry{c.entry}, Paused: c.paused, Observed: c.observed, Secrets: c.secrets, Now: noon,
				Redact: func(text string) string { return strings.ReplaceAll(text, "s3cret", "***") }})[0]
			if s.State != c.state || s.Reason != c.want || !strings.Contains(s.Detail, c.detail) || c.check != nil && !c.check(s) {
				t.Errorf("%s: got %+v", c.reason, s)
			}
		})
	}
}

func TestCulprit(t *testing.T) {
	cron := func(names ...string) (list []CronJob) {
		for _, n := range names {
			list = append(list, CronJob{Name: n, Cluster: n, Schedule: "@hourly", Created: noon})
		}
		return list
	}
	cases := map[string]struct {
		reason  string
		entries []Entry
		crons   []CronJob
		entry   string
		want    Reason
	}{
		"invalid":             {"the first without CronJob is refused", []Entry{{Name: "a"}, {Name: "b", Invalid: "x"}, {Name: "c"}}, cron("a"), "b", ReasonInvalidEntry},
		"no schedule":         {"the API server refuses it", []Entry{{Name: "a"}, {Name: "b", NoSchedule: true}, {Name: "c"}}, cron("a"), "b", ReasonNoSchedule},
		"Vault":               {"its login may fail", []Entry{{Name: "a"}, {Name: "b", Vault: true}, {Name: "c"}}, cron("a"), "b", ReasonVaultLogin},
		"Vault before":        {"it has a CronJob from better days", []Entry{{Name: "a", Vault: true}, {Name: "b"}, {Name: "c"}}, cron("a", "b"), "a", ReasonVaultLogin},
		"certain over likely": {"an invalid entry always stops it", []Entry{{Name: "a", Invalid: "x"}, {Name: "b", Vault: true}, {Name: "c"}}, cron("a", "b"), "a", ReasonInvalidEntry},
		"bad one comes later": {"what comes after the first without CronJob was never reached", []Entry{{Name: "a"}, {Name: "b"}, {Name: "c", Invalid: "x"}}, cron("a"), "b", ReasonUnknown},
		"none at all":         {"it does not run", []Entry{{Name: "a"}, {Name: "b"}}, nil, "a", ReasonOperator},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			list := Derive(Input{Entries: c.entries, Observed: Observed{CronJobs: c.crons}, Now: noon})
			last := list[len(list)-1]
			if last.State != NotPickedUp || last.Culprit != c.entry || last.Reason != c.want || !strings.Contains(last.Detail, c.entry) && c.want != ReasonOperator {
				t.Errorf("%s: got %+v", c.reason, last)
			}
		})
	}
}

func TestSaid(t *testing.T) {
	long := strings.Repeat("é", 500)
	for text, want := range map[string]string{
		"":                            "",
		"\n\n \t\n":                   "",
		"a\nb\nc\nd":                  "b / c / d",
		"a\r\nb":                      "a / b",
		"x\u202ey\u2028z\x00\x07\xff": "x y z",
		long:                          strings.Repeat("é", 199) + "…",
	} {
		if got := lastLines(text); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
	if got := bounded(strings.Repeat("s", maxOutput) + "\nend"); got != "end" {
		t.Errorf("a cut line is kept: %d bytes", len(got))
	}
}

func TestCommit(t *testing.T) {
	applied := clock("11:00").Add(-500 * time.Millisecond)
	ok := func(name, began string) Status {
		return Status{Cluster: name, State: Succeeded, LastSuccess: clock(began).Add(time.Minute), LastSuccessBegan: clock(began)}
	}
	bad := func(name, began string) Status {
		return Status{Cluster: name, State: Failed, Reason: ReasonOutOfMemory, Detail: "killed", Began: clock(began)}
	}
	cases := map[string]struct {
		reason   string
		statuses []Status
		changed  []string
		want     Answer
		text     string
	}{
		"all scanned":          {"each began after it was applied", []Status{ok("a", "11:05"), ok("b", "11:00"), bad("c", "11:30")}, []string{"a", "b"}, AnswerSuccess, "2 changed clusters scanned"},
		"in the same second":   {"b may have begun before it was applied", []Status{ok("a", "11:05"), func() Status { s := ok("b", "10:59"); s.LastSuccessBegan = applied.Truncate(time.Second); return s }()}, []string{"a", "b"}, AnswerPending, "1 of 2 changed clusters scanned; b: waits for a scan"},
		"one to go":            {"b was scanned before", []Status{ok("a", "11:05"), ok("b", "10:59")}, []string{"a", "b"}, AnswerPending, "1 of 2 changed clusters scanned; b: waits for a scan"},
		"one fails":            {"failure does not wait for the others", []Status{ok("a", "10:05"), bad("b", "11:01")}, []string{"a", "b"}, AnswerFailure, "1 of 2 changed clusters not scanned; b: OutOfMemory: killed"},
		"two fail":             {"both are named", []Status{bad("a", "11:05"), bad("b", "11:01")}, []string{"a", "b"}, AnswerFailure, "2 of 2 changed clusters not scanned; a: OutOfMemory: killed; failed as well: b"},
		"failed before":        {"an old failure is not the commit's", []Status{bad("a", "10:01")}, []string{"a"}, AnswerPending, "0 of 1 changed cluster scanned; a: waits for its next scan; the last one before this commit failed"},
		"failed later":         {"the first scan was good, and that is the answer", []Status{func() Status { s := bad("a", "11:30"); s.LastSuccessBegan = clock("11:01"); return s }()}, []string{"a"}, AnswerSuccess, "1 changed cluster scanned"},
		"not picked up":        {"nobody will scan it", []Status{{Cluster: "a", State: NotPickedUp, Detail: "stopped at x"}}, []string{"a"}, AnswerFailure, "1 of 1 changed cluster not scanned; a: stopped at x"},
		"overdue":              {"nobody has scanned it", []Status{{Cluster: "a", State: Overdue, Detail: "late"}}, []string{"a"}, AnswerFailure, "1 of 1 changed cluster not scanned; a: late"},
		"paused":               {"nobody knows yet", []Status{{Cluster: "a", State: Paused, Detail: "paused"}}, []string{"a"}, AnswerPending, "0 of 1 changed cluster scanned; a: paused"},
		"running":              {"nobody knows yet", []Status{{Cluster: "a", State: Running, LastSuccess: clock("10:00"), LastSuccessBegan: clock("09:59")}}, []string{"a"}, AnswerPending, "0 of 1 changed cluster scanned; a: waits for a scan"},
		"removed":              {"a removed cluster needs no scan; b does", []Status{ok("b", "11:30")}, []string{"gone", "b"}, AnswerSuccess, "1 changed cluster scanned"},
		"no cluster changed":   {"the fleet is reported, with scans from before", []Status{ok("a", "10:00"), ok("b", "09:00")}, nil, AnswerSuccess, "2 clusters scanned"},
		"fleet with a failure": {"whenever it was", []Status{ok("a", "10:00"), bad("b", "09:00")}, nil, AnswerFailure, "1 of 2 clusters not scanned; b: OutOfMemory: killed"},
		"fleet, one paused":    {"paused on purpose", []Status{ok("a", "10:00"), {Cluster: "b", State: Paused}}, nil, AnswerSuccess, "1 cluster scanned, 1 paused"},
		"fleet, first scan":    {"one has never been scanned", []Status{ok("a", "10:00"), {Cluster: "b", State: Awaiting, Detail: "no scan yet"}}, nil, AnswerPending, "1 of 2 clusters scanned; b: no scan yet"},
		"fleet, running again": {"it was scanned before", []Status{{Cluster: "a", State: Running, LastSuccess: clock("10:00")}}, nil, AnswerSuccess, "1 cluster scanned"},
		"put back":             {"it was scanned before somebody removed its entry", []Status{{Cluster: "a", State: Awaiting, Scanned: true}, ok("b", "11:05")}, []string{"a", "b"}, AnswerSuccess, "2 changed clusters scanned"},
		"put back, and fails":  {"a later failure is not the commit's", []Status{{Cluster: "a", State: Failed, Began: clock("11:30"), Scanned: true}}, []string{"a"}, AnswerSuccess, "1 changed cluster scanned"},
		"put back, and stuck":  {"neither is that", []Status{{Cluster: "a", State: NotPickedUp, Scanned: true}}, []string{"a"}, AnswerSuccess, "1 changed cluster scanned"},
		"fleet, put back":      {"it was scanned as it is", []Status{ok("a", "10:00"), {Cluster: "b", State: Awaiting, Scanned: true}}, nil, AnswerSuccess, "2 clusters scanned"},
		"fleet, stuck":         {"nobody scans it any more", []Status{{Cluster: "b", State: NotPickedUp, Detail: "stopped at x", Scanned: true}}, nil, AnswerFailure, "1 of 1 cluster not scanned; b: stopped at x"},
		"fleet, overdue":       {"it was scanned, and is so no more", []Status{func() Status { s := ok("a", "11:05"); s.State, s.Detail = Overdue, "late"; return s }()}, nil, AnswerFailure, "1 of 1 cluster not scanned; a: late"},
		"empty":                {"no clusters", nil, nil, AnswerSuccess, "no clusters to scan"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for i := range c.statuses {
				c.statuses[i].Applied, c.statuses[i].Taken = applied, applied
			}
			v := Commit(c.statuses, func(s Status) bool { return slices.Contains(c.changed, s.Cluster) })
			if v.Answer != c.want || v.Text() != c.text {
				t.Errorf("%s: %s, %q, want %s, %q", c.reason, v.Answer, v.Text(), c.want, c.text)
			}
		})
	}
}
