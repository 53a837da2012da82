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
	"github.com/muster-gitops/muster/controllers/scan"
)

func status(cluster string, state scan.State, detail string) scan.Status {
	s := scan.Status{Cluster: cluster, State: state, Detail: detail}
	if state == scan.Succeeded {
		s.LastSuccess = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	}
	if state == scan.Failed {
		s.Reason = scan.ReasonOutOfMemory
	}
	return s
}

// rerun is a scan that runs, with what was before it.
func rerun(before scan.Status) scan.Status {
	s := before
	s.State, s.Reason, s.Detail, s.Before = scan.Running, "", "", &before
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
	ok, bad := status("ok", scan.Succeeded, ""), status("bad", scan.Failed, "killed")
	first := scan.Status{Cluster: "first", State: scan.Running}
	waits := status("waits", scan.Awaiting, "its first scan has not begun")
	lost := status("lost", scan.NotPickedUp, "the operator stops at x")
	paused := status("paused", scan.Paused, "paused for all")
	var many []scan.Status
	for i := range 20 {
		many = append(many, status(fmt.Sprintf("c%02d", i), scan.NotPickedUp, "the operator stops at x"))
	}
	for name, c := range map[string]struct {
		reason  string
		scans   []scan.Status
		notes   ScanNotes
		want    string
		message string
		counts  string // awaiting, passing, failing
	}{
		"not listed yet":     {"nothing is said rather than something wrong", nil, ScanNotes{}, " ", "", "0 0 0"},
		"no right":           {"the right is named", nil, ScanNotes{Unknown: "lacks x"}, "Unknown Unknown", "lacks x", "0 0 0"},
		"no clusters":        {"an empty fleet", []scan.Status{}, ScanNotes{}, "True Scanned", "no clusters to scan", "0 0 0"},
		"scanned":            {"all is well", []scan.Status{ok}, ScanNotes{}, "True Scanned", "1 cluster scanned", "0 1 0"},
		"scanned again":      {"a run does not change the answer", []scan.Status{rerun(ok)}, ScanNotes{}, "True Scanned", "1 cluster scanned", "0 1 0"},
		"failing, again":     {"nor does that of a failing one", []scan.Status{ok, rerun(bad)}, ScanNotes{}, "False Failed", "1 of 2 clusters not scanned: bad: OutOfMemory: killed", "0 1 1"},
		"the first runs":     {"the first run is news", []scan.Status{ok, first}, ScanNotes{}, "Unknown Running", "1 of 2 clusters not scanned yet: first: its first scan is running", "1 1 0"},
		"awaiting":           {"one of two runs", []scan.Status{first, waits}, ScanNotes{}, "Unknown Awaiting", "2 of 2 clusters not scanned yet: first: its first scan is running; waits: its first scan has not begun", "2 0 0"},
		"to be scanned":      {"and the others are left to their schedules", []scan.Status{first, waits}, ScanNotes{Due: 1}, "Unknown Awaiting", "2 of 2 clusters not scanned yet: first: its first scan is running; waits: its first scan has not begun; 1 changed cluster will be scanned as soon as possible, the others as scheduled", "2 0 0"},
		"refused":            {"the API server refuses the Job", []scan.Status{ok}, ScanNotes{Refused: "no right"}, "True Scanned", "1 cluster scanned; a changed cluster is scanned as scheduled, because the API server rejects its Job: no right", "0 1 0"},
		"gravest first":      {"nobody scans it at all", []scan.Status{bad, lost, waits}, ScanNotes{}, "False NotPickedUp", "2 of 3 clusters not scanned: lost: the operator stops at x; bad: OutOfMemory: killed", "1 0 2"},
		"overdue":            {"its own reason", []scan.Status{status("late", scan.Overdue, "late")}, ScanNotes{}, "False Overdue", "1 of 1 cluster not scanned: late: late", "0 0 1"},
		"one cause for many": {"it is said once", many, ScanNotes{}, "False NotPickedUp", "20 of 20 clusters not scanned: c00, c01, c02, c03, c04 and 15 more: the operator stops at x", "0 0 20"},
		"paused":             {"all of them", []scan.Status{paused}, ScanNotes{}, "Unknown Paused", "1 cluster: paused: paused for all", "0 0 0"},
		"one paused":         {"the others are fine", []scan.Status{ok, paused}, ScanNotes{}, "True Scanned", "1 cluster scanned, 1 paused: paused: paused for all", "0 1 0"},
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
	var before []scan.Status
	var told []string
	changes := 0
	ok, bad := status("a", scan.Succeeded, ""), status("a", scan.Failed, "killed")
	look := func(a scan.Status) {
		o := Outcome{Scans: []scan.Status{a, status("b", scan.Succeeded, "")}, ScanNotes: ScanNotes{Before: before}}
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
	bad := func(name string) scan.Status { return status(name, scan.Failed, "killed") }
	known := v1alpha1.AuditSyncStatus{}
	conditions{status: &known}.scanned(Outcome{Scans: []scan.Status{status("a", scan.Succeeded, "")}})
	var many []scan.Status
	for i := range 50 {
		many = append(many, bad(fmt.Sprintf("c%02d", i)))
	}
	for name, c := range map[string]struct {
		reason string
		status v1alpha1.AuditSyncStatus
		o      Outcome
		want   []string
	}{
		"started":             {"scans on change", known, Outcome{Scans: []scan.Status{}, ScanNotes: ScanNotes{Before: []scan.Status{}, Started: []string{"a", "b"}}}, []string{"ScanStarted: started scans of changed clusters: a, b"}},
		"left":                {"too many at a time", known, Outcome{Plan: &plan.Plan{ScansLeft: 900}, Scans: []scan.Status{}, ScanNotes: ScanNotes{Before: []scan.Status{}}}, []string{"ScanScheduled: 900 changed clusters will be scanned as scheduled, because too many changed at the same time"}},
		"the first report":    {"of a new AuditSync", v1alpha1.AuditSyncStatus{}, Outcome{Scans: []scan.Status{bad("a")}}, []string{"ScanFailed: a: OutOfMemory: killed"}},
		"after a restart":     {"what happened meanwhile is told as a whole", known, Outcome{Scans: []scan.Status{bad("a")}}, []string{"ScanFailed: 1 of 1 cluster not scanned: a: OutOfMemory: killed"}},
		"restart, no change":  {"nothing happened", known, Outcome{Scans: []scan.Status{status("a", scan.Succeeded, "")}}, nil},
		"another reason":      {"it is another failure", known, Outcome{Scans: []scan.Status{bad("a")}, ScanNotes: ScanNotes{Before: []scan.Status{status("a", scan.Overdue, "late")}}}, []string{"ScanFailed: a: OutOfMemory: killed"}},
		"another place":       {"a cluster was added before it", known, Outcome{Scans: []scan.Status{status("A", scan.Succeeded, ""), bad("a")}, ScanNotes: ScanNotes{Before: []scan.Status{bad("a")}}}, nil},
		"lost its right":      {"and says so once", known, Outcome{ScanNotes: ScanNotes{Unknown: "lacks x"}}, []string{"ScanUnknown: lacks x"}},
		"fifty at a time":     {"events are API calls", known, Outcome{Scans: many, ScanNotes: ScanNotes{Before: []scan.Status{}}}, nil},
		"recovered, many one": {"one event", known, Outcome{Scans: []scan.Status{status("a", scan.Succeeded, ""), status("b", scan.Succeeded, "")}, ScanNotes: ScanNotes{Before: []scan.Status{bad("a"), bad("b")}}}, []string{"ScanRecovered: scanned again: a, b"}},
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
