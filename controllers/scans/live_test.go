package scans

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// patience is how long a test waits for what should take a second or two.
const patience = 90 * time.Second

// TestOnTheRealAPI observes an API server: at first without a permission, then with all. It has two changed clusters scanned, one at a
// time, and the Job of the first deleted.
func TestOnTheRealAPI(t *testing.T) {
	server.SkipShort(t)
	plane, err := server.StartControlPlane(t.Context(), server.ControlPlaneOptions{})
	must(t, err)
	t.Cleanup(func() { plane.Stop() }) //nolint:errcheck // the test is over
	admin, err := client.New(plane.Config(), client.Options{Scheme: scheme.Scheme})
	must(t, err)
	must(t, admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}}))
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "scans"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"batch"}, Resources: []string{"cronjobs", "jobs"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps", "secrets"}, Verbs: []string{"list", "watch"}}}}
	must(t, admin.Create(t.Context(), role))
	must(t, admin.Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "scans"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "scans"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "muster"}}}))
	cfg, err := plane.User("muster")
	must(t, err)
	httpClient, err := rest.HTTPClientFor(cfg)
	must(t, err)
	var recorded []*inventory.Inventory
	s, err := New(Options{Config: cfg, HTTPClient: httpClient, Namespace: "ns", Cached: admin, Live: admin,
		Writer: func(*v1alpha1.AuditSync) (client.Client, error) { return admin, nil },
		Record: func(_ context.Context, _ string, i *inventory.Inventory) error {
			recorded = append(recorded, i)
			return nil
		}, Clock: clock.RealClock{}})
	must(t, err)
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- s.Start(ctx) }()
	eventually(t, "the missing permission is told", func() bool {
		missing, _ := s.Ready()
		return strings.Contains(missing, "to list and watch pods; apply")
	})
	role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "watch"}})
	must(t, admin.Update(t.Context(), role))
	eventually(t, "all is known", func() bool { missing, ready := s.Ready(); return ready && missing == "" })

	entries := []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}, map[string]any{"name": "foreign"}}
	config := map[string]any{"metadata": map[string]any{"name": "m", "uid": "1", "generation": int64(1)}, "spec": map[string]any{"kubernetesResources": map[string]any{"externalClusters": entries}}}
	changed := time.Now().Add(-time.Minute).Truncate(time.Second)
	applied := &inventory.Inventory{AuditConfig: "m", Clusters: []inventory.Item{{Name: "a", Commit: "c1", ScanDue: true, Applied: changed}, {Name: "b", Commit: "c1", ScanDue: true, Applied: changed}}}
	sync := Sync{AuditSync: &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "prod"}}, AuditConfigs: map[string]map[string]any{"m": config},
		Inventories: []*inventory.Inventory{applied}, Revision: "main@sha1:c1", Redact: strings.ToUpper}
	sync.Spec.ScanOnChange.Concurrency = 1
	memory := &Memory{}
	for _, cluster := range []string{"a", "b"} {
		must(t, admin.Create(t.Context(), cronJob(cluster)))
	}
	var result Result
	eventually(t, "the first is scanned", func() bool {
		result = s.Look(t.Context(), memory, sync)
		return len(result.Notes.Started) > 0
	})
	if got := result.Notes; len(got.Started) != 1 || got.Started[0] != "a" || got.Due != 1 || len(result.Statuses) != 2 || result.Verdict == nil || result.Verdict.Answer != scanstate.AnswerPending {
		t.Errorf("got %+v", result)
	}
	if len(recorded) != 1 || recorded[0].Clusters[0].ScanDue || !recorded[0].Clusters[1].ScanDue {
		t.Fatalf("recorded %+v", recorded)
	}
	sync.Inventories = recorded[:1]
	eventually(t, "its Job is seen", func() bool {
		result = s.Look(t.Context(), memory, sync)
		return result.Statuses[0].State == scanstate.Running
	})
	if got := result.Notes; len(got.Started) != 0 || got.Due != 1 || got.Before == nil {
		t.Errorf("one at a time: %+v", got)
	}
	jobs := &batchv1.JobList{}
	must(t, admin.List(t.Context(), jobs, client.InNamespace("ns")))
	if len(jobs.Items) != 1 || jobs.Items[0].Labels[scanstate.LabelCluster] != "a" || jobs.Items[0].Labels[scanstate.LabelAuditConfig] != "m" {
		t.Fatalf("Jobs %+v", jobs.Items)
	}
	must(t, admin.Delete(t.Context(), &jobs.Items[0], client.PropagationPolicy(metav1.DeletePropagationBackground)))
	eventually(t, "the deleted Job is remembered", func() bool {
		o := s.observed("ns", "m")
		return len(o.Jobs) == 1 && o.Jobs[0].Gone && o.Jobs[0].Outcome == scanstate.Vanished
	})
	stop()
	must(t, <-ended)
}

// TestRefusedJobs: a rejected Job is not tried again for a minute, and the reason is told without secrets.
func TestRefusedJobs(t *testing.T) {
	tried := 0
	s := newTestObserver(t, clock.RealClock{})
	s.options.Live = oneCronJob{}
	s.options.Writer = func(*v1alpha1.AuditSync) (client.Client, error) { tried++; return nil, errors.New("the secret") }
	c := &config{name: "m", items: map[string]*inventory.Item{"a": {Name: "a"}}, due: map[string]bool{"a": true}}
	v := view{config: c, input: scanstate.Input{Now: time.Now(), Entries: []scanstate.Entry{{Name: "a"}}, AuditConfig: "m"}}
	v.input.CronJobs = []scanstate.CronJob{{Name: "scan-a", UID: "1", Cluster: "a", Schedule: "0 0 1 1 *"}}
	sync := Sync{AuditSync: &v1alpha1.AuditSync{}, Redact: func(text string) string { return strings.ReplaceAll(text, "secret", "[masked]") }}
	memory := &Memory{}
	for range 2 {
		notes, again := s.scanChanged(t.Context(), memory, sync, []view{v})
		if tried != 1 || notes.Refused != "the [masked]" || notes.Due != 1 || len(notes.Started) > 0 || !again.Equal(memory.refused) {
			t.Errorf("tried %d times, again at %s, %+v", tried, again, notes)
		}
	}
	memory.refused = time.Now()
	if s.scanChanged(t.Context(), memory, sync, []view{v}); tried != 2 {
		t.Errorf("tried %d times", tried)
	}
}

// oneCronJob reads the CronJob of cluster a.
type oneCronJob struct{ client.Reader }

func (oneCronJob) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	*object.(*batchv1.CronJob) = batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "scan-a", UID: "1"}}
	return nil
}

// cronJob is one as the operator creates it.
func cronJob(cluster string) *batchv1.CronJob {
	labels := mondoo.ScanLabels("m", cluster)
	return &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "scan-" + cluster, Labels: labels}, Spec: batchv1.CronJobSpec{Schedule: "0 0 1 1 *",
		JobTemplate: batchv1.JobTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
			Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "scan", Image: "registry.example.com/cnspec:1"}}}}}}}}
}

func eventually(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !reached(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}
