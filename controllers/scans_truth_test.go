package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/cmd/devenv/operator"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// byHand makes a Job from a cluster's CronJob as kubectl create job --from does.
func (s *scanned) byHand(cluster, name string, suspended bool) *batchv1.Job {
	s.Helper()
	cron := &batchv1.CronJob{}
	must(s.T, s.admin.Get(s.Context(), client.ObjectKey{Namespace: s.namespace, Name: operator.CronJobName("mondoo-client", cluster)}, cron))
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name, Labels: cron.Spec.JobTemplate.Labels, Annotations: map[string]string{"cronjob.kubernetes.io/instantiate": "manual"},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cron, batchv1.SchemeGroupVersion.WithKind("CronJob"))}}, Spec: cron.Spec.JobTemplate.Spec}
	job.Spec.Suspend = new(suspended)
	must(s.T, s.admin.Create(s.Context(), job))
	return job
}

// toItsEnd makes Jobs by hand until one lives to its end: the operator may be at work, and delete one before that.
func (s *scanned) toItsEnd(cluster, name string, end batchv1.JobConditionType) *batchv1.Job {
	s.Helper()
	for n := range 20 {
		job := s.byHand(cluster, fmt.Sprint(name, "-", n), false)
		ended := false
		s.eventually(job.Name+" has ended, or is deleted", func() bool {
			live := &batchv1.Job{}
			err := s.admin.Get(s.Context(), client.ObjectKeyFromObject(job), live)
			if apierrors.IsNotFound(err) {
				return true
			}
			must(s.T, err)
			ended = slices.ContainsFunc(live.Status.Conditions, func(c batchv1.JobCondition) bool { return c.Type == end && c.Status == corev1.ConditionTrue })
			return ended
		})
		if ended {
			return job
		}
	}
	s.Fatalf("the operator deletes each Job %s of %s", name, cluster)
	return nil
}

// deletedByOperator has the operator look, and waits until it has deleted a Job that isn't active.
func (s *scanned) deletedByOperator(job *batchv1.Job) {
	s.Helper()
	s.eventually(job.Name+" is deleted", func() bool {
		object := s.auditConfig("mondoo-client")
		patch := client.MergeFrom(object.DeepCopy())
		annotations := object.GetAnnotations() // without those that Muster made, the audit config would be corrected, too
		annotations["looked-at"] = time.Now().String()
		object.SetAnnotations(annotations)
		must(s.T, s.admin.Patch(s.Context(), object, patch))
		return client.IgnoreNotFound(s.admin.Get(s.Context(), client.ObjectKeyFromObject(job), &batchv1.Job{})) == nil &&
			s.admin.Get(s.Context(), client.ObjectKeyFromObject(job), &batchv1.Job{}) != nil
	})
}

// testScanDeleted has the operator delete the Jobs of a service account cluster: one that has not begun, and one that has failed.
// Neither is a success, and the second is no recovery.
func testScanDeleted(t *testing.T) {
	s := newScanned(t)
	commit := s.push(s.fleet("eu", "us"))
	s.start()
	s.createSync(nil)
	s.untilReady(commit)
	s.untilScanned("Scanned", "2 clusters scanned")

	before := s.byHand("us", "not-begun", true)
	s.deletedByOperator(before)
	s.untilScanned("Awaiting", "1 of 2 clusters not scanned yet: us: the Job of ")

	s.scenario("us", "oom")
	failed := s.toItsEnd("us", "failed", batchv1.JobFailed)
	s.untilScanned("Failed", "us: OutOfMemory: container")
	s.deletedByOperator(failed)
	s.settled()
	s.untilScanned("Failed", "us: OutOfMemory: container") // its Pod is gone too
	if recovered, told := s.events("ScanRecovered"), s.events("ScanFailed"); len(recovered) > 0 || len(told) != 1 {
		t.Errorf("events %q, %q", told, recovered)
	}

	s.scenario()
	good := s.toItsEnd("us", "good", batchv1.JobComplete)
	s.untilScanned("Scanned", "2 clusters scanned")
	s.deletedByOperator(good)
	s.settled()
	s.untilScanned("Scanned", "2 clusters scanned")
	s.eventually("an event", func() bool { return len(s.events("ScanRecovered")) == 1 })
}

// testScanOfTheChange has the operator stop at the entry before the one that a commit changes. What is scanned meanwhile has the
// entry as it was.
func testScanOfTheChange(t *testing.T) {
	w := newForgeWorld(t, forge.Gitea, time.Now)
	s := &scanned{world: w.world, bounds: testBounds}
	s.startOperator()
	t.Cleanup(s.stopOperator)
	w.commit(s.fleet("eu", "us"))
	s.start()
	s.createSync(w.withForge(forge.Gitea))
	s.untilScanned("Scanned", "2 clusters scanned")

	s.scenario("eu", "refuse")
	mark := s.mark()
	commit := w.commit(map[string]string{"clusters/us.yaml": s.tokenCluster("us", "  filtering: {namespaces: {include: [a]}}\n")})
	s.request()
	shown := func() string {
		status := w.forge.Shown(commit)["muster/production/scan"]
		return string(status.State) + " " + status.Description
	}
	const stuck = "pending us: the operator has not picked up the change yet"
	w.eventually("the answer", func() bool { return strings.HasPrefix(shown(), stuck) })
	s.byHand("us", "as-it-was", false)
	s.settled()
	if n := s.created(mark); n != 0 || !strings.HasPrefix(shown(), stuck) {
		t.Errorf("%d Jobs were made, and the answer is %s", n, shown())
	}
	s.scenario()
	w.eventually("the scan", func() bool { return shown() == "success 1 changed cluster scanned" })
	if n := s.created(mark); n != 1 {
		t.Errorf("%d Jobs were made", n)
	}

	// A change of a Secret alone is in the next Pod.
	mark = s.mark()
	s.scenario("eu", "refuse")
	commit = w.commit(map[string]string{"clusters/us.yaml": s.tokenClusterAt("us", "https://us.example.com:6443", "CANARY-other", "  filtering: {namespaces: {include: [a]}}\n")})
	s.request()
	w.eventually("the scan", func() bool { return shown() == "success 1 changed cluster scanned" && s.created(mark) == 1 })
}
