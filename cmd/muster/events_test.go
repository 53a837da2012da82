package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// event writes an event by the newer API, as the controller does, about an object that need not exist.
func (m *management) event(apiVersion, kind, object, reason, note string, at time.Time) {
	m.Helper()
	_, err := m.core.EventsV1().Events(testNamespace).Create(m.Context(), &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: strings.ToLower(kind) + "-", Namespace: testNamespace}, EventTime: metav1.NewMicroTime(at), Type: map[bool]string{true: "Warning", false: "Normal"}[strings.HasPrefix(reason, "Failed")],
		Reason: reason, Action: "Sync", Note: note, ReportingController: "muster", ReportingInstance: "muster-0",
		Regarding: corev1.ObjectReference{APIVersion: apiVersion, Kind: kind, Name: object, Namespace: testNamespace}}, metav1.CreateOptions{})
	check(m.T, err)
}

// TestEvents shows the events of one AuditSync, of its scans, and none of others.
func TestEvents(t *testing.T) {
	m := startManagement(t)
	m.write("eu.yaml", clusterFile("eu", "  kubeconfigSecretRef: {name: manual}\n"))
	m.commit()
	for _, name := range []string{"mondoo-client", "other"} {
		m.apply(auditConfigs, "helm", map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind, "metadata": map[string]any{"name": name},
			"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"}}})
	}
	m.auditSync("production", nil, nil)
	m.sync("production")
	now := time.Now()
	m.cronJob("eu", now.Add(-10*time.Minute), now.Add(-8*time.Minute))
	m.cronJob("foreign", now.Add(-10*time.Minute), now.Add(-8*time.Minute))
	const cron = "mondoo-k8s-scan-"
	for i, e := range [][5]string{
		{"muster.dev/v1alpha1", "AuditSync", "production", "Applied", "applied main@sha1:0123\nin two lines\x1b[2J"},
		{"muster.dev/v1alpha1", "AuditSync", "staging", "Applied", "of another AuditSync"},
		{"other.dev/v1", "AuditSync", "production", "Applied", "of another API"},
		{mondoo.APIVersion, mondoo.Kind, "mondoo-client", "Reconciled", "of the audit config"},
		{mondoo.APIVersion, mondoo.Kind, "other", "Reconciled", "of another audit config"},
		{"batch/v1", "CronJob", cron + "eu", "SuccessfulCreate", "of the scan"},
		{"batch/v1", "Job", cron + "eu-29384756", "FailedCreate", "of the Job of the scan"},
		{"v1", "Pod", cron + "eu-29384756-abcde", "FailedMount", "of the Pod of the scan"},
		{"batch/v1", "CronJob", cron + "foreign", "SuccessfulCreate", "of a foreign scan"},
		{"v1", "Pod", "muster-5d6f-abcde", "Pulled", "of another Pod"},
	} {
		m.event(e[0], e[1], e[2], e[3], e[4], now.Add(time.Duration(i-20)*time.Minute))
	}

	m.login("viewer")
	list := []string{"list"}
	m.grant(rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: list})
	out, errs := m.look(exitOK, "events", "production")
	if !strings.Contains(out, "AuditSync/production  applied main@sha1:0123 in two lines\ufffd[2J\n") || strings.Contains(out, "scan") ||
		!strings.Contains(errs, "events of audit configs and scans are not shown: no permission to list ConfigMaps in mondoo-operator") {
		t.Errorf("without rights to scans: %s%s", out, errs)
	}
	m.login("reader")
	m.grant(append(rightsToWatch(), rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"list", "watch"}})...)

	sync, config, scan := "of production", "of the audit config", []string{"of the scan", "of the Job of the scan", "of the Pod of the scan"}
	for _, row := range []struct {
		reason string
		args   []string
		want   []string
	}{
		{"one AuditSync", []string{"production"}, append([]string{sync, config}, scan...)},
		{"all of the namespace", nil, append([]string{sync, "of another AuditSync", config}, scan...)},
		{"an AuditSync without a fleet", []string{"staging"}, []string{"of another AuditSync"}},
		{"a cluster", []string{"--for", "cluster/eu"}, scan},
		{"another's cluster", []string{"--for", "cluster/foreign"}, nil},
		{"a Pod", []string{"--for", "pod/" + cron + "eu-29384756-abcde"}, scan[2:]},
		{"an AuditSync by its kind", []string{"--for", "AuditSync/production"}, []string{sync}},
		{"warnings", []string{"--types", "Warning"}, scan[1:]},
	} {
		out, errs := m.look(exitOK, append([]string{"events", "-o", "json"}, row.args...)...)
		var document struct{ Items []corev1.Event }
		if err := json.Unmarshal([]byte(out), &document); err != nil || errs != "" {
			t.Fatalf("%s: %v %s", row.reason, err, errs)
		}
		var got []string
		for _, e := range document.Items {
			if strings.HasPrefix(e.Message, "applied") {
				e.Message = sync
			}
			got = append(got, e.Message)
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.reason, got, row.want)
		}
	}
	if out, _ := m.look(exitOK, "events", "nowhere"); out != "no events in mondoo-operator\n" {
		t.Errorf("without events: %s", out)
	}
	for _, args := range [][]string{{"--for", "production"}, {"--for", "secret/x"}, {"--for", "pod/"}, {"-A", "-n", "x"}, {"--types", "Error"}, {"a", "b"}} {
		m.look(exitFailure, append([]string{"events"}, args...)...)
	}

	// New events come one by one, also of a scan that did not exist before.
	m.write("us.yaml", clusterFile("us", "  kubeconfigSecretRef: {name: manual}\n"))
	m.commit()
	m.sync("production")
	r := m.begin("events", "production", "--watch")
	r.await("of the Pod of the scan")
	m.event("muster.dev/v1alpha1", "AuditSync", "production", "FailedFetch", "connection refused", time.Now())
	r.await("AuditSync/production")
	r.await("connection refused")
	m.cronJob("us", now, now)
	m.event("batch/v1", "CronJob", cron+"us", "SuccessfulCreate", "of the new scan", time.Now())
	r.await("of the new scan")
	m.event("muster.dev/v1alpha1", "AuditSync", "staging", "FailedFetch", "of another AuditSync", time.Now())
	m.event("muster.dev/v1alpha1", "AuditSync", "production", "FailedFetch", "the last", time.Now())
	r.await("the last")
	out = r.stop()
	for _, once := range []string{"of the Pod of the scan", "connection refused", "of the new scan"} {
		if strings.Count(out, once) != 1 {
			t.Errorf("%q is told %d times:\n%s", once, strings.Count(out, once), out)
		}
	}
	if strings.Contains(out, "of another AuditSync") {
		t.Errorf("events of others are told:\n%s", out)
	}
	r = m.begin("events", "production", "-w", "-o", "json")
	r.await("the last")
	for line := range strings.Lines(r.stop()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not a JSON document: %s", line)
		}
	}
	m.as, m.user = m.plane.KubeconfigPath(), "admin"
	if out, _ = m.look(exitOK, "events", "-A"); !strings.Contains(out, "\n"+testNamespace+"  ") || !strings.HasPrefix(out, "NAMESPACE") {
		t.Errorf("-A: %s", out)
	}
}

func TestSeenText(t *testing.T) {
	now := time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)
	at := func(ago time.Duration) time.Time { return now.Add(-ago) }
	for _, row := range []struct {
		reason string
		event  corev1.Event
		want   string
	}{
		{"written once, by the newer API", corev1.Event{EventTime: metav1.NewMicroTime(at(5 * time.Minute))}, "5m"},
		{"a series", corev1.Event{EventTime: metav1.NewMicroTime(at(10 * time.Minute)), Series: &corev1.EventSeries{Count: 4, LastObservedTime: metav1.NewMicroTime(at(time.Minute))}}, "1m (x4 over 10m)"},
		{"written by the older API", corev1.Event{FirstTimestamp: metav1.NewTime(at(time.Hour)), LastTimestamp: metav1.NewTime(at(30 * time.Second)), Count: 7}, "30s (x7 over 60m)"},
		{"without a time", corev1.Event{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(at(2 * time.Minute))}}, "2m"},
	} {
		if got := seenText(now, row.event); got != row.want {
			t.Errorf("%s: %q, want %q", row.reason, got, row.want)
		}
	}
}

func TestCronOf(t *testing.T) {
	for _, row := range []struct{ kind, name, want string }{
		{"CronJob", "mondoo-k8s-scan-eu", "mondoo-k8s-scan-eu"},
		{"Job", "mondoo-k8s-scan-eu-29384756", "mondoo-k8s-scan-eu"},
		{"Pod", "mondoo-k8s-scan-eu-29384756-abcde", "mondoo-k8s-scan-eu"},
		{"Job", "mondoo-k8s-scan-eu-west-1-0123456789", "mondoo-k8s-scan-eu-west-1"},
		{"Pod", "x", "x"},
	} {
		if got := cronOf(corev1.ObjectReference{Kind: row.kind, Name: row.name})[1]; got != row.want {
			t.Errorf("%s %s: %s, want %s", row.kind, row.name, got, row.want)
		}
	}
}
