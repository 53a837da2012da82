package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/redact"
)

// output is what a command that still runs has printed.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// running is a command that runs until stop.
type running struct {
	t         *testing.T
	out, errs *output
	cancel    context.CancelFunc
	ended     chan int
}

// begin starts a command that ends with Ctrl-C.
func (m *management) begin(args ...string) *running {
	m.Helper()
	ctx, cancel := context.WithCancel(m.Context())
	r := &running{t: m.T, out: &output{}, errs: &output{}, cancel: cancel, ended: make(chan int, 1)}
	none := func(name string) string { return map[string]string{"XDG_CONFIG_HOME": "/nowhere"}[name] }
	go func() {
		r.ended <- run(ctx, append(args, "--kubeconfig", m.as), strings.NewReader(""), r.out, r.errs, none)
	}()
	m.Cleanup(cancel)
	return r
}

// await waits until the command has printed a text.
func (r *running) await(text string) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(r.out.String(), text); {
		select {
		case status := <-r.ended:
			r.t.Fatalf("ends with %d before it says %q:\n%s%s", status, text, r.out, r.errs)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			r.t.Fatalf("does not say %q:\n%s%s", text, r.out, r.errs)
		}
	}
}

// stop presses Ctrl-C, and returns what was printed.
func (r *running) stop() string {
	r.t.Helper()
	r.cancel()
	select {
	case status := <-r.ended:
		if status != exitStopped {
			r.t.Errorf("ends with %d: %s", status, r.errs)
		}
	case <-time.After(time.Minute):
		r.t.Fatal("does not end after Ctrl-C")
	}
	return r.out.String()
}

// label gives an AuditSync labels.
func (m *management) label(name string, labels map[string]any) {
	m.Helper()
	m.apply(auditSyncs, "labels", map[string]any{"apiVersion": "muster.dev/v1alpha1", "kind": "AuditSync", "metadata": map[string]any{"name": name, "labels": labels}})
}

// report writes the status of an AuditSync as the controller does.
func (m *management) report(name string, status map[string]any) {
	m.Helper()
	data, err := json.Marshal(map[string]any{"status": status})
	check(m.T, err)
	_, err = m.dynamic.Resource(auditSyncs).Namespace(testNamespace).Patch(m.Context(), name, "application/merge-patch+json", data, metav1.PatchOptions{}, "status")
	check(m.T, err)
}

func readyStatus(status, reason, message string) map[string]any {
	return map[string]any{"lastAppliedRevision": "main@sha1:0123456789abcdef0123456789abcdef01234567", "conditions": []any{map[string]any{
		"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}}}
}

// rightsToWatch are those of readOnly with the verb watch, and those to scans.
func rightsToWatch() []rbacv1.PolicyRule {
	rules := append(readOnly("list"), rbacv1.PolicyRule{APIGroups: []string{"batch"}, Resources: []string{"jobs", "cronjobs"}, Verbs: []string{"list"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}})
	for i := range rules {
		rules[i].Verbs = append(rules[i].Verbs, "watch")
	}
	return rules
}

// TestStatusSelects checks which AuditSyncs and clusters a status is about, and its formats.
func TestStatusSelects(t *testing.T) {
	m := startManagement(t)
	m.write("eu.yaml", clusterFile("eu", "  kubeconfigSecretRef: {name: manual}\n"))
	m.commit()
	m.apply(auditConfigs, "helm", map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind, "metadata": map[string]any{"name": "mondoo-client"},
		"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"}}})
	m.auditSync("production", nil, nil)
	m.sync("production")
	m.auditSync("staging", nil, nil)
	m.label("staging", map[string]any{"team": "platform"})
	m.grant(rightsToWatch()...)

	for _, row := range []struct {
		reason string
		args   []string
		want   string
	}{
		{"all AuditSyncs, as kubectl names them", []string{"-o", "name"}, "auditsync.muster.dev/production\nauditsync.muster.dev/staging\n"},
		{"those with a label", []string{"-o", "name", "-l", "team=platform"}, "auditsync.muster.dev/staging\n"},
		{"those without it", []string{"-o", "name", "-l", "!team"}, "auditsync.muster.dev/production\n"},
		{"clusters in a state", []string{"-o", "name", "--scan", "Awaiting"}, "eu\n"},
		{"clusters of AuditSyncs with a label", []string{"-o", "name", "--scan", "Awaiting", "-l", "team"}, ""},
	} {
		if out, errs := m.look(exitOK, append([]string{"status"}, row.args...)...); out != row.want || errs != "" {
			t.Errorf("%s: %q, want %q; %s", row.reason, out, row.want, errs)
		}
	}
	var document struct {
		Syncs    []struct{ Name string }
		Clusters []struct{ Cluster string }
	}
	out, _ := m.look(exitOK, "status", "-o", "yaml", "--all", "-l", "team!=platform")
	if err := yaml.Unmarshal([]byte(out), &document); err != nil || len(document.Syncs) != 1 || len(document.Clusters) != 1 {
		t.Errorf("%v: %s", err, out)
	}
	if out, _ = m.look(exitOK, "status", "-o", "wide", "--all"); !strings.Contains(out, "AUDITSYNC") || !strings.Contains(out, "mondoo-client  production") {
		t.Errorf("-o wide: %s", out)
	}
	for _, args := range [][]string{{"-l", "team in"}, {"-A", "-n", "x"}, {"--watch", "--exit-code"}, {"-o", "csv"}} {
		m.look(exitFailure, append([]string{"status"}, args...)...)
	}

	m.login("blind")
	m.grant(slices.DeleteFunc(readOnly("list"), func(r rbacv1.PolicyRule) bool { return r.Resources[0] == "auditsyncs" })...)
	m.look(exitOK, "status")
	if _, errs := m.look(exitFailure, "status", "-l", "team"); !strings.Contains(errs, "this needs permission to list AuditSyncs") {
		t.Errorf("-l without the right to labels: %s", errs)
	}

	// The rights are those of one namespace. An administrator sees all.
	if _, errs := m.look(exitFailure, "status", "-A"); !strings.Contains(errs, "this needs permission to list AuditSyncs") {
		t.Errorf("-A without rights: %s", errs)
	}
	m.as, m.user = m.plane.KubeconfigPath(), "admin"
	var list struct{ Items []struct{ Namespace string } }
	out, _ = m.look(exitOK, "status", "-A", "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Items) != 1 || list.Items[0].Namespace != testNamespace {
		t.Errorf("-A: %v %s", err, out)
	}
	if out, _ = m.look(exitOK, "status", "-A"); !strings.HasPrefix(out, "Namespace "+testNamespace+"\n") {
		t.Errorf("-A: %s", out)
	}
	if out, _ = m.look(exitOK, "status", "-A", "-l", "none"); out != "no AuditSync in any namespace\n" {
		t.Errorf("-A without AuditSyncs: %s", out)
	}
}

// TestStatusWatch follows an AuditSync and a scan in a pipe. The requests are watches, and no polling.
func TestStatusWatch(t *testing.T) {
	m := startManagement(t)
	m.write("eu.yaml", clusterFile("eu", "  kubeconfigSecretRef: {name: manual}\n"))
	m.commit()
	m.apply(auditConfigs, "helm", map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind, "metadata": map[string]any{"name": "mondoo-client"},
		"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"}}})
	m.auditSync("production", nil, nil)
	m.sync("production")
	m.grant(rightsToWatch()...)

	text, lines := m.begin("status", "--watch"), m.begin("status", "-w", "-o", "json")
	text.await("  AuditSync  mondoo-operator/production  not reconciled yet")
	text.await("  cluster  mondoo-operator/eu  applied  Awaiting (NoCronJob)")
	lines.await(`"cluster":"eu"`)
	mark, err := m.plane.Mark()
	check(t, err)
	time.Sleep(2 * time.Second)
	requests, err := m.plane.Requests(m.Context(), mark, m.user)
	check(t, err)
	if len(requests) > 0 {
		t.Errorf("while nothing changes, there are %d requests: %v", len(requests), requests)
	}
	m.report("production", readyStatus("False", "FetchFailed", "connection refused\x1b[2J"))
	text.await("  AuditSync  mondoo-operator/production  not ready  main@sha1:0123456  Ready: FetchFailed: connection refused\ufffd[2J\n")
	m.report("production", readyStatus("True", "Succeeded", ""))
	text.await("  AuditSync  mondoo-operator/production  ready  main@sha1:0123456\n")
	m.cronJob("eu", time.Now().Add(-10*time.Minute), time.Now().Add(-8*time.Minute))
	text.await("  cluster  mondoo-operator/eu  applied  Awaiting (")
	m.failedJob("eu", time.Now().Add(-30*time.Minute))
	check(t, m.dynamic.Resource(auditSyncs).Namespace(testNamespace).Delete(t.Context(), "production", metav1.DeleteOptions{}))
	text.await("  AuditSync  mondoo-operator/production  removed\n")
	lines.await(`"change":"Removed","namespace":"mondoo-operator","sync":"production"`)
	text.stop()
	for line := range strings.Lines(lines.stop()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not a JSON document: %s", line)
		}
	}
}

// TestWatchWithoutRights: what a view can do without is named, and what it needs is an error.
func TestWatchWithoutRights(t *testing.T) {
	m := startManagement(t)
	m.auditSync("production", nil, nil)
	m.login("lister")
	m.grant(readOnly("list")...)
	if r := m.begin("status", "-w"); <-r.ended != exitFailure || !strings.Contains(r.errs.String(), "needs permission to watch ") {
		t.Errorf("without the verb watch: %s%s", r.out, r.errs)
	}
	m.login("watcher")
	m.grant(func() (rules []rbacv1.PolicyRule) {
		for _, r := range rightsToWatch() {
			if r.APIGroups[0] != "batch" {
				rules = append(rules, r)
			}
		}
		return rules
	}()...)
	r := m.begin("status", "-w")
	r.await("AuditSync  mondoo-operator/production")
	r.stop()
	for _, what := range []string{"CronJobs", "Jobs"} {
		if !strings.Contains(r.errs.String(), "changes of "+what+" are not followed: no permission to list and watch them in mondoo-operator") {
			t.Errorf("no note about %s: %s", what, r.errs)
		}
	}
}

// TestViewIsTriedAgain: what can't be read for a moment is read again, and an error that stays ends the view.
func TestViewIsTriedAgain(t *testing.T) {
	m := startManagement(t)
	m.auditSync("production", nil, nil)
	where := kubeFlags{kubeconfig: m.plane.KubeconfigPath()}
	c, err := where.connect(&shell{redactor: &redact.Redactor{}}, testNamespace)
	check(t, err)
	refused, denied := errors.New("dial tcp: connection refused"), apierrors.NewForbidden(auditSyncs.GroupResource(), "x", nil)
	for _, row := range []struct {
		reason  string
		answers []error // of each look
		want    error
	}{
		{"refused at first", []error{refused}, refused},
		{"refused later", []error{nil, refused, refused, nil}, context.Canceled},
		{"denied later", []error{nil, denied}, denied},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		looks := 0
		err := c.onChange(ctx, []watched{{kind: auditSyncs}}, func([]string) error {
			if looks == 0 && len(row.answers) > 1 {
				m.label("production", map[string]any{"at": strconv.FormatInt(time.Now().UnixNano(), 10)})
			}
			if looks++; looks == len(row.answers) {
				defer cancel()
			}
			return row.answers[looks-1]
		})
		cancel()
		if !errors.Is(err, row.want) || looks != len(row.answers) {
			t.Errorf("%s: %v after %d looks", row.reason, err, looks)
		}
	}
}

func TestChangesOf(t *testing.T) {
	sync, eu, us := statusKey{Namespace: "n", Sync: "s"}, statusKey{"n", "s", "a", "eu"}, statusKey{"n", "s", "a", "us"}
	good, bad := statusLine{State: "applied"}, statusLine{State: "quarantined", Detail: "why"}
	for _, row := range []struct {
		reason      string
		before, now map[statusKey]statusLine
		want        []statusChange
	}{
		{"at first, all are new, AuditSyncs before clusters", nil, map[statusKey]statusLine{us: good, eu: bad, sync: good},
			[]statusChange{{sync, good, "Added"}, {eu, bad, "Added"}, {us, good, "Added"}}},
		{"nothing has changed", map[statusKey]statusLine{eu: good}, map[statusKey]statusLine{eu: good}, nil},
		{"a cluster has changed", map[statusKey]statusLine{eu: good, us: good}, map[statusKey]statusLine{eu: bad, us: good}, []statusChange{{eu, bad, "Modified"}}},
		{"a cluster is gone", map[statusKey]statusLine{eu: good}, nil, []statusChange{{eu, good, "Removed"}}},
	} {
		got := changesOf(row.before, row.now)
		if len(got) != len(row.want) {
			t.Errorf("%s: %v", row.reason, got)
			continue
		}
		for i := range got {
			if got[i] != row.want[i] {
				t.Errorf("%s: %v, want %v", row.reason, got[i], row.want[i])
			}
		}
	}
}

// TestChangesAreRedacted: a status that quotes a credential shows none in a line.
func TestChangesAreRedacted(t *testing.T) {
	for _, format := range []string{"text", "json", "yaml"} {
		var out bytes.Buffer
		s := &shell{stdout: &out, redactor: &redact.Redactor{}}
		s.redactor.Add(canary + "-token")
		check(t, s.printChange(time.Unix(0, 0), statusChange{statusKey{Namespace: "n", Sync: "s"}, statusLine{State: "not ready", Detail: "got " + canary + "-token"}, "Modified"}, format))
		if leak(out.String()) != "" || !strings.Contains(out.String(), "not ready") {
			t.Errorf("%s: %s", format, out.String())
		}
	}
}
