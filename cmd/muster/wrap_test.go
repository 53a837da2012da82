package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/access"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// widths are those of a narrow and a wide terminal, and 0 for a pipe.
var widths = map[string]int{"60": 60, "120": 120, "pipe": 0}

// golden compares a text with a file, which -update writes anew.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "width", name)
	if *update {
		check(t, os.MkdirAll(filepath.Dir(file), 0o750))
		check(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	check(t, err)
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// fits reports lines that are wider than a terminal, but for those with a word that is as long.
func fits(t *testing.T, text string, width int) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		long := slices.ContainsFunc(strings.Fields(line), func(word string) bool { return utf8.RuneCountInString(word) > width-4 })
		if width > 0 && utf8.RuneCountInString(line) > width && !long {
			t.Errorf("%d of %d columns: %s", utf8.RuneCountInString(line), width, line)
		}
	}
}

func plain(_ colour, text string) string { return text }

func TestFindingsFitTheTerminal(t *testing.T) {
	findings := []struct {
		place string
		finding.Finding
	}{
		{"clusters/eu.yaml:7:3: ", finding.Finding{Code: "unknown-field", Severity: finding.Error, Cluster: "eu", Message: "spec.shedule is no field of a cluster file; did you mean spec.schedule?", Fix: "correct the name"}},
		{"a folder with  blanks/eu.yaml: ", finding.Finding{Code: "skip-tls-verify", Severity: finding.Warning, Cluster: "eu", Message: "the server's certificate is not verified, and whoever is on the way can read the token", Fix: "give caCert", Accepted: "staging alone"}},
		{"clusters/production/regions/europe/west/1/a-very-long-name-of-a-cluster-file-that-fills-a-line.yaml:1:1: ", finding.Finding{Code: "yaml", Severity: finding.Error, Message: "short", Fix: "correct it"}},
		{"", finding.Finding{Code: "empty", Severity: finding.Info, Message: "nothing", Fix: "bring it back"}},
	}
	for name, width := range widths {
		var b strings.Builder
		for _, f := range findings {
			b.WriteString(findingText(f.place, f.Finding, plain, width) + "\n")
		}
		fits(t, b.String(), width)
		golden(t, "findings-"+name+".txt", b.String())
	}
	coloured := findingText("eu.yaml: ", findings[0].Finding, func(c colour, text string) string { return "<" + string(c) + ">" + text + "</>" }, 60)
	if !strings.HasPrefix(coloured, "eu.yaml: <31>error</>: cluster eu: spec.shedule") {
		t.Errorf("colours are lost: %s", coloured)
	}
}

func TestStatusFitsTheTerminal(t *testing.T) {
	now := time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)
	message := "1 of 3 clusters can't be used and stays as before: clusters/eu.yaml:13:13: error: cluster eu: the schedule \"61 * * * *\" has a minute over 59; write five fields [schedule]"
	bad := func(kind, reason, message string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
	}
	f := fleetStatus{Namespace: "mondoo-operator", now: now,
		Syncs: []syncStatus{{Name: "production", Revision: "main@sha1:0123456789abcdef", Counts: &v1alpha1.ClusterCounts{Total: 3, Applied: 2, Quarantined: 1},
			Conditions: []metav1.Condition{bad("Rendered", "Quarantined", message), bad("Ready", "Quarantined", message), bad("Scanned", "OutOfMemory", "1 of 3 clusters not scanned: us: OutOfMemory: container mondoo-k8s-scan was out of memory; its limit is 300Mi")},
			Problems: []v1alpha1.Problem{
				{Code: "schedule", Severity: "error", Cluster: "eu", Place: "clusters/eu.yaml:13:13", Message: "the schedule \"61 * * * *\" has a minute over 59", Fix: "write five fields"},
				{Code: "line-ends", Severity: "warning", Place: "clusters/README.yaml:1:1", Message: "the file has CRLF line ends", Fix: "save it with LF"},
			}}},
		Clusters: []clusterStatus{
			{Cluster: "production-us-east-1-payments", AuditConfig: "mondoo-client", Sync: "production", State: stateApplied, Schedule: "9 * * * *", Scan: &scanstate.Status{State: scanstate.Failed, Reason: scanstate.ReasonOutOfMemory, CronJob: "us", Schedule: "9 * * * *", Since: now.Add(-time.Hour), Detail: "container mondoo-k8s-scan was out of memory; its limit is 300Mi"}},
			{Cluster: "eu", Sync: "production", State: stateQuarantined, Schedule: "17 3 * * *", Problem: problemText(v1alpha1.Problem{Place: "clusters/eu.yaml:13:13", Message: "the schedule \"61 * * * *\" has a minute over 59", Fix: "write five fields"})},
		},
		Notes: []string{"expiry of credentials is not shown: no permission to list Secrets in mondoo-operator"}}
	for name, width := range widths {
		text := statusText(f, f.Clusters, 0, statusFlags{}, plain, width)
		fits(t, text, width)
		if n := strings.Count(strings.Join(strings.Fields(text), " "), "has a minute over 59"); n != 1 {
			t.Errorf("%s: the problem is told %d times:\n%s", name, n, text)
		}
		golden(t, "status-"+name+".txt", text)
	}
}

// TestStatusTellsOnce: what a condition and a problem have in common is told once, and the way out is never cut off.
func TestStatusTellsOnce(t *testing.T) {
	held, fix := "9 removals wait for approval: "+strings.Repeat("cluster production-eu-central-1, ", 20), "approve exactly these removals with the annotation muster.dev/approve-removals=0123456789"
	mismatch := "the approval that is given is for another commit"
	condition := func(kind string, status metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: "RemovalsHeld", Message: held + "; " + fix + "; " + mismatch}
	}
	sync := syncStatus{Name: "production", Conditions: []metav1.Condition{condition("Ready", metav1.ConditionFalse), condition("Stalled", metav1.ConditionTrue)}}
	for _, problems := range [][]v1alpha1.Problem{
		{{Code: "removals-held", Severity: "warning", Message: held, Fix: fix}},
		nil,
	} {
		sync.Problems = problems
		text := statusText(fleetStatus{Syncs: []syncStatus{sync}}, nil, 0, statusFlags{}, plain, 0)
		for _, once := range []string{held, fix, mismatch} {
			if n := strings.Count(text, once); n != 1 {
				t.Errorf("with %d problems, %q is told %d times:\n%s", len(problems), once, n, text)
			}
		}
	}
}

func TestKeysFitTheTerminal(t *testing.T) {
	const prod = "AWS KMS arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	alice, old := "age1"+strings.Repeat("q", 58), "age1pq1"+strings.Repeat("z", 2000)
	report := &access.Report{
		Files: []access.File{
			{Path: "clusters/production/regions/eu-central-1.yaml", Rule: "clusters/.sops.yaml:2", Recipients: recipient.Recipients{Groups: []recipient.Group{{prod}, {alice}, {old}}, Threshold: 2},
				Difference: recipient.Difference{Threshold: 2, Wanted: 3}},
			{Path: "clusters/us.yaml", Rule: "clusters/.sops.yaml:2", Recipients: recipient.Recipients{Groups: []recipient.Group{{alice, old}}, Threshold: 1},
				Difference: recipient.Difference{Missing: []string{prod}, Extra: []string{old}}},
			{Path: "clusters/none.yaml"},
			{Path: "other.yaml", Recipients: recipient.Recipients{Groups: []recipient.Group{{alice}}, Threshold: 1}},
		},
		Recipients: []access.Recipient{
			{ID: alice, Name: "Alice Smith, on-call", Opens: []access.Opening{{Path: "clusters/production/regions/eu-central-1.yaml", More: 1, Of: 2}, {Path: "clusters/us.yaml"}, {Path: "other.yaml"}}, Listed: 2, Places: []string{"clusters/.sops.yaml:4"}},
			{ID: prod, Name: "prod", Opens: []access.Opening{{Path: "clusters/production/regions/eu-central-1.yaml", More: 1, Of: 2}}, Listed: 1, Missing: []string{"clusters/us.yaml"}},
			{ID: old, Opens: []access.Opening{{Path: "clusters/production/regions/eu-central-1.yaml", More: 1, Of: 2}, {Path: "clusters/us.yaml"}}, Listed: 1, Extra: []string{"clusters/us.yaml"}},
		},
		Problems: []access.Problem{{Path: "lab/.sops.yaml", Line: 3, Reason: "path_regex is not a regular expression"}},
		TooLarge: []string{"dump.sql"},
	}
	whole := accessListing{Report: report, path: "clusters", by: "recipient", total: len(report.Files)}
	whole.names.Add(alice, "Alice Smith, on-call")
	whole.names.Add(prod, "prod")
	byFile, one := whole, whole
	byFile.by = "file"
	one.who, one.Report = "Alice Smith, on-call", report.Only(report.Recipients[:1])
	for name, width := range widths {
		var b strings.Builder
		for _, l := range []accessListing{whole, byFile, one} {
			b.WriteString(l.text(plain, width))
			for _, f := range l.findings() {
				place := f.Place() + ": "
				f.Path = ""
				b.WriteString(findingText(place, f, plain, width) + "\n")
			}
			b.WriteString(l.summary(width) + "\n")
		}
		fits(t, b.String(), width)
		golden(t, "keys-"+name+".txt", b.String())
	}
}
