package controllers_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/transport"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/cmd/devenv/operator"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// scanned is a world in which CronJobs become Jobs and Pods, by the real controllers, and whose operator and kubelet are the
// stand-ins of the devenv. Nothing in it is due within the test but what has changed.
type scanned struct {
	*world
	operator *operator.Operator
	bounds   scanstate.Bounds
}

// testBounds are short where a test waits for them to be over, and long where it must not.
var testBounds = scanstate.Bounds{PickUp: 10 * time.Second, Start: time.Hour, Grace: 24 * time.Hour, Settle: 2 * time.Second}

// onceAYear has the fleet's own schedule keep out of the way.
var onceAYear = strings.Replace(auditConfigFile, "10 * * * *", "0 0 1 1 *", 1)

// workingControlPlane gives a test a control plane whose controllers work.
func workingControlPlane(t *testing.T) {
	t.Helper()
	server.SkipShort(t)
	working, err := server.StartControlPlane(t.Context(), server.ControlPlaneOptions{ControllerManager: true})
	must(t, err)
	must(t, installAuditSync(t.Context(), working))
	must(t, server.InstallCRDs(t.Context(), working.Config(), server.MondooAuditConfigCRD()))
	shared := plane
	plane = working
	t.Cleanup(func() {
		plane = shared
		must(t, working.Stop())
	})
}

func newScanned(t *testing.T) *scanned {
	t.Helper()
	s := &scanned{world: newWorld(t), bounds: testBounds}
	s.startOperator()
	t.Cleanup(s.stopOperator)
	return s
}

func (s *scanned) startOperator() {
	s.Helper()
	if s.secret("mondoo-client") == nil { // without it the operator makes nothing
		s.createSecret("mondoo-client", map[string]string{"config": "{}"})
	}
	var err error
	s.operator, err = operator.Start(s.Context(), plane.Config(), operator.Options{Namespace: s.namespace, Tell: s.Logf})
	must(s.T, err)
}

func (s *scanned) stopOperator() {
	s.Helper()
	if s.operator != nil {
		must(s.T, s.operator.Stop())
		s.operator = nil
	}
}

func (s *scanned) start(wrap ...transport.WrapperFunc) {
	s.Helper()
	cfg, err := plane.User(s.user, "system:serviceaccounts", "system:serviceaccounts:"+s.namespace)
	must(s.T, err)
	for _, w := range wrap {
		cfg.Wrap(w)
	}
	s.stop = s.run(cfg, controllers.Options{Namespace: s.namespace, MetricsAddress: "0", ProbeAddress: "0", CacheDir: s.cacheDir, Concurrency: 1,
		Registry: prometheus.NewRegistry(), ScanBounds: s.bounds})
}

// scenario tells the stand-in how scans go: pairs of cluster and outcome.
func (s *scanned) scenario(pairs ...string) {
	s.Helper()
	data := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = pairs[i+1]
	}
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: operator.ScenarioName}, Data: data}
	must(s.T, s.admin.Update(s.Context(), object))
}

// jobs are the Jobs that Muster has made for a cluster, by name.
func (s *scanned) jobs(cluster string) map[string]*batchv1.Job {
	s.Helper()
	var list batchv1.JobList
	must(s.T, s.admin.List(s.Context(), &list, client.InNamespace(s.namespace), client.MatchingLabels{scanstate.LabelCluster: cluster}))
	jobs := map[string]*batchv1.Job{}
	for i := range list.Items {
		jobs[list.Items[i].Name] = &list.Items[i]
	}
	return jobs
}

// created counts the Jobs that Muster has made since a mark.
func (s *scanned) created(since server.Mark) int { return s.writes(since)["jobs"] }

// untilScanned waits for a reason and a word of the condition Scanned.
func (s *scanned) untilScanned(reason, word string) *v1alpha1.AuditSync {
	s.Helper()
	return s.until("Scanned "+reason+" "+word, func(a *v1alpha1.AuditSync) bool {
		c := condition(a.Status, v1alpha1.ConditionScanned)
		return c.Reason == reason && strings.Contains(c.Message, word)
	})
}

// events are the notes of events of a reason.
func (s *scanned) events(reason string) []string {
	s.Helper()
	var list eventsv1.EventList
	must(s.T, s.admin.List(s.Context(), &list, client.InNamespace(s.namespace)))
	var notes []string
	for _, e := range list.Items {
		if e.Reason == reason && e.Regarding.Kind == "AuditSync" {
			notes = append(notes, e.Note)
		}
	}
	return notes
}

func (s *scanned) fleet(names ...string) map[string]string {
	files := map[string]string{"clusters/mondoo-client.yaml": onceAYear}
	for _, name := range names {
		files["clusters/"+name+".yaml"] = s.tokenCluster(name, "")
	}
	return files
}

// TestScans goes through what becomes of scans, with Kubernetes' own controllers at work.
func TestScans(t *testing.T) {
	workingControlPlane(t)
	t.Run("Outcomes", testScanOutcomes)
	t.Run("OnChange", testScanOnChange)
	t.Run("KilledInBetween", testScanKilledInBetween)
	t.Run("AFewAtATime", testScansAFewAtATime)
	t.Run("InAnotherName", testScanInAnotherName)
	t.Run("PutBack", testScanPutBack)
	t.Run("StaysScanned", testScanStaysScanned)
	t.Run("NothingToDo", testScansNothingToDo)
	t.Run("Deleted", testScanDeleted)
	t.Run("OfTheChange", testScanOfTheChange)
}

func testScanOutcomes(t *testing.T) {
	s := newScanned(t)
	commit := s.push(s.fleet("eu", "us"))
	s.start()
	s.createSync(nil)
	s.untilReady(commit)
	status := s.untilScanned("Scanned", "2 clusters scanned").Status
	if c := status.Clusters; c.Passing != 2 || c.Awaiting != 0 || c.Failing != 0 {
		t.Errorf("counts %+v", c)
	}

	s.scenario("us", "oom")
	s.push(map[string]string{"clusters/us.yaml": s.tokenCluster("us", "  schedule: 1 1 1 1 *\n")})
	s.request()
	status = s.untilScanned("Failed", "1 of 2 clusters not scanned: us: OutOfMemory: container").Status
	if c := status.Clusters; c.Passing != 1 || c.Failing != 1 {
		t.Errorf("counts %+v", c)
	}
	if c := condition(status, v1alpha1.ConditionReady); c.Status != metav1.ConditionTrue {
		t.Errorf("a failing scan makes the sync not ready: %+v", c)
	}
	s.eventually("an event", func() bool { return len(s.events("ScanFailed")) > 0 })
	if got := s.events("ScanFailed"); len(got) != 1 || !strings.Contains(got[0], "us: OutOfMemory") {
		t.Errorf("events %q", got)
	}

	s.scenario()
	s.push(map[string]string{"clusters/us.yaml": s.tokenCluster("us", "  schedule: 2 1 1 1 *\n")})
	s.request()
	s.untilScanned("Scanned", "2 clusters scanned")
	s.eventually("an event", func() bool { return len(s.events("ScanRecovered")) == 1 })

	// The operator stops at an entry: its CronJob is never made. The clock alone tells.
	s.scenario("asia", "refuse")
	s.push(map[string]string{"clusters/asia.yaml": s.tokenCluster("asia", "")})
	s.request()
	s.untilScanned("Awaiting", "asia: the operator has not created its CronJob yet")
	status = s.untilScanned("NotPickedUp", "1 of 3 clusters not scanned: asia: the operator has created no CronJobs from entry asia on").Status
	if c := status.Clusters; c.Passing != 2 || c.Failing != 1 {
		t.Errorf("counts %+v", c)
	}
	s.scenario()
	s.untilScanned("Scanned", "3 clusters scanned")

	s.scenario("_scanning", "paused")
	s.untilScanned("Paused", "3 clusters: asia, eu, us: scanning is paused for the whole audit config")
	s.scenario("_scanning", "active")
	s.untilScanned("Scanned", "3 clusters scanned")
}

// testScanOnChange changes one cluster, and has it scanned once, whatever happens after that.
func testScanOnChange(t *testing.T) {
	s := newScanned(t)
	commit := s.push(s.fleet("eu", "us"))
	s.start()
	s.createSync(nil)
	s.untilReady(commit)
	s.untilScanned("Scanned", "2 clusters scanned")
	before := s.jobs("us")
	if len(before) != 1 {
		t.Fatalf("Jobs of us: %v", slices.Collect(maps.Keys(before)))
	}
	for name, job := range before {
		owner := metav1.GetControllerOf(job)
		if job.Annotations["cronjob.kubernetes.io/instantiate"] != "manual" || owner == nil || owner.Kind != "CronJob" || len(name) > 63 ||
			job.Labels["muster.dev/audit-config"] != "mondoo-client" || job.Labels["app"] != "" || job.Spec.Template.Spec.Containers[0].Image == "" {
			t.Errorf("not what kubectl create job --from makes: %+v", job.ObjectMeta)
		}
	}
	// Kubernetes counts it as the CronJob's own.
	cron := &batchv1.CronJob{}
	key := client.ObjectKey{Namespace: s.namespace, Name: operator.CronJobName("mondoo-client", "us")}
	s.eventually("lastSuccessfulTime", func() bool {
		must(t, s.admin.Get(t.Context(), key, cron))
		return cron.Status.LastSuccessfulTime != nil
	})
	if cron.Status.LastScheduleTime != nil {
		t.Errorf("it was scheduled: %+v", cron.Status)
	}

	mark := s.mark()
	// A change that does not show in the CronJob: a new credential.
	s.push(map[string]string{"clusters/us.yaml": s.tokenClusterAt("us", "https://us.example.com:6443", "CANARY-another-token", "")})
	s.request()
	s.eventually("one Job", func() bool { return s.created(mark) == 1 })
	s.untilScanned("Scanned", "2 clusters scanned")
	s.eventually("history of one", func() bool { return len(s.jobs("us")) == 1 })
	after := s.jobs("us")
	for name := range before {
		if after[name] != nil {
			t.Errorf("the Job %s is still there; is it not cleaned up by the CronJob's history limit?", name)
		}
	}
	s.stopController()
	s.start()
	s.request()
	for name := range after {
		job := after[name]
		must(t, s.admin.Delete(t.Context(), job, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	}
	s.settled()
	s.stopController()
	s.start()
	s.request()
	s.settled()
	if n := s.created(mark); n != 1 {
		t.Errorf("%d Jobs were made for one change", n)
	}

	t.Run("not while it is off", func(t *testing.T) {
		s.changeSync(func(a *v1alpha1.AuditSync) { a.Spec.ScanOnChange.Enabled = new(false) })
		mark := s.mark()
		s.push(map[string]string{"clusters/us.yaml": s.tokenCluster("us", "  schedule: 3 1 1 1 *\n")})
		s.request()
		s.settled()
		if n := s.created(mark); n != 0 {
			t.Errorf("%d Jobs", n)
		}
	})
	t.Run("not while paused, and after it", func(t *testing.T) {
		s.changeSync(func(a *v1alpha1.AuditSync) { a.Spec.ScanOnChange.Enabled = new(true) })
		s.scenario("_scanning", "paused")
		s.untilScanned("Paused", "paused")
		mark := s.mark()
		s.push(map[string]string{"clusters/us.yaml": s.tokenCluster("us", "  schedule: 4 1 1 1 *\n")})
		s.request()
		s.settled()
		if n := s.created(mark); n != 0 {
			t.Errorf("%d Jobs", n)
		}
		s.scenario()
		s.eventually("one Job", func() bool { return s.created(mark) == 1 })
	})
	t.Run("not when its schedule is about to", func(t *testing.T) {
		mark := s.mark()
		s.push(map[string]string{"clusters/eu.yaml": s.tokenCluster("eu", "  schedule: \"* * * * *\"\n")})
		s.request()
		s.settled()
		if n := s.created(mark); n != 0 {
			t.Errorf("%d Jobs", n)
		}
	})
}

// afterJob lets everything through until a Job was made, and nothing from then on.
type afterJob struct {
	next http.RoundTripper
	fell atomic.Bool
}

func (a *afterJob) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.fell.Load() {
		return nil, errDead
	}
	made := r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/jobs")
	response, err := a.next.RoundTrip(r)
	if made && err == nil {
		a.fell.Store(true)
	}
	return response, err
}

// testScanKilledInBetween kills the controller after it has made a Job and before it can note that.
func testScanKilledInBetween(t *testing.T) {
	s := newScanned(t)
	commit := s.push(s.fleet("us"))
	mark := s.mark()
	blade := &afterJob{}
	s.start(func(next http.RoundTripper) http.RoundTripper { blade.next = next; return blade })
	s.createSync(nil)
	s.eventually("killed", blade.fell.Load)
	s.stopController()
	if n := s.created(mark); n != 1 {
		t.Fatalf("%d Jobs", n)
	}
	if got := s.writes(mark)["configmaps"]; got != 2 {
		t.Fatalf("%d inventories were written, want the one before and the one after the apply, and none for the Job", got)
	}
	s.start()
	s.untilReady(commit)
	s.untilScanned("Scanned", "1 cluster scanned")
	s.eventually("the Job is noted", func() bool { return s.writes(mark)["configmaps"] == 3 })
	s.settled()
	if n := s.created(mark); n != 1 {
		t.Errorf("%d Jobs were made for one change", n)
	}
	if got := s.writes(mark)["configmaps"]; got != 3 {
		t.Errorf("%d inventories were written; the Job was to be noted once", got)
	}
}

// testScansAFewAtATime changes more clusters than may be scanned at a time.
func testScansAFewAtATime(t *testing.T) {
	s := newScanned(t)
	names := []string{"a", "b", "c", "d", "e"}
	s.scenario("a", "hang", "b", "hang", "c", "hang", "d", "hang", "e", "hang")
	commit := s.push(s.fleet(names...))
	s.start()
	s.createSync(func(a *v1alpha1.AuditSync) { a.Spec.ScanOnChange.Concurrency = 2 })
	s.untilReady(commit)
	all := func() (total, active int) {
		// One list: between several of them a Job may end and the next one begin.
		var list batchv1.JobList
		must(t, s.admin.List(t.Context(), &list, client.InNamespace(s.namespace)))
		for _, job := range list.Items {
			// SuccessCriteriaMet comes when the Pod is over; Complete, with the time, comes later.
			if len(job.Status.Conditions) == 0 {
				active++
			}
		}
		return len(list.Items), active
	}
	mark := s.mark()
	s.eventually("two", func() bool { total, _ := all(); return total == 2 })
	s.settled()
	if total, active := all(); total != 2 || active != 2 {
		t.Errorf("%d Jobs, %d of them active, want 2", total, active)
	}
	s.untilScanned("Awaiting", "3 changed clusters will be scanned as soon as possible")
	s.scenario()
	s.eventually("all", func() bool {
		total, active := all()
		if active > 2 {
			t.Errorf("%d at a time", active)
		}
		return total == len(names)
	})
	s.untilScanned("Scanned", "5 clusters scanned")
	s.settled()
	if n := s.created(mark); n > len(names) {
		t.Errorf("%d Jobs for %d changes", n, len(names))
	}
}

// testScanInAnotherName has the ServiceAccount of the AuditSync make the Job, whose rights are the limit.
func testScanInAnotherName(t *testing.T) {
	s := newScanned(t)
	s.grantImpersonation("applier")
	role := s.shippedRole()
	role.Name = "applier"
	role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "jobs") })
	must(t, s.admin.Create(t.Context(), role))
	applier := "system:serviceaccount:" + s.namespace + ":applier"
	s.bind("applier", "applier", applier)
	s.awaitRules(applier, role.Rules, true)
	commit := s.push(s.fleet("eu"))
	s.start()
	mark := s.mark()
	s.createSync(func(a *v1alpha1.AuditSync) { a.Spec.ServiceAccountName = "applier" })
	s.untilReady(commit)
	s.untilScanned("Awaiting", "the API server rejects its Job")
	if message := condition(s.sync().Status, v1alpha1.ConditionScanned).Message; !strings.Contains(message, ":applier") {
		t.Errorf("it was not asked for in the name of the ServiceAccount: %s", message)
	}
	s.settled()
	if n := s.created(mark); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// testScansNothingToDo has a fleet whose scans are done, and expects that nobody asks or writes anything.
func testScansNothingToDo(t *testing.T) {
	s := newScanned(t)
	commit := s.push(s.fleet("eu", "us"))
	s.start()
	s.createSync(func(a *v1alpha1.AuditSync) { a.Spec.Interval = &metav1.Duration{Duration: 5 * time.Second} })
	s.untilReady(commit)
	s.untilScanned("Scanned", "2 clusters scanned")
	s.settled()
	s.untilQuiet()
	mark := s.mark()
	// A write that says nothing of a scan.
	for _, job := range s.jobs("eu") {
		before := job.DeepCopy()
		metav1.SetMetaDataAnnotation(&job.ObjectMeta, "example.com/note", "x")
		must(t, s.admin.Patch(t.Context(), job, client.MergeFrom(before)))
	}
	s.untilPolled()
	requests := s.requests(mark)
	for _, r := range requests {
		t.Errorf("with nothing to do, the controller asked the API server: %s", r)
	}
}

// TestScansWithoutRights is an installation whose Role is of an older version. All but the scans goes on, and what is missing
// is said.
func TestScansWithoutRights(t *testing.T) {
	w := newWorld(t)
	w.changeVerbs("pods")
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": onceAYear, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(commit)
	w.until("the right that is missing", func(a *v1alpha1.AuditSync) bool {
		c := condition(a.Status, v1alpha1.ConditionScanned)
		return c.Reason == "Unknown" && c.Status == metav1.ConditionUnknown && strings.Contains(c.Message, "lacks the permission to list and watch pods; apply")
	})
	w.changeRules(func([]rbacv1.PolicyRule) []rbacv1.PolicyRule { return w.shippedRole().Rules })
	sync := w.until("scans", func(a *v1alpha1.AuditSync) bool {
		return condition(a.Status, v1alpha1.ConditionScanned).Reason == "Awaiting"
	})
	if sync.Status.Clusters.Awaiting != 1 {
		t.Errorf("counts %+v", sync.Status.Clusters)
	}
}
