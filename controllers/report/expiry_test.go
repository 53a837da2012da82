package report

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

const oneDay = 24 * time.Hour

// termOf is the term of a token, as Token reads it.
func termOf(t *testing.T, issued time.Time, life time.Duration) credential.Term {
	t.Helper()
	facts, _ := credential.Token([]byte(jwt(issued, issued.Add(life))), issued)
	if len(facts.Terms) != 1 {
		t.Fatalf("a token has %d terms", len(facts.Terms))
	}
	return facts.Terms[0]
}

func secretOf(cluster string, terms ...credential.Term) fleet.Secret {
	return fleet.Secret{Name: "mondoo-client-" + cluster, Cluster: cluster, Terms: terms, Origin: fleet.Origin{Path: cluster + ".yaml"}}
}

// expirySync reports an outcome, and returns the events about credentials as "reason related: note".
func expirySync(audit *v1alpha1.AuditSync, o Outcome) []string {
	var got []string
	status := Status(audit, o)
	for _, e := range Events(audit, status, o) {
		if strings.HasPrefix(e.Reason, "Credentials") {
			got = append(got, e.Reason+": "+e.Note)
		}
	}
	audit.Status = status
	return got
}

// TestExpiryEvents follows a fleet in time. Each threshold is reported once, however often the fleet is synced and Muster restarts:
// nothing is remembered but the status.
func TestExpiryEvents(t *testing.T) {
	f := &fleet.Opened{Namespace: "ns", Secrets: []fleet.Secret{
		secretOf("eu", termOf(t, noon, 90*oneDay)), secretOf("us", termOf(t, noon, 90*oneDay)), secretOf("forever"), secretOf("short", termOf(t, noon.Add(70*oneDay), time.Hour))}}
	audit := &v1alpha1.AuditSync{}
	for _, step := range []struct {
		reason string
		after  time.Duration
		want   []string
	}{
		{"all is new", 0, nil},
		{"a second before the threshold", 60*oneDay - time.Second, nil},
		{"the threshold", 60 * oneDay, []string{"CredentialsExpiring: eu: the token expires on 2026-06-01, us: the token expires on 2026-06-01"}},
		{"half a second later", 60*oneDay + time.Second/2, nil},
		{"a day later", 61 * oneDay, nil},
		{"the clock is put back", 60*oneDay - time.Hour, nil},
		{"and forward again", 61 * oneDay, nil},
		{"a token for an hour", 70*oneDay + 45*time.Minute, []string{"CredentialsExpiring: short: the token expires on 2026-05-12 at 13:00 UTC"}},
		{"nearer to its end", 70*oneDay + 55*time.Minute, []string{"CredentialsExpireSoon: short: the token expires soon, on 2026-05-12 at 13:00 UTC"}},
		{"after some sleep, over two thresholds", 95 * oneDay, []string{
			"CredentialsExpired: short: the token expired on 2026-05-12 at 13:00 UTC, eu: the token expired on 2026-06-01, us: the token expired on 2026-06-01"}},
		{"for all time", 900 * oneDay, nil},
	} {
		for range 2 {
			got := expirySync(audit, Outcome{Now: noon.Add(step.after), Fleet: f, Plan: &plan.Plan{}})
			if !slices.Equal(got, step.want) {
				t.Errorf("%s: %q, want %q", step.reason, got, step.want)
			}
			step.want = nil // of the second sync
		}
	}
}

// TestExpiryIsReportedOnlyWhenItIsNew has syncs at which a credential of eu is expiring, and one of us was reported a day ago.
func TestExpiryIsReportedOnlyWhenItIsNew(t *testing.T) {
	term := termOf(t, noon.Add(-61*oneDay), 90*oneDay) // the threshold was a day ago
	text := "CredentialsExpiring: eu: the token expires on 2026-04-01"
	for _, test := range []struct {
		reason string
		change func(*Outcome)
		want   []string
	}{
		{"nothing has changed", func(*Outcome) {}, nil},
		{"it comes with this commit", func(o *Outcome) {
			o.Plan.Steps = []plan.Step{{Kind: plan.KindSecret, Name: "mondoo-client-eu", Action: plan.Add}}
		}, []string{text}},
		{"it replaces another", func(o *Outcome) {
			o.Plan.Steps = []plan.Step{{Kind: plan.KindSecret, Name: "mondoo-client-eu", Action: plan.Change, Fields: []plan.Field{{Path: "data.token"}}}}
		}, []string{text}},
		{"it replaces another, but the API server refuses", func(o *Outcome) {
			o.Plan.Steps, o.Apply = []plan.Step{{Kind: plan.KindSecret, Name: "mondoo-client-eu", Action: plan.Add}}, &Failure{Class: Failed}
		}, nil},
		{"only a label changes", func(o *Outcome) {
			o.Plan.Steps = []plan.Step{{Kind: plan.KindSecret, Name: "mondoo-client-eu", Action: plan.Change, Fields: []plan.Field{{Path: "metadata.labels.a"}}}}
		}, nil},
		{"the deleted Secret is put back", func(o *Outcome) {
			o.Plan.Steps = []plan.Step{{Kind: plan.KindSecret, Name: "mondoo-client-eu", Action: plan.Add, Drift: true}}
		}, nil},
		{"another Secret is new", func(o *Outcome) { o.Plan.Steps = []plan.Step{{Kind: plan.KindSecret, Name: "other", Action: plan.Add}} }, nil},
		{"the cluster wants to know later", func(o *Outcome) {
			o.Plan.Steps = []plan.Step{{Kind: plan.KindSecret, Name: "mondoo-client-eu", Action: plan.Add}}
			o.Fleet.Secrets[0].WarnBefore = oneDay
		}, nil},
		{"the cluster accepts it", func(o *Outcome) {
			o.Plan.Steps = []plan.Step{{Kind: plan.KindSecret, Name: "mondoo-client-eu", Action: plan.Add}}
			o.Fleet.Findings = []finding.Finding{{Code: credential.CodeTokenExpiring, Cluster: "eu", Path: "eu.yaml", Accepted: "it is renewed by hand"}}
		}, nil},
		{"another cluster accepts it", func(o *Outcome) {
			o.Plan.Steps = []plan.Step{{Kind: plan.KindSecret, Name: "mondoo-client-eu", Action: plan.Add}}
			o.Fleet.Findings = []finding.Finding{{Code: credential.CodeTokenExpiring, Cluster: "us", Path: "us.yaml", Accepted: "it is renewed by hand"}}
		}, []string{text}},
		{"it accepts the end of certificates", func(o *Outcome) {
			o.Plan.Steps = []plan.Step{{Kind: plan.KindSecret, Name: "mondoo-client-eu", Action: plan.Add}}
			o.Fleet.Findings = []finding.Finding{{Code: credential.CodeCertificateExpiring, Cluster: "eu", Path: "eu.yaml", Accepted: "it is renewed by hand"}}
		}, []string{text}},
		{"some files could not be opened", func(o *Outcome) {
			o.Plan.Steps = []plan.Step{{Kind: plan.KindSecret, Name: "mondoo-client-eu", Action: plan.Add}}
			o.Fleet.Provisional, o.Fleet.Retry = true, true
		}, nil},
		{"a key service refuses another file, and may do so forever", func(o *Outcome) {
			o.Plan.Steps = []plan.Step{{Kind: plan.KindSecret, Name: "mondoo-client-eu", Action: plan.Add}}
			o.Fleet.Provisional = true
		}, []string{text}},
		{"nothing was rendered", func(o *Outcome) { o.Fleet, o.Plan = nil, nil }, nil},
		{"a secret in the name", func(o *Outcome) {
			o.Plan.Steps = []plan.Step{{Kind: plan.KindSecret, Name: "mondoo-client-eu", Action: plan.Add}}
			o.Mask = func(text string) string { return strings.ReplaceAll(text, "eu:", "***:") }
		}, []string{strings.Replace(text, "eu:", "***:", 1)}},
	} {
		audit := &v1alpha1.AuditSync{}
		audit.Status.LastExpiryReport = instant(noon.Add(-time.Hour))
		o := Outcome{Now: noon, Fleet: &fleet.Opened{Secrets: []fleet.Secret{secretOf("eu", term)}}, Plan: &plan.Plan{}}
		test.change(&o)
		if got := expirySync(audit, o); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
		if reported := audit.Status.LastExpiryReport.Equal(instant(noon)); reported != (len(test.want) > 0) {
			t.Errorf("%s: the time of the report is %s", test.reason, audit.Status.LastExpiryReport)
		}
	}
}

// TestManyExpire: an event names some of the credentials, those that end first.
func TestManyExpire(t *testing.T) {
	f := &fleet.Opened{}
	for i := range 5000 {
		f.Secrets = append(f.Secrets, secretOf("c"+time.Duration(i).String(), termOf(t, noon.Add(-80*oneDay+time.Duration(i)*time.Second), 90*oneDay)))
	}
	slices.Reverse(f.Secrets)
	got := expirySync(&v1alpha1.AuditSync{}, Outcome{Now: noon, Fleet: f, Plan: &plan.Plan{}})
	if len(got) != 1 || !strings.Contains(got[0], "CredentialsExpiring: c0s: ") || !strings.HasSuffix(got[0], " and 4990 more") {
		t.Errorf("%.300q", got)
	}
}

func jwt(from, until time.Time) string {
	raw := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return raw(`{"alg":"none"}`) + "." + raw(fmt.Sprintf(`{"iat":%d,"exp":%d}`, from.Unix(), until.Unix())) + "." + raw("signature")
}
