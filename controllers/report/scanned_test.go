package report

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

func status(cluster string, state scanstate.State, detail string) scanstate.Status {
	s := scanstate.Status{Cluster: cluster, State: state, Detail: detail}
	if state == scanstate.Succeeded {
		s.LastSuccess = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	}
	if state == scanstate.Failed {
		s.Reason = scanstate.ReasonOutOfMemory
	}
	return s
}

// rerun is a scan that runs, with what was before it.
func rerun(before scanstate.Status) scanstate.Status {
	s := before
	s.State, s.Reason, s.Detail, s.Before = scanstate.Running, "", "", &before
	return s
}

func scannedOf(o Outcome) (metav1.Condition, *v1alpha1.ClusterCounts) {
	s := v1alpha1.AuditSyncStatus{Clusters: &v1alpha1.ClusterCounts{}}
	conditions{status: &s}.scanned(o)
	countScans(&s, nil, o)
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionScanned); c != nil {
		return *c, s.Clusters
	}
	return metav1.Condition{}, s.Clusters
}

func TestScannedCondition(t *testing.T) {
	ok, bad := status("ok", scanstate.Succeeded, ""), status("bad", scanstate.Failed, "killed")
	first := scanstate.Status{Cluster: "first", State: scanstate.Running}
	waits := status("waits", scanstate.Awaiting, "its first scan has not begun")
	lost := status("lost", scanstate.NotPickedUp, "the operator stops at x")
	paused := status("paused", scanstate.Paused, "paused for all")
	var many []scanstate.Status
	for i := range 20 {
		many = append(many, status(fmt.Sprintf("c%02d", i), scanstate.NotPickedUp, "the operator stops at x"))
	}
	for name, c := range map[string]struct {
		reason  string
		scans   []scanstate.Status
		notes   ScanNotes
		want    string
		message string
		counts  string // awaiting, passing, failing
	}{
		"not listed yet":     {"nothing is said rather than something wrong", nil, ScanNotes{}, " ", "", "0 0 0"},
		"no right":           {"the right is named", nil, ScanNotes{Unknown: "lacks x"}, "Unknown Unknown", "lacks x", "0 0 0"},
		"no clusters":        {"an empty fleet", []scanstate.Status{}, ScanNotes{}, "True Scanned", "no clusters to scan", "0 0 0"},
		"scanned":            {"all is well", []scanstate.Status{ok}, ScanNotes{}, "True Scanned", "1 cluster scanned", "0 1 0"},
		"scanned again":      {"a run does not change the answer", []scanstate.Status{rerun(ok)}, ScanNotes{}, "True Scanned", "1 cluster scanned", "0 1 0"},
		"failing, again":     {"nor does that of a failing one", []scanstate.Status{ok, rerun(bad)}, ScanNotes{}, "False Failed", "1 of 2 clusters not scanned: bad: OutOfMemory: killed", "0 1 1"},
		"the first runs":     {"the first run is news", []scanstate.Status{ok, first}, ScanNotes{}, "Unknown Running", "1 of 2 clusters not scanned yet: first: its first scan is running", "1 1 0"},
		"awaiting":           {"one of two runs", []scanstate.Status{first, waits}, ScanNotes{}, "Unknown Awaiting", "2 of 2 clusters not scanned yet: first: its first scan is running; waits: its first scan has not begun", "2 0 0"},
		"to be scanned":      {"and the others are left to their schedules", []scanstate.Status{first, waits}, ScanNotes{Due: 1}, "Unknown Awaiting", "2 of 2 clusters not scanned yet: first: its first scan is running; waits: its first scan has not begun; 1 changed cluster will be scanned as soon as possible, the others as scheduled", "2 0 0"},
		"refused":            {"the API server refuses the Job", []scanstate.Status{ok}, ScanNotes{Refused: "no right"}, "True Scanned", "1 cluster scanned; a changed cluster is scanned as scheduled, because the API server rejects its Job: no right", "0 1 0"},
		"gravest first":      {"nobody scans it at all", []scanstate.Status{bad, lost, waits}, ScanNotes{}, "False NotPickedUp", "2 of 3 clusters not scanned: lost: the operator stops at x; bad: OutOfMemory: killed", "1 0 2"},
		"overdue":            {"its own reason", []scanstate.Status{status("late", scanstate.Overdue, "late")}, ScanNotes{}, "False Overdue", "1 of 1 cluster not scanned: late: late", "0 0 1"},
		"one cause for many": {"it is said once", many, ScanNotes{}, "False NotPickedUp", "20 of 20 clusters not scanned: c00, c01, c02, c03, c04 and 15 more: the operator stops at x", "0 0 20"},
		"paused":             {"all of them", []scanstate.Status{paused}, ScanNotes{}, "Unknown Paused", "1 cluster: paused: paused for all", "0 0 0"},
		"one paused":         {"the others are fine", []scanstate.Status{ok, paused}, ScanNotes{}, "True Scanned", "1 cluster scanned, 1 paused: paused: paused for all", "0 1 0"},
	} {
		t.Run(name, func(t *testing.T) {
			got, counts := scannedOf(Outcome{Scans: c.scans, ScanNotes: c.notes})
			if text := string(got.Status) + " " + got.Reason; text != c.want || got.Message != c.message {
				t.Errorf("%s: %s: %q\nwant %s: %q", c.reason, text, got.Message, c.want, c.message)
			}
			if n := fmt.Sprint(counts.Awaiting, counts.Passing, counts.Failing); n != c.counts {
				t.Errorf("counts %s, want %s", n, c.counts)
			}
		})
	}
}

// TestScanCountsStay: while nothing is known after a start, the counts of before stay.
func TestScanCountsStay(t *testing.T) {
	before := &v1alpha1.ClusterCounts{Awaiting: 1, Passing: 2, Failing: 3}
	s := v1alpha1.AuditSyncStatus{Clusters: &v1alpha1.ClusterCounts{Total: 6}}
	if countScans(&s, before, Outcome{}); s.Clusters.Passing != 2 {
		t.Errorf("got %+v", s.Clusters)
	}
	if countScans(&s, before, Outcome{ScanNotes: ScanNotes{Unknown: "x"}}); s.Clusters.Passing != 0 {
		t.Errorf("nothing is known, and got %+v", s.Clusters)
	}
}

// TestADayOfScans: hourly scans of a fleet change the condition when an answer changes, and never else.
func TestADayOfScans(t *testing.T) {
	audit := &v1alpha1.AuditSync{}
	var before []scanstate.Status
	var told []string
	changes := 0
	ok, bad := status("a", scanstate.Succeeded, ""), status("a", scanstate.Failed, "killed")
	look := func(a scanstate.Status) {
		o := Outcome{Scans: []scanstate.Status{a, status("b", scanstate.Succeeded, "")}, ScanNotes: ScanNotes{Before: before}}
		s := *audit.Status.DeepCopy()
		conditions{status: &s}.scanned(o)
		if !reflect.DeepEqual(s.Conditions, audit.Status.Conditions) {
			changes++
		}
		for _, e := range scanEvents(audit, s, o) {
			told = append(told, e.Reason)
		}
		audit.Status, before = s, o.Scans
	}
	for hour := range 24 {
		ends := ok
		if hour == 7 || hour == 8 {
			ends = bad
		}
		if hour > 0 {
			look(rerun(before[0]))
			if hour == 8 || hour == 9 {
				look(rerun(bad)) // seen twice
			}
		}
		look(ends)
	}
	if changes != 3 { // scanned, failed at 7, scanned at 9
		t.Errorf("the condition changed %d times in a day", changes)
	}
	if got := strings.Join(told, " "); got != "ScanFailed ScanRecovered" {
		t.Errorf("events %s", got)
	}
}

func TestScanEvents(t *testing.T) {
	bad := func(name string) scanstate.Status { return status(name, scanstate.Failed, "killed") }
	known := v1alpha1.AuditSyncStatus{}
	conditions{status: &known}.scanned(Outcome{Scans: []scanstate.Status{status("a", scanstate.Succeeded, "")}})
	var many []scanstate.Status
	for i := range 50 {
		many = append(many, bad(fmt.Sprintf("c%02d", i)))
	}
	for name, c := range map[string]struct {
		reason string
		status v1alpha1.AuditSyncStatus
		o      Outcome
		want   []string
	}{
		"started":             {"scans on change", known, Outcome{Scans: []scanstate.Status{}, ScanNotes: ScanNotes{Before: []scanstate.Status{}, Started: []string{"a", "b"}}}, []string{"ScanStarted: started scans of changed clusters: a, b"}},
		"left":                {"too many at a time", known, Outcome{Plan: &plan.Plan{ScansLeft: 900}, Scans: []scanstate.Status{}, ScanNotes: ScanNotes{Before: []scanstate.Status{}}}, []string{"ScanScheduled: 900 changed clusters will be scanned as scheduled, because too many changed at the same time"}},
		"the first report":    {"of a new AuditSync", v1alpha1.AuditSyncStatus{}, Outcome{Scans: []scanstate.Status{bad("a")}}, []string{"ScanFailed: a: OutOfMemory: killed"}},
		"after a restart":     {"what happened meanwhile is told as a whole", known, Outcome{Scans: []scanstate.Status{bad("a")}}, []string{"ScanFailed: 1 of 1 cluster not scanned: a: OutOfMemory: killed"}},
		"restart, no change":  {"nothing happened", known, Outcome{Scans: []scanstate.Status{status("a", scanstate.Succeeded, "")}}, nil},
		"another reason":      {"it is another failure", known, Outcome{Scans: []scanstate.Status{bad("a")}, ScanNotes: ScanNotes{Before: []scanstate.Status{status("a", scanstate.Overdue, "late")}}}, []string{"ScanFailed: a: OutOfMemory: killed"}},
		"another place":       {"a cluster was added before it", known, Outcome{Scans: []scanstate.Status{status("A", scanstate.Succeeded, ""), bad("a")}, ScanNotes: ScanNotes{Before: []scanstate.Status{bad("a")}}}, nil},
		"lost its right":      {"and says so once", known, Outcome{ScanNotes: ScanNotes{Unknown: "lacks x"}}, []string{"ScanUnknown: lacks x"}},
		"fifty at a time":     {"events are API calls", known, Outcome{Scans: many, ScanNotes: ScanNotes{Before: []scanstate.Status{}}}, nil},
		"recovered, many one": {"one event", known, Outcome{Scans: []scanstate.Status{status("a", scanstate.Succeeded, ""), status("b", scanstate.Succeeded, "")}, ScanNotes: ScanNotes{Before: []scanstate.Status{bad("a"), bad("b")}}}, []string{"ScanRecovered: scanned again: a, b"}},
	} {
		t.Run(name, func(t *testing.T) {
			audit := &v1alpha1.AuditSync{Status: c.status}
			after := *c.status.DeepCopy()
			conditions{status: &after}.scanned(c.o)
			var got []string
			for _, e := range scanEvents(audit, after, c.o) {
				got = append(got, e.Reason+": "+e.Note)
			}
			if name == "fifty at a time" {
				if len(got) != maxScanEvents+1 || !strings.HasPrefix(got[maxScanEvents], "ScanFailed: 40 more clusters: c10, ") {
					t.Errorf("%d events, the last is %s", len(got), got[len(got)-1])
				}
				return
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}
}
