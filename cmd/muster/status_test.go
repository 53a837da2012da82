package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// look runs a command that only reads, which must end with the status and show no secret.
func (m *management) look(want int, args ...string) (stdout, stderr string) {
	m.Helper()
	mark, err := m.plane.Mark()
	check(m.T, err)
	var out, errs bytes.Buffer
	none := func(name string) string { return map[string]string{"XDG_CONFIG_HOME": "/nowhere"}[name] }
	if got := run(m.Context(), append(args, "--kubeconfig", m.as), strings.NewReader(""), &out, &errs, none); got != want {
		m.Errorf("muster %s ends with %d, want %d:\n%s%s", strings.Join(args, " "), got, want, out.String(), errs.String())
	}
	if form := leak(out.String() + errs.String()); form != "" {
		m.Errorf("muster %s shows a secret (%s):\n%s%s", strings.Join(args, " "), form, out.String(), errs.String())
	}
	requests, err := m.plane.Requests(m.Context(), mark, m.user)
	check(m.T, err)
	for _, r := range requests {
		if r.Verb != "get" && r.Verb != "list" {
			m.Errorf("muster %s has made the request %s", args[0], r)
		}
	}
	return out.String(), errs.String()
}

// cronJob makes the CronJob of a cluster as the operator does, with the times of its last start and success.
func (m *management) cronJob(cluster string, started, succeeded time.Time) {
	m.Helper()
	labels := mondoo.ScanLabels("mondoo-client", cluster)
	jobs := m.core.BatchV1().CronJobs(testNamespace)
	made, err := jobs.Create(m.Context(), &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "mondoo-k8s-scan-" + cluster, Labels: labels},
		Spec: batchv1.CronJobSpec{Schedule: "@every 1h", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
			Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "scan", Image: "scan"}}}}}}}}, metav1.CreateOptions{})
	check(m.T, err)
	made.Status.LastScheduleTime, made.Status.LastSuccessfulTime = &metav1.Time{Time: started}, &metav1.Time{Time: succeeded}
	_, err = jobs.UpdateStatus(m.Context(), made, metav1.UpdateOptions{})
	check(m.T, err)
}

// failedJob makes a Job of a cluster that has failed.
func (m *management) failedJob(cluster string, at time.Time) {
	m.Helper()
	jobs := m.core.BatchV1().Jobs(testNamespace)
	made, err := jobs.Create(m.Context(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "mondoo-k8s-scan-" + cluster + "-1", Labels: mondoo.ScanLabels("mondoo-client", cluster)},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{Name: "scan", Image: "scan"}}}}}}, metav1.CreateOptions{})
	check(m.T, err)
	made.Status.StartTime = &metav1.Time{Time: at}
	for _, kind := range []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed} {
		made.Status.Conditions = append(made.Status.Conditions, batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue,
			Reason: batchv1.JobReasonDeadlineExceeded, LastTransitionTime: metav1.Time{Time: at.Add(time.Minute)}})
	}
	_, err = jobs.UpdateStatus(m.Context(), made, metav1.UpdateOptions{})
	check(m.T, err)
}

// applied notes in the inventory of the AuditSync when clusters got their present form.
func (m *management) applied(sync string, times map[string]time.Time) {
	m.Helper()
	configMaps := m.core.CoreV1().ConfigMaps(testNamespace)
	stored, err := configMaps.Get(m.Context(), inventory.ConfigMapName(sync, "mondoo-client"), metav1.GetOptions{})
	check(m.T, err)
	inv, err := inventory.Decode(stored.BinaryData[inventory.DataKey])
	check(m.T, err)
	for i, item := range inv.Clusters {
		inv.Clusters[i].Applied = times[item.Name]
	}
	stored.BinaryData[inventory.DataKey], err = inv.Encode()
	check(m.T, err)
	_, err = configMaps.Update(m.Context(), stored, metav1.UpdateOptions{})
	check(m.T, err)
}

// TestScanEntries checks when each entry of an audit config is said to have got its form.
func TestScanEntries(t *testing.T) {
	made, ours, theirs := time.Unix(1000, 0), time.Unix(2000, 0), time.Unix(3000, 0)
	config := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"kubernetesResources": map[string]any{
		"externalClusters": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}}}}}
	config.SetCreationTimestamp(metav1.Time{Time: made})
	by := func(manager string, at time.Time) []metav1.ManagedFieldsEntry {
		return []metav1.ManagedFieldsEntry{{Manager: manager, Time: &metav1.Time{Time: at}}}
	}
	for _, test := range []struct {
		reason string
		fields []metav1.ManagedFieldsEntry
		owned  map[string]time.Time
		want   []time.Time
	}{
		{"the inventory has a time for each", by(controllers.FieldManager, ours), map[string]time.Time{"a": time.Unix(1500, 0), "b": time.Unix(1700, 0)},
			[]time.Time{time.Unix(1500, 0), time.Unix(1700, 0)}},
		{"somebody else's entry has none", by(controllers.FieldManager, ours), map[string]time.Time{"a": time.Unix(1500, 0)}, []time.Time{time.Unix(1500, 0), ours}},
		{"an inventory of before there were times", by(controllers.ListManager, ours), map[string]time.Time{"a": {}, "b": {}}, []time.Time{ours, ours}},
		{"Muster has not touched it", by("kubectl", theirs), nil, []time.Time{made, made}},
	} {
		config.SetManagedFields(test.fields)
		owned := map[string]ownedItem{}
		for name, at := range test.owned {
			owned[name] = ownedItem{inventory.Item{Name: name, Applied: at}, "production"}
		}
		entries, err := scanEntries(config, owned)
		check(t, err)
		for i, e := range entries {
			if !e.Applied.Equal(test.want[i]) {
				t.Errorf("%s: %s was applied at %s, want %s", test.reason, e.Name, e.Applied, test.want[i])
			}
		}
	}
}

// TestExpires checks from when on the end of a credential is a matter for somebody, in the list and in its order.
func TestExpires(t *testing.T) {
	now := time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		reason string
		end    time.Time
		want   string
		well   bool
	}{
		{"nobody knows", time.Time{}, "-", true},
		{"just now", now, "2026-11-23 (expired)", false},
		{"yesterday", now.AddDate(0, 0, -1), "2026-11-22 (expired)", false},
		{"this afternoon", now.Add(3 * time.Hour), "2026-11-23 (in 3h)", false},
		{"within the time of which findings warn", now.Add(credential.Notice), "2026-12-23 (in 30d)", false},
		{"after it", now.Add(credential.Notice + time.Second), "2026-12-23", true},
	} {
		c := clusterStatus{State: stateApplied, Expires: test.end}
		if !test.end.IsZero() {
			c.ends = []credentialEnd{{"s", credential.Term{Until: test.end}}}
		}
		if got, _ := expires(now, test.end, c.stage(now)); got != test.want {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
		if got := c.gravity(now) >= well; got != test.well {
			t.Errorf("%s: well is %t", test.reason, got)
		}
	}
}

// TestStatus looks at a fleet on a real API server with each of the commands, as users of different rights.
func TestStatus(t *testing.T) {
	m := startManagement(t)
	m.encrypted("scanned.yaml", clusterFile("scanned", "  kubeconfig: |\n"+indent(kubeconfig("one"), "    ")))
	m.encrypted("late.yaml", clusterFile("late", "  kubeconfig: |\n"+indent(kubeconfig("two"), "    ")))
	m.write("waiting.yaml", clusterFile("waiting", "  kubeconfigSecretRef: {name: manual}\n"))
	m.commit()
	m.apply(auditConfigs, "helm", map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind, "metadata": map[string]any{"name": "mondoo-client"},
		"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"}}})
	m.auditSync("production", nil, nil)
	m.sync("production")
	now := time.Now()
	applied := map[string]time.Time{"scanned": now.Add(-48 * time.Hour).Truncate(time.Second), "late": now.Add(-5 * time.Hour).Truncate(time.Second),
		"waiting": now.Add(-3 * time.Minute).Truncate(time.Second)}
	m.applied("production", applied)
	m.cronJob("scanned", now.Add(-10*time.Minute), now.Add(-8*time.Minute))
	m.cronJob("late", now.Add(-30*time.Minute), now.Add(-3*time.Hour))
	m.failedJob("late", now.Add(-30*time.Minute))

	m.look(exitFailure, "status")
	m.login("viewer")
	m.grant(slices.DeleteFunc(readOnly("get"), func(r rbacv1.PolicyRule) bool { return r.Resources[0] == "secrets" })...)
	out, _ := m.look(exitOK, "status", "--all")
	for _, want := range []string{"scans are not shown: no permission to list", "expiry of credentials is not shown", "3 clusters"} {
		if !strings.Contains(out, want) {
			t.Errorf("status without rights does not say %q:\n%s", want, out)
		}
	}
	m.login("reader")
	m.grant(append(readOnly("get", "list"), rbacv1.PolicyRule{APIGroups: []string{"batch"}, Resources: []string{"jobs", "cronjobs"}, Verbs: []string{"list"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}})...)

	t.Run("status", func(t *testing.T) {
		out, _ := m.look(exitOK, "status", "--all")
		rows := map[string]string{}
		for line := range strings.Lines(out) {
			if fields := strings.Fields(line); len(fields) > 1 {
				rows[fields[0]] = strings.Join(fields[1:], " ")
			}
		}
		// Three minutes ago by the time that the test began, which may take one.
		for name, want := range map[string]string{"scanned": `applied Succeeded`, "waiting": `applied Awaiting \(NoCronJob\) [34]m ago`, "late": `applied Failed \(Deadline\)`} {
			if !regexp.MustCompile("^" + want).MatchString(rows[name]) {
				t.Errorf("%s: %q, want %q", name, rows[name], want)
			}
		}
		if strings.Index(out, "\nlate") > strings.Index(out, "\nscanned") {
			t.Errorf("the worst is not the first:\n%s", out)
		}
		if out, _ := m.look(exitFindings, "status", "--exit-code"); strings.Contains(out, "\nscanned") || !strings.Contains(out, "\nlate") {
			t.Errorf("without --all, clusters that are well are listed:\n%s", out)
		}
		m.look(exitFailure, "status", "nowhere")
		var doc struct {
			Clusters []struct {
				Cluster string
				Scan    scanstate.Status
			}
			Total int `json:"totalClusters"`
		}
		out, _ = m.look(exitOK, "status", "-o", "json", "--scan", "Failed")
		if err := json.Unmarshal([]byte(out), &doc); err != nil || len(doc.Clusters) != 1 || doc.Clusters[0].Cluster != "late" {
			t.Errorf("%v:\n%s", err, out)
		}
		out, _ = m.look(exitOK, "status", "-o", "json", "--all")
		check(t, json.Unmarshal([]byte(out), &doc))
		for _, c := range doc.Clusters {
			if !c.Scan.Applied.Equal(applied[c.Cluster]) {
				t.Errorf("%s was applied at %s, want %s", c.Cluster, c.Scan.Applied, applied[c.Cluster])
			}
		}
	})
	t.Run("explain", func(t *testing.T) {
		out, _ := m.look(exitOK, "explain", "late", m.dir, "--sops-key", m.keyFile)
		for _, want := range []string{"state    ", "in sync, from commit", "Failed (Deadline)", "mondoo-k8s-scan-late", "last success"} {
			if !strings.Contains(out, want) {
				t.Errorf("explain does not say %q:\n%s", want, out)
			}
		}
		m.write("waiting.yaml", clusterFile("waiting", "  kubeconfigSecretRef: {name: other}\n"))
		if out, _ := m.look(exitOK, "explain", "waiting", m.dir, "--sops-key", m.keyFile); !strings.Contains(out, "kubeconfigSecretRef.name: manual → other") {
			t.Errorf("explain does not tell what differs:\n%s", out)
		}
		m.write("waiting.yaml", clusterFile("waiting", "  kubeconfigSecretRef: {nam: other}\n"))
		out, _ = m.look(exitFindings, "explain", "waiting", m.dir, "--sops-key", m.keyFile)
		quarantined, entry := strings.Index(out, "quarantined because of an error; the objects applied before are kept"), strings.Index(out, "error:")
		if quarantined < 0 || entry < quarantined {
			t.Errorf("a quarantined cluster's findings do not come first:\n%s", out)
		}
		m.remove("waiting.yaml")
		m.look(exitOK, "explain", "waiting", m.dir, "--sops-key", m.keyFile)
	})
	t.Run("tree", func(t *testing.T) {
		out, _ := m.look(exitOK, "tree", m.dir, "--sops-key", m.keyFile)
		out = hashes.ReplaceAllString(out, "-HASH")
		for _, want := range []string{"AuditSync production", "cluster waiting  not in any file of this folder", "CronJob mondoo-k8s-scan-late", "Secret mondoo-client-scanned-kubeconfig-HASH  kubeconfig"} {
			if !strings.Contains(out, want) {
				t.Errorf("tree does not say %q:\n%s", want, out)
			}
		}
	})
}

// TestExplainShowsNoSecret explains clusters whose every secret has the canary in it, with and without keys.
func TestExplainShowsNoSecret(t *testing.T) {
	made := sealtest.NewKey(t)
	key := filepath.Join(t.TempDir(), "key.txt")
	check(t, os.WriteFile(key, []byte(made.Private()), 0o600))
	dir := writeFiles(t, secretFleet(t, made))
	for _, name := range []string{"kubeconfig", "file", "token", "registry"} {
		for _, format := range []string{"text", "json"} {
			for _, keys := range [][]string{{"--no-keys"}, {"--sops-key", key}} {
				status, out := runWith(t, append([]string{"explain", name, dir, "-o", format}, keys...)...)
				if form := leak(out); form != "" || status != exitOK || !strings.Contains(out, name) {
					t.Errorf("muster explain %s -o %s %v ends with %d, secret shown: %q:\n%s", name, format, keys, status, form, out)
				}
				if strings.Contains(out, "MUSTERSEALED") {
					t.Errorf("muster explain %s shows a handle:\n%s", name, out)
				}
			}
		}
	}
	if status, out := runWith(t, "tree", dir, "--sops-key", key); status != exitOK || leak(out) != "" {
		t.Errorf("muster tree ends with %d:\n%s", status, out)
	}
}

// TestStatusOfPreflights shows the checks that failed, of the AuditSync that has the cluster.
func TestStatusOfPreflights(t *testing.T) {
	failure := v1alpha1.PreflightFailure{Cluster: "eu", AuditConfig: "mondoo-client", Check: "login", Cause: "token-expired", Message: "the token " + canary + " expired", Fix: "muster setup eu"}
	production, other := &v1alpha1.AuditSync{}, &v1alpha1.AuditSync{}
	production.Status.Preflight = &v1alpha1.PreflightStatus{Failed: 1, Failures: []v1alpha1.PreflightFailure{failure}}
	var out bytes.Buffer
	s := &shell{stdout: &out, env: func(string) string { return "" }, redactor: &redact.Redactor{}}
	s.redactor.Add(canary)
	f := fleetStatus{now: time.Now(), Clusters: []clusterStatus{
		{Cluster: "eu", AuditConfig: "mondoo-client", Sync: "production", State: stateApplied, Scan: &scanstate.Status{State: scanstate.Failed, Detail: "exit code 1"}},
		{Cluster: "us", AuditConfig: "mondoo-client", Sync: "production", State: stateApplied},
		{Cluster: "eu", AuditConfig: "other", Sync: "other", State: stateApplied},
	}}
	f.addPreflights(s, map[string]*v1alpha1.AuditSync{"production": production, "other": other})
	if f.Clusters[0].Preflight == nil || f.Clusters[1].Preflight != nil || f.Clusters[2].Preflight != nil {
		t.Errorf("%+v", f.Clusters)
	}
	if healthy := (clusterStatus{State: stateApplied, Preflight: f.Clusters[0].Preflight}).gravity(f.now) >= well; healthy {
		t.Error("a cluster whose credentials don't work needs no attention")
	}
	for _, format := range []string{"text", "json", "yaml"} {
		out.Reset()
		check(t, s.printStatus(s.stdout, format, f, statusFlags{limit: 30}))
		if text := out.String(); leak(text) != "" || !strings.Contains(text, "token-expired") || !strings.Contains(text, redact.Mask) {
			t.Errorf("%s", text)
		}
		if want := "exit code 1; preflight: login: the token *** expired [token-expired]; muster setup eu"; format == "text" && !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

// TestStatusOfThousands checks that a terminal gets the worst clusters and a count, however many there are.
func TestStatusOfThousands(t *testing.T) {
	f := fleetStatus{now: time.Now()}
	for range 5000 {
		f.Clusters = append(f.Clusters, clusterStatus{Cluster: "c", State: stateQuarantined})
	}
	var out bytes.Buffer
	s := &shell{stdout: &out, env: func(string) string { return "" }, redactor: &redact.Redactor{}}
	check(t, s.printStatus(s.stdout, "text", f, statusFlags{limit: 30}))
	if lines := strings.Count(out.String(), "\n"); lines > 40 || !strings.Contains(out.String(), "4970 more need attention") || !strings.Contains(out.String(), "5000 clusters, 5000 quarantined") {
		t.Errorf("%d lines:\n%s", lines, out.String())
	}
}
