package fleet

import (
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

func TestAccept(t *testing.T) {
	warning := finding.Finding{Code: "same-minute", Severity: finding.Warning, Cluster: "eu", Path: "eu.yaml", Message: "m"}
	for _, row := range []struct {
		reason  string
		finding finding.Finding
		accept  acceptance
		want    string // the reason that is shown, "" where nothing is accepted
		says    string // of the acceptance itself
	}{
		{"a warning about the cluster", warning, acceptance{code: "same-minute", reason: " agreed\nwith  ops ", cluster: "eu"}, "agreed with ops", ""},
		{"a warning about its file", finding.Finding{Code: "line-ends", Severity: finding.Warning, Path: "eu.yaml"}, acceptance{code: "line-ends", reason: "r", cluster: "eu", path: "eu.yaml"}, "r", ""},
		{"another cluster's", warning, acceptance{code: "same-minute", reason: "r", cluster: "us", path: "us.yaml"}, "", "the cluster has no such finding"},
		{"another cluster's, in the same file", warning, acceptance{code: "same-minute", reason: "r", cluster: "us", path: "eu.yaml"}, "", "the cluster has no such finding"},
		{"another code", warning, acceptance{code: "line-ends", reason: "r", cluster: "eu"}, "", "the cluster has no such finding"},
		{"no rule has the code", warning, acceptance{code: "same-minutes", reason: "r", cluster: "eu"}, "", "no rule has this code"},
		{"an empty code", warning, acceptance{reason: "r", cluster: "eu"}, "", "no rule has this code"},
		{"no reason", warning, acceptance{code: "same-minute", reason: " \n", cluster: "eu"}, "", "it has no reason"},
		{"a rule of errors", warning, acceptance{code: "not-found", reason: "r", cluster: "eu"}, "", "an error can't be accepted"},
		{"an error of a rule that has warnings, too", finding.Finding{Code: "yaml", Severity: finding.Error, Path: "eu.yaml"}, acceptance{code: "yaml", reason: "r", cluster: "eu", path: "eu.yaml"}, "", ""},
		{"for whom files are encrypted", finding.Finding{Code: encryptionWarning(t), Severity: finding.Warning, Path: "eu.yaml"}, acceptance{code: encryptionWarning(t), reason: "r", cluster: "eu", path: "eu.yaml"}, "", "a single cluster can't accept"},
		{"a finding about an acceptance", warning, acceptance{code: CodeAcceptance, reason: "r", cluster: "eu"}, "", "can't be accepted"},
		{"a reason without end", warning, acceptance{code: "same-minute", reason: strings.Repeat("ü", 5000), cluster: "eu"}, strings.Repeat("ü", 200) + "…", ""},
		{"what shows in a management cluster alone", warning, acceptance{code: liveWarning(t), reason: "r", cluster: "eu"}, "", ""},
	} {
		r := finding.Report{Findings: []finding.Finding{row.finding}}
		for range 2 { // the second time, nothing is new
			accept(&r, []acceptance{row.accept}, true)
		}
		if got := r.Findings[0].Accepted; got != row.want {
			t.Errorf("%s: accepted for %q, want %q", row.reason, got, row.want)
		}
		about := r.Findings[1:]
		if row.says == "" && len(about) > 0 || row.says != "" && (len(about) != 1 || !strings.Contains(about[0].Message, row.says)) {
			t.Errorf("%s: of the acceptance, %v is said, want %q", row.reason, about, row.says)
		}
		for _, f := range about {
			if err := f.Check(); err != nil || f.Code != CodeAcceptance {
				t.Errorf("%s: %v", row.reason, err)
			}
		}
	}
}

// Before all stages have run, nobody knows whether an acceptance is needed.
func TestAcceptBeforeTheEnd(t *testing.T) {
	r := finding.Report{}
	accept(&r, []acceptance{{code: "same-minute", reason: "r", cluster: "eu"}}, false)
	if len(r.Findings) > 0 {
		t.Errorf("%v", r.Findings)
	}
}

func TestAcceptedText(t *testing.T) {
	f := finding.Finding{Code: "same-minute", Severity: finding.Warning, Cluster: "eu", Message: "m", Fix: "mend it", Accepted: "agreed"}
	if got, want := f.String(), "warning: cluster eu: m; accepted: agreed [same-minute]"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func warningOf(t *testing.T, subject finding.Subject) finding.Code {
	t.Helper()
	rules := finding.Rules()
	i := slices.IndexFunc(rules, func(r finding.Rule) bool {
		return r.Subject == subject && slices.Contains(r.Severities, finding.Warning)
	})
	if i < 0 {
		t.Fatalf("no warning about %s", subject)
	}
	return rules[i].Code
}

func encryptionWarning(t *testing.T) finding.Code {
	t.Helper()
	return warningOf(t, finding.Encryption)
}
func liveWarning(t *testing.T) finding.Code { t.Helper(); return warningOf(t, finding.Live) }

// The annotations of cluster files are read, and no others.
func TestAcceptOfAFleet(t *testing.T) {
	file := &v1alpha1.ExternalCluster{Metadata: v1alpha1.Metadata{Name: "eu", Annotations: map[string]string{"team": "x", AcceptPrefix + "line-ends": "r"}}}
	f := &Opened{Clusters: []Cluster{{Name: "written"}, {Name: "eu", Origin: Origin{Path: "eu.yaml"}, File: file}}}
	f.Findings = []finding.Finding{{Code: "line-ends", Severity: finding.Warning, Path: "eu.yaml"}, {Code: "line-ends", Severity: finding.Warning, Path: "us.yaml"}}
	f.Accept()
	if len(f.Findings) != 2 || f.Findings[0].Accepted != "r" || f.Findings[1].Accepted != "" {
		t.Errorf("%+v", f.Findings)
	}
}
