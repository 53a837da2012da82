package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/cmd/muster/doctor"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// goldenNow is the time of the goldens.
var goldenNow = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

// goldenShell prints into a buffer, as into a pipe.
func goldenShell() (*shell, *bytes.Buffer) {
	out := &bytes.Buffer{}
	s := &shell{name: programName, stdout: out, stderr: out, env: func(string) string { return "" }, redactor: &redact.Redactor{}}
	s.redactor.Add(canary + "-token")
	return s, out
}

func goldenEvents() []corev1.Event {
	at := func(ago time.Duration) metav1.MicroTime { return metav1.NewMicroTime(goldenNow.Add(-ago)) }
	about := func(apiVersion, kind, name string) corev1.ObjectReference {
		return corev1.ObjectReference{APIVersion: apiVersion, Kind: kind, Name: name, Namespace: testNamespace}
	}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Namespace: testNamespace} }
	return []corev1.Event{
		{ObjectMeta: meta("a"), EventTime: at(50 * time.Minute), Type: "Normal", Reason: "Applied", Message: "applied main@sha1:0123456: adds 3 clusters (asia, eu, us)", InvolvedObject: about("muster.dev/v1alpha1", "AuditSync", "production")},
		{ObjectMeta: meta("b"), EventTime: at(40 * time.Minute), Type: "Warning", Reason: "FailedFetch", Message: "https://git.example.com/fleet.git: the server rejected " + canary + "-token (HTTP 401); check that the credentials are not expired and may read the repository",
			InvolvedObject: about("muster.dev/v1alpha1", "AuditSync", "production"), Series: &corev1.EventSeries{Count: 5, LastObservedTime: at(2 * time.Minute)}},
		{ObjectMeta: meta("c"), LastTimestamp: metav1.NewTime(goldenNow.Add(-30 * time.Second)), FirstTimestamp: metav1.NewTime(goldenNow.Add(-30 * time.Second)), Count: 1, Type: "Warning", Reason: "BackoffLimitExceeded",
			Message: "Job has reached the specified backoff limit\x1b[2J", InvolvedObject: about("batch/v1", "Job", "mondoo-k8s-scan-production-us-east-1-payments-29384756")},
	}
}

func TestEventsFitTheTerminal(t *testing.T) {
	s, out := goldenShell()
	v := &eventView{shell: s, cluster: &cluster{namespace: testNamespace}}
	for name, width := range widths {
		for file, namespaces := range map[string]bool{"events-": false, "events-all-": true} {
			text := eventsText(goldenNow, v.redacted(goldenEvents()), namespaces, plain, width)
			fits(t, text, width)
			golden(t, file+name+".txt", text)
		}
	}
	v.flags.output = &choice{value: "json"}
	check(t, v.printAll(goldenEvents()))
	golden(t, "events.json", out.String())
	out.Reset()
	v.flags.watch = true
	check(t, v.printAll(goldenEvents()))
	golden(t, "events-watch.json", out.String())
	out.Reset()
	v.flags.watch, v.flags.output = false, &choice{value: "yaml"}
	check(t, v.printAll(goldenEvents()))
	golden(t, "events.yaml", out.String())
}

func TestLogsInAPipe(t *testing.T) {
	s, out := goldenShell()
	lines := []string{about("INFO", testNamespace, "production", "sync changed"), about("ERROR", testNamespace, "production", "request a sync"), "panic: " + canary + "-token"}
	for _, format := range []string{"text", "json"} {
		for _, several := range []bool{false, true} {
			r := &logReader{shell: s, flags: logsFlags{output: &choice{value: format}}, known: map[string]*podLog{"a": nil}}
			if several {
				r.known["b"] = nil
			}
			for i, raw := range lines {
				line := parseLine(raw)
				line.at, line.pod = goldenNow.Add(time.Duration(i)*time.Second), "muster-6d5f-abcde"
				check(t, r.print(line))
			}
		}
	}
	golden(t, "logs-pipe.txt", out.String())
}

func goldenChecks() []doctor.Check {
	return []doctor.Check{
		{Category: "kubernetes", Name: "the API server answers", Result: doctor.Passed, Detail: "https://10.0.0.1:6443"},
		{Category: "kubernetes", Name: "its version is supported", Result: doctor.Warning, Detail: "it is v1.99.0, and Muster was tested with 1.37", Fix: "look for a newer Muster"},
		{Category: "muster", Name: "the controller is ready", Result: doctor.Failed, Detail: "0 of 1 Pod ready: ImagePullBackOff: Back-off pulling image \"registry.example.com/platform/muster:v1.2.3\"\x1b[2J", Fix: "kubectl -n mondoo-operator describe pod -l " + doctor.ControllerLabels},
		{Category: "git", Name: "production: the repository's Secret is valid", Result: doctor.Skipped, Detail: "you may not get Secret mondoo-operator/fleet-git"},
		{Category: "git", Name: "production: the path exists", Result: doctor.Passed},
	}
}

func TestDoctorFitsTheTerminal(t *testing.T) {
	for name, width := range widths {
		marks, category := signMarks, ""
		if width == 0 {
			marks = wordMarks
		}
		text := checksText(goldenChecks(), &category, marks, plain, width)
		fits(t, text, width)
		golden(t, "doctor-"+name+".txt", text)
	}
	s, out := goldenShell()
	r := &doctorReport{shell: s, json: true, Namespace: testNamespace}
	check(t, r.add(goldenChecks()))
	if err := r.conclude(); !errors.Is(err, statusError(exitFindings)) {
		t.Errorf("a failed check ends with %v", err)
	}
	golden(t, "doctor.json", out.String())
	out.Reset()
	r = &doctorReport{shell: s, Namespace: testNamespace}
	check(t, r.add(goldenChecks()[:2]))
	check(t, r.conclude()) // a warning is no failure
	if !strings.HasSuffix(out.String(), "\n1 warning, 1 passed\n") {
		t.Errorf("%s", out.String())
	}
}

func goldenFleet() fleetStatus {
	return fleetStatus{Namespace: testNamespace, now: goldenNow,
		Syncs: []syncStatus{{Name: "production", Revision: "main@sha1:0123456789abcdef", Counts: &v1alpha1.ClusterCounts{Total: 2, Applied: 2},
			Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Succeeded", LastTransitionTime: metav1.NewTime(goldenNow)}}, Problems: []v1alpha1.Problem{}}},
		Clusters: []clusterStatus{
			{Cluster: "us", AuditConfig: "mondoo-client", Sync: "production", State: stateApplied, Commit: "0123456789abcdef0123456789abcdef01234567", Schedule: "9 * * * *",
				Scan: &scanstate.Status{State: scanstate.Failed, Reason: scanstate.ReasonOutOfMemory, CronJob: "us", Schedule: "9 * * * *", Since: goldenNow.Add(-time.Hour), Detail: "container mondoo-k8s-scan was out of memory; its limit is 300Mi"}},
			{Cluster: "manual", AuditConfig: "mondoo-client", State: stateForeign, Schedule: "17 3 * * *"},
		}}
}

// TestStatusFormats has a golden for each format, and for several namespaces.
func TestStatusFormats(t *testing.T) {
	s, out := goldenShell()
	for _, format := range []string{"wide", "json", "yaml", "name"} {
		for file, all := range map[string]bool{"status-": false, "status-all-": true} {
			flags := statusFlags{all: true, allNamespaces: all, output: &choice{value: format}, scan: &choice{value: "any"}}
			fleets := []fleetStatus{goldenFleet()}
			if all {
				second := goldenFleet()
				second.Namespace = "team-a"
				fleets = append(fleets, second)
			}
			out.Reset()
			check(t, s.printFleets(out, fleets, flags))
			golden(t, file+format+".txt", out.String())
		}
	}
	for _, format := range []string{"text", "json", "yaml", "name"} {
		out.Reset()
		before, after := goldenFleet(), goldenFleet()
		after.Syncs[0].Suspended, after.Clusters = true, after.Clusters[:1]
		after.Clusters[0].Scan = &scanstate.Status{State: scanstate.Succeeded}
		for _, change := range changesOf(linesOf([]fleetStatus{before}), linesOf([]fleetStatus{after})) {
			check(t, s.printChange(goldenNow, change, format))
		}
		golden(t, "status-watch-"+format+".txt", out.String())
	}
}
