package scans

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

func newTestObserver(t testing.TB, c clock.Clock) *Observer {
	t.Helper()
	w, err := New(Options{Config: &rest.Config{Host: "https://localhost"}, HTTPClient: http.DefaultClient, Namespace: "ns", Cached: oneSync{}, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// oneSync lists one AuditSync, as a cache does.
type oneSync struct{ client.Reader }

func (oneSync) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*v1alpha1.AuditSyncList).Items = []v1alpha1.AuditSync{{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "prod"}}}
	return nil
}

func testJob(i int) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprintf("job-%d", i), Labels: mondoo.ScanLabels("m", fmt.Sprintf("c%d", i))}}
}

// TestNewsOfScansIsGathered: a thousand events are one reconcile, and none comes while something waits to be tried again.
func TestNewsOfScansIsGathered(t *testing.T) { synctest.Test(t, testNewsOfScansIsGathered) }

func testNewsOfScansIsGathered(t *testing.T) {
	now := clocktesting.NewFakeClock(time.Now())
	w := newTestObserver(t, now)
	queue := workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request](),
		workqueue.TypedRateLimitingQueueConfig[reconcile.Request]{Clock: now})
	defer queue.ShutDown()
	if err := w.Requests(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	jobs := w.kinds[1].store
	key := types.NamespacedName{Namespace: "ns", Name: "prod"}
	taken := func() {
		t.Helper()
		request, _ := queue.Get()
		queue.Done(request)
		if request.NamespacedName != key || queue.Len() != 0 {
			t.Errorf("got %v, and %d more", request, queue.Len())
		}
	}
	for i := range 1000 {
		if err := jobs.Add(testJob(i)); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
	if n := queue.Len(); n != 0 {
		t.Fatalf("%d at once, want none before the second is over", n)
	}
	now.Step(debounce)
	taken()

	if err := jobs.Update(testJob(1)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	now.Step(time.Hour)
	synctest.Wait()
	if n := queue.Len(); n != 0 {
		t.Errorf("an event that says nothing new leads to a reconcile")
	}

	w.hold(key, now.Now().Add(time.Minute))
	if err := jobs.Delete(testJob(1)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	now.Step(59 * time.Second)
	synctest.Wait()
	if n := queue.Len(); n != 0 {
		t.Error("a sync that waits to try again is hurried by news of scans")
	}
	now.Step(time.Second)
	taken()
}

// TestChanges counts what the next look sees differently: events of the namespace and lists, but no event that says nothing new.
func TestChanges(t *testing.T) {
	w := newTestObserver(t, clock.RealClock{})
	jobs := w.kinds[1].store
	for _, test := range []struct {
		reason string
		change func() error
		counts bool
	}{
		{"a new Job", func() error { return jobs.Add(testJob(1)) }, true},
		{"the same Job again", func() error { return jobs.Update(testJob(1)) }, false},
		{"a Job of another namespace", func() error { j := testJob(1); j.Namespace = "elsewhere"; return jobs.Add(j) }, false},
		{"a Job is deleted", func() error { return jobs.Delete(testJob(1)) }, true},
		{"all are listed again", func() error { return jobs.Replace([]any{testJob(2)}, "2") }, true},
		{"a permission is missing", func() error {
			w.kinds[2].note(apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil))
			return nil
		}, true},
	} {
		before := w.Changes("ns")
		if err := test.change(); err != nil {
			t.Fatal(err)
		}
		if counts := w.Changes("ns") != before; counts != test.counts {
			t.Errorf("%s: counted is %t", test.reason, counts)
		}
	}
}

// TestObserver keeps what belongs to an audit config apart, and knows what it doesn't know.
func TestObserver(t *testing.T) {
	w := newTestObserver(t, clock.RealClock{})
	if missing, ready := w.Ready(); ready || missing != "" {
		t.Errorf("nothing is listed: %t, %q", ready, missing)
	}
	other := testJob(7)
	other.Labels[mondoo.LabelAuditConfig] = "other"
	if err := w.kinds[1].store.Replace([]any{testJob(1), testJob(2), other}, "1"); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []int{0, 2, 3, 4, 5} {
		if err := w.kinds[kind].store.Replace(nil, "1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, ready := w.Ready(); !ready {
		t.Error("all are listed, and it is not ready")
	}
	if got := w.observed("ns", "m"); len(got.Jobs) != 2 || len(w.observed("ns", "other").Jobs) != 1 || len(w.observed("elsewhere", "m").Jobs) != 0 {
		t.Errorf("got %+v", got)
	}
	w.kinds[2].note(apierrors.NewInternalError(errors.New("busy")))
	if missing, ready := w.Ready(); !ready {
		t.Errorf("an API server that is busy is no missing right: %q", missing)
	}
	w.kinds[2].note(apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil))
	if missing, ready := w.Ready(); ready || !strings.Contains(missing, "list and watch pods") {
		t.Errorf("got %t, %q", ready, missing)
	}
	if err := w.kinds[2].store.Replace(nil, "2"); err != nil {
		t.Fatal(err)
	}
	if missing, ready := w.Ready(); !ready || missing != "" {
		t.Errorf("the right was given, and got %t, %q", ready, missing)
	}
	if err := w.kinds[1].store.Replace([]any{testJob(2)}, "2"); err != nil || len(w.observed("ns", "m").Jobs) != 1 || len(w.scopes) != 1 {
		t.Errorf("what is gone is still there: %v, %+v", err, w.scopes)
	}
	for i := range 5 {
		if err := w.kinds[1].store.Add(testJob(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{2, 4, 9} {
		if err := w.kinds[1].store.Delete(testJob(i)); err != nil {
			t.Fatal(err)
		}
	}
	clusters := map[string]bool{}
	for _, j := range w.observed("ns", "m").Jobs {
		clusters[j.Cluster] = true
	}
	if len(clusters) != 3 || !clusters["c0"] || !clusters["c1"] || !clusters["c3"] {
		t.Errorf("left are %v", clusters)
	}
	if err := w.kinds[1].store.Add(&corev1.Pod{}); err == nil {
		t.Error("a Pod is taken for a Job")
	}
}

// TestSlim: what is taken off beforehand is nothing that is looked at.
func TestSlim(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC))
	whole := func() *batchv1.CronJob {
		return &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "x", ManagedFields: []metav1.ManagedFieldsEntry{
			{Manager: "operator", Time: &at, FieldsV1: metav1.NewFieldsV1("{}")}, {Manager: "kcm", Subresource: "status", Time: new(metav1.NewTime(at.Add(time.Hour)))}}},
			Spec: batchv1.CronJobSpec{Schedule: "@hourly", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "scan"}}}}}}}}
	}
	small, err := slim(whole())
	if err != nil {
		t.Fatal(err)
	}
	got := scanstate.TrimCronJob(small.(*batchv1.CronJob))
	if want := scanstate.TrimCronJob(whole()); got != want || !got.Changed.Equal(at.Time) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if c := small.(*batchv1.CronJob); len(c.Spec.JobTemplate.Spec.Template.Spec.Containers) > 0 || c.ManagedFields[0].FieldsV1 != nil {
		t.Errorf("it is not small: %+v", c)
	}
}

func TestJobOf(t *testing.T) {
	cron := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: strings.Repeat("a", 51) + "-", UID: "uid"}, Spec: batchv1.CronJobSpec{
		JobTemplate: batchv1.JobTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"note": "y"}},
			Spec: batchv1.JobSpec{BackoffLimit: new(int32(0)), TTLSecondsAfterFinished: new(int32(60))}}}}
	item := &inventory.Item{Name: "eu", Commit: "c1", Hash: "h1", Applied: time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)}
	job := jobOf(cron, "m", item, 0)
	owner := job.OwnerReferences[0]
	if owner.UID != "uid" || owner.BlockOwnerDeletion != nil || !*owner.Controller || owner.APIVersion != "batch/v1" {
		t.Errorf("owner %+v", owner)
	}
	if job.Annotations["note"] != "y" || job.Annotations["cronjob.kubernetes.io/instantiate"] != "manual" || len(job.Labels) != 2 || job.Labels["muster.dev/audit-config"] != "m" || job.Labels["muster.dev/cluster"] != "eu" || *job.Spec.TTLSecondsAfterFinished != 60 {
		t.Errorf("got %+v", job)
	}
	if len(cron.Spec.JobTemplate.Annotations) != 1 {
		t.Error("the template was changed")
	}
	names := map[string]string{job.Name: "the change"}
	names[jobOf(cron, "m", item, 1).Name] = "the change, for the second time"
	if again := jobOf(cron, "m", item, 0).Name; len(names) != 2 || again != job.Name {
		t.Errorf("one change has two names, %s and %s", again, job.Name)
	}
	for reason, change := range map[string]func(*inventory.Item){
		"another content":            func(i *inventory.Item) { i.Hash = "h2" },
		"another commit":             func(i *inventory.Item) { i.Commit = "c2" },
		"the same, once more":        func(i *inventory.Item) { i.Applied = i.Applied.Add(time.Second) },
		"a cluster of the same name": func(i *inventory.Item) { i.Name = "us" },
	} {
		other := *item
		change(&other)
		name := jobOf(cron, "m", &other, 0).Name
		if names[name] != "" {
			t.Errorf("%s has the name of %s", reason, names[name])
		}
		if names[name] = reason; len(name) > 63 || strings.Contains(name, "--") {
			t.Errorf("%s: %s", reason, name)
		}
	}
}

// BenchmarkMemory compares what 10,000 clusters with two Jobs each cost in memory, and what it takes to look at them: with the
// package's store, and with the store of a cache whose Transform leaves only what is read.
func BenchmarkMemory(b *testing.B) {
	b.Run("own", func(b *testing.B) {
		w := newTestObserver(b, clock.RealClock{})
		benchmarkMemory(b, func(cron *batchv1.CronJob, jobs ...*batchv1.Job) {
			err := w.kinds[0].store.Add(cron)
			for _, job := range jobs {
				err = errors.Join(err, w.kinds[1].store.Add(job))
			}
			if err != nil {
				b.Fatal(err)
			}
		}, func() { w.observed("ns", "m") })
	})
	b.Run("cache", func(b *testing.B) {
		newStore := func() toolscache.Indexer {
			return toolscache.NewIndexer(toolscache.DeletionHandlingMetaNamespaceKeyFunc, toolscache.Indexers{toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc})
		}
		cronJobs, jobsOf := newStore(), newStore()
		benchmarkMemory(b, func(cron *batchv1.CronJob, jobs ...*batchv1.Job) {
			err := cronJobs.Add(cron)
			for _, job := range jobs {
				err = errors.Join(err, jobsOf.Add(job))
			}
			if err != nil {
				b.Fatal(err)
			}
		}, func() {
			o := scanstate.Observed{CronJobs: make([]scanstate.CronJob, 0, 10_000), Jobs: make([]scanstate.Job, 0, 20_000)}
			for _, c := range cronJobs.List() {
				o.CronJobs = append(o.CronJobs, scanstate.TrimCronJob(c.(*batchv1.CronJob)))
			}
			for _, j := range jobsOf.List() {
				o.Jobs = append(o.Jobs, scanstate.TrimJob(j.(*batchv1.Job)))
			}
		})
	})
}

// benchmarkMemory adds the objects of 10,000 clusters, with only the fields that are read, and looks at them.
func benchmarkMemory(b *testing.B, add func(*batchv1.CronJob, ...*batchv1.Job), look func()) {
	const clusters = 10_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range clusters {
		cluster := fmt.Sprintf("cluster-%05d", i)
		meta := metav1.ObjectMeta{Namespace: "ns", Name: "mondoo-k8s-scan-" + cluster, UID: types.UID(fmt.Sprintf("%036d", i)), Labels: mondoo.ScanLabels("m", cluster)}
		cron := &batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{Schedule: fmt.Sprintf("%d %d * * *", i%60, i%24)}}
		jobs := []*batchv1.Job{{ObjectMeta: *meta.DeepCopy()}, {ObjectMeta: *meta.DeepCopy()}}
		for n, job := range jobs {
			job.Name = fmt.Sprintf("%s-%d", meta.Name, n)
		}
		add(cron, jobs...)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		look()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/clusters, "B/cluster")
}

// TestGone: a Job that is deleted is remembered, with its Pod and what it came to, for as long as its CronJob is there.
func TestGone(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC))
	w := newTestObserver(t, clocktesting.NewFakeClock(at.Time))
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name), Labels: mondoo.ScanLabels("m", "a"), OwnerReferences: []metav1.OwnerReference{{Kind: "CronJob", UID: "cron"}}}
	}
	ended := func(name string, how batchv1.JobConditionType) *batchv1.Job {
		job := &batchv1.Job{ObjectMeta: meta(name)}
		if how != "" {
			job.Status.Conditions = []batchv1.JobCondition{{Type: how, Status: "True", LastTransitionTime: at}}
		}
		return job
	}
	own := func(name string) *batchv1.Job {
		job := ended(name, "")
		job.Labels = map[string]string{scanstate.LabelAuditConfig: "m", scanstate.LabelCluster: "a"}
		return job
	}
	pod := &corev1.Pod{ObjectMeta: meta("pod"), Status: corev1.PodStatus{Phase: corev1.PodFailed}}
	pod.Labels[batchv1.JobNameLabel] = "failed"
	add := func(kind int, o client.Object) {
		t.Helper()
		if err := w.kinds[kind].store.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(kind int, o client.Object) {
		t.Helper()
		if err := w.kinds[kind].store.Delete(o); err != nil {
			t.Fatal(err)
		}
	}
	gone := func() (text string) {
		for _, j := range w.observed("ns", "m").Jobs {
			if text += j.Name + " " + string(j.Outcome); j.Pod != nil {
				text += " with its Pod"
			}
			if !j.Gone {
				text += " there"
			}
			text += ", "
		}
		return text
	}
	remove(1, ended("stray", ""))
	cron := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "cron", UID: "cron", Labels: mondoo.ScanLabels("m", "a")}}
	add(0, cron)
	failed := ended("failed", batchv1.JobFailed)
	add(1, failed)
	add(2, pod)
	remove(2, pod)
	if pods := w.observed("ns", "m").Pods; len(pods) != 1 {
		t.Errorf("the cause went with the Pod: %+v", pods)
	}
	remove(1, failed)
	if pods := w.observed("ns", "m").Pods; len(pods) != 0 {
		t.Errorf("a Pod stays for ever: %+v", pods)
	}
	if got, want := gone(), "failed Failed with its Pod, "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for i := range 5 {
		name := fmt.Sprint("lost-", i)
		add(1, ended(name, ""))
		remove(1, ended(name, ""))
		add(3, own("own-"+name))
		remove(3, own("own-"+name))
	}
	if got := gone(); strings.Count(got, ",") != 2*maxGone || !strings.Contains(got, "failed Failed with its Pod, ") || !strings.Contains(got, "lost-4 Vanished, ") ||
		!strings.Contains(got, "own-lost-4 Vanished, ") || strings.Contains(got, "own-lost-1") {
		t.Errorf("got %q", got)
	}
	add(1, ended("good", batchv1.JobComplete))
	remove(1, ended("good", batchv1.JobComplete))
	if got := gone(); !strings.Contains(got, "good Complete, ") || strings.Contains(got, "failed") {
		t.Errorf("got %q", got)
	}
	remove(0, cron)
	if got := gone(); got != "" || len(w.scopes) > 0 {
		t.Errorf("the cluster is gone, and what is remembered is %q", got)
	}
}

// TestDropOldest: the last result is kept among the Jobs of schedules and users. Muster's own are dropped by age.
func TestDropOldest(t *testing.T) {
	for own, want := range map[bool]string{true: "1 2 3", false: "0 2 3"} {
		jobs := []scanstate.Job{{Name: "0", Own: own, Outcome: scanstate.Complete}}
		for i := range maxGone {
			jobs = append(jobs, scanstate.Job{Name: fmt.Sprint(i + 1), Own: own, Outcome: scanstate.Vanished})
		}
		var names []string
		for _, j := range dropOldest(jobs, own) {
			names = append(names, j.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("own %t: %s are left, want %s", own, got, want)
		}
	}
}

// TestPodOfGone: only a failed Pod outlives its deletion, and what comes later of a deleted Job's Pod is taken note of.
func TestPodOfGone(t *testing.T) {
	o := &objects{gone: map[string][]scanstate.Job{"a": {{Name: "gone"}, {Name: "other"}}}}
	o.jobs.put("job", scanstate.Job{Name: "job"})
	for phase, want := range map[string]bool{"Failed": true, "Running": false} {
		if got := o.explainsFailure(scanstate.Pod{Job: "job", Phase: phase}); got != want {
			t.Errorf("a Pod that is %s is kept: %t", phase, got)
		}
	}
	if o.explainsFailure(scanstate.Pod{Job: "unknown", Phase: "Failed"}) {
		t.Error("a Pod without a Job is kept")
	}
	o.updateDeleted("a", scanstate.Pod{Name: "p", Job: "gone"})
	if gone := o.gone["a"]; gone[0].Pod == nil || gone[0].Pod.Name != "p" || gone[1].Pod != nil {
		t.Errorf("got %+v", gone)
	}
}

// TestWritten: of ConfigMaps and Secrets no more is kept than when those were written that the operator makes for entries.
func TestWritten(t *testing.T) {
	w := newTestObserver(t, clock.RealClock{})
	at := metav1.NewTime(time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC))
	meta := func(name string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, ManagedFields: []metav1.ManagedFieldsEntry{{Time: &at}}}}
	}
	if err := w.kinds[1].store.Add(testJob(1)); err != nil {
		t.Fatal(err)
	}
	for kind, names := range map[int][]string{4: {"m-k8s-inventory-c1", "m-sa-kubeconfig-c1", "other"}, 5: {"m-vault-kubeconfig-c1", "creds"}} {
		for _, name := range names {
			if err := w.kinds[kind].store.Add(meta(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	written := w.observed("ns", "m").Written
	if len(written) != 3 || !written["m-k8s-inventory-c1"].Equal(at.Time) || !written["m-vault-kubeconfig-c1"].Equal(at.Time) {
		t.Errorf("got %v", written)
	}
	if err := w.kinds[4].store.Replace([]any{meta("m-sa-kubeconfig-c1")}, "2"); err != nil {
		t.Fatal(err)
	}
	if err := w.kinds[5].store.Delete(meta("m-vault-kubeconfig-c1")); err != nil {
		t.Fatal(err)
	}
	if written := w.observed("ns", "m").Written; len(written) != 1 || written["m-sa-kubeconfig-c1"].IsZero() {
		t.Errorf("got %v", written)
	}
	if err := w.kinds[4].store.Add(testJob(1)); err == nil {
		t.Error("a Job is taken for a ConfigMap")
	}
}
