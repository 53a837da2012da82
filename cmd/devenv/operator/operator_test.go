package operator_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/cmd/devenv/operator"
	"github.com/muster-gitops/muster/cmd/devenv/server"
)

const patience = 90 * time.Second

var plane *server.ControlPlane

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if flag.Parse(); testing.Short() {
		return m.Run() // without a control plane, and without the tests that need one
	}
	ctrl.SetLogger(logr.Discard())
	ctx := context.Background()
	var err error
	if plane, err = server.StartControlPlane(ctx, server.ControlPlaneOptions{ControllerManager: true}); err == nil {
		defer plane.Stop()
		err = server.InstallCRDs(ctx, plane.Config(), server.MondooAuditConfigCRD())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// The documented behaviour towards entries: in order, stopping at the first bad one, with schedules inherited, and nothing
// cleaned up before all is well.
func testEntriesBecomeCronJobs(t *testing.T) {
	s := newStage(t, "entries")
	s.auditConfig("5 * * * *", "a", "b")
	s.untilClusters("a", "b")
	c := s.cronJobs()["a"]
	if c.Labels["app"] != "mondoo-k8s-scan" || c.Labels["scan"] != "k8s" || c.Labels["mondoo_cr"] != "mondoo-client" || c.Labels["cluster_name"] != "a" {
		t.Errorf("labels %v", c.Labels)
	}
	if c.Name != "mondoo-k8s-scan-a" || c.Spec.Schedule != "5 * * * *" || *c.Spec.Suspend || *c.Spec.JobTemplate.Spec.BackoffLimit != 0 ||
		c.Spec.JobTemplate.Spec.Template.Labels["mondoo_cr"] != "mondoo-client" || !metav1.IsControlledBy(&c, s.live()) {
		t.Errorf("got %+v", c)
	}

	own := entry("a")
	own["schedule"] = "7 7 * * *"
	s.setEntries(own, entry("b"), entry("c"))
	s.untilClusters("a", "b", "c")
	if got := s.cronJobs()["a"].Spec.Schedule; got != "7 7 * * *" {
		t.Errorf("an own schedule: %q", got)
	}

	// The second entry has no method: d gets no CronJob, and that of the removed c stays.
	s.setEntries(own, map[string]any{"name": "b"}, entry("d"))
	s.eventually("the stop", func() bool {
		return strings.Contains(s.transcript(), "stops at entry b: it has 0 authentication methods")
	})
	s.untilClusters("a", "b", "c")
	s.setEntries(own, entry("b"), entry("d"))
	s.untilClusters("a", "b", "d")

	// The same by the scenario, with the schedule that rule 2 is about after it.
	s.scenario(map[string]string{"b": "refuse"})
	s.setEntries(own, entry("b"), entry("e"))
	s.eventually("the refusal", func() bool { return strings.Contains(s.transcript(), "stops at entry b: the login to Vault fails") })
	s.untilClusters("a", "b", "d")
	s.scenario(nil)
	s.untilClusters("a", "b", "e")

	if err := s.Delete(t.Context(), s.live()); err != nil {
		t.Fatal(err)
	}
	s.untilClusters()
	s.eventually("the audit config is gone", func() bool {
		return client.IgnoreNotFound(s.Get(t.Context(), client.ObjectKey{Namespace: s.namespace, Name: "mondoo-client"}, config("", ""))) == nil &&
			s.Get(t.Context(), client.ObjectKey{Namespace: s.namespace, Name: "mondoo-client"}, config("", "")) != nil
	})
}

// Without any schedule the API server refuses the CronJob, and that is a stop too.
func testNoSchedule(t *testing.T) {
	s := newStage(t, "no-schedule")
	s.auditConfig("", "a", "b")
	s.eventually("the stop", func() bool {
		return strings.Contains(s.transcript(), "stops at entry a: the API server rejected its CronJob")
	})
	s.untilClusters()
}

// What it writes back is what its structs make of the object: a finalizer, schedules, empty structs, canonical entries.
func testAuditConfigsAreRewritten(t *testing.T) {
	s := newStage(t, "rewritten")
	o := config(s.namespace, "", "a")
	resources := o.Object["spec"].(map[string]any)["kubernetesResources"].(map[string]any)
	resources["enable"], resources["activeDeadline"] = true, "90m"
	o.Object["spec"].(map[string]any)["scanner"] = map[string]any{"resources": map[string]any{"limits": map[string]any{"cpu": "1000m"}}}
	resources["externalClusters"].([]any)[0].(map[string]any)["filtering"] = map[string]any{}
	s.create(o)
	s.untilClusters("a")
	live := s.live()
	if !slices.Contains(live.GetFinalizers(), operator.Finalizer) {
		t.Errorf("finalizers %q", live.GetFinalizers())
	}
	for _, what := range []string{"nodes", "containers", "kubernetesResources"} {
		if schedule, _, _ := unstructured.NestedString(live.Object, "spec", what, "schedule"); !strings.HasSuffix(schedule, " * * * *") {
			t.Errorf("%s: schedule %q", what, schedule)
		}
	}
	deadline, _, _ := unstructured.NestedString(live.Object, "spec", "kubernetesResources", "activeDeadline")
	cpu, _, _ := unstructured.NestedString(live.Object, "spec", "scanner", "resources", "limits", "cpu")
	if deadline != "1h30m0s" || cpu != "1" {
		t.Errorf("a deadline of %q, and a limit of %q", deadline, cpu)
	}
	list, err := mondoo.Entries(live.Object)
	if err != nil {
		t.Fatal(err)
	}
	if _, written := list[0]["filtering"].(map[string]any)["namespaces"]; !written {
		t.Errorf("entry %v", list[0])
	}
	before := live.GetResourceVersion()
	s.scenario(map[string]string{"a": "fail"}) // makes it look again
	s.setEntries(list...)
	if got := s.live().GetResourceVersion(); got != before {
		t.Errorf("it writes without need: %s, %s", before, got)
	}
}

// The outcomes of scans, on the real Job controller.
func TestScans(t *testing.T) {
	server.SkipShort(t)
	s := newStage(t, "scans")
	s.auditConfig("0 0 1 1 *", "good", "fail", "oom", "image", "hang", "secretless")
	for _, name := range []string{"good", "fail", "oom", "image", "hang"} {
		s.secret(name, "kubeconfig", "x")
	}
	s.untilClusters("good", "fail", "oom", "image", "hang", "secretless")
	s.scenario(map[string]string{"fail": "fail", "oom": "oom", "image": "image", "hang": "hang"})
	jobs := map[string]string{}
	for name := range s.cronJobs() {
		jobs[name] = s.scan(name, 1)
	}
	s.ended(jobs["good"], batchv1.JobComplete)
	s.ended(jobs["fail"], batchv1.JobFailed)
	s.ended(jobs["oom"], batchv1.JobFailed)
	s.pod(jobs["oom"], "killed", func(p corev1.Pod) bool { return p.Status.ContainerStatuses[0].State.Terminated.Reason == "OOMKilled" })
	s.pod(jobs["image"], "no image", waiting("ImagePullBackOff"))
	s.pod(jobs["hang"], "runs", func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	s.pod(jobs["secretless"], "waits for its Secret", waiting("ContainerCreating"))

	// What is stuck gets on when the cause is gone.
	s.secret("secretless", "kubeconfig", "x")
	s.scenario(nil)
	for _, name := range []string{"image", "hang", "secretless"} {
		s.ended(jobs[name], batchv1.JobComplete)
	}

	// A changed CronJob loses its finished Jobs, and no other does.
	changed := []map[string]any{entry("good"), entry("fail"), entry("oom"), entry("image"), entry("hang"), entry("secretless")}
	changed[0]["schedule"] = "1 1 1 1 *"
	s.setEntries(changed...)
	s.eventually("the Job of good is gone", func() bool {
		return s.Get(t.Context(), client.ObjectKey{Namespace: s.namespace, Name: jobs["good"]}, &batchv1.Job{}) != nil
	})
	s.ended(jobs["fail"], batchv1.JobFailed)
}

func testPausedAndBroken(t *testing.T) {
	s := newStage(t, "paused")
	s.auditConfig("5 * * * *", "a")
	s.untilClusters("a")
	s.scenario(map[string]string{operator.KeyScanning: "paused"})
	s.eventually("suspended", func() bool { return *s.cronJobs()["a"].Spec.Suspend })
	if paused, _, _ := unstructured.NestedBool(s.live().Object, "status", "scanningPaused"); !paused {
		t.Error("status.scanningPaused is not set")
	}
	s.scenario(map[string]string{operator.KeyOperator: "broken", "a": "explode"})
	s.setEntries(entry("a"), entry("b"))
	s.eventually("the complaint", func() bool {
		return strings.Contains(s.transcript(), `a is "explode", but must be one of success, fail,`)
	})
	// By the time that a scan has gone through all of its stages, it would have.
	s.secret("a", "kubeconfig", "x")
	s.ended(s.scan("a", 1), batchv1.JobComplete)
	s.untilClusters("a")
	if !*s.cronJobs()["a"].Spec.Suspend {
		t.Error("a broken operator has done something")
	}
	s.scenario(nil)
	s.untilClusters("a", "b")
	s.eventually("not suspended", func() bool { return !*s.cronJobs()["a"].Spec.Suspend })
}
