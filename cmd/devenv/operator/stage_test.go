package operator_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/cmd/devenv/operator"
)

// stage is a namespace with a stand-in at work in it.
type stage struct {
	*testing.T
	client.Client
	namespace string

	mu   sync.Mutex
	said []string
}

func newStage(t *testing.T, name string) *stage {
	t.Helper()
	c, err := client.New(plane.Config(), client.Options{Scheme: clientscheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{T: t, Client: c, namespace: name}
	s.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	s.secret("creds", "config", "not JSON")
	standIn, err := operator.Start(t.Context(), plane.Config(), operator.Options{Namespace: name, Takes: 10 * time.Millisecond, Tell: s.hear})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standIn.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *stage) hear(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf(format, args...))
}

func (s *stage) transcript() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.said, "\n")
}

func (s *stage) create(o client.Object) {
	s.Helper()
	if err := s.Create(s.Context(), o); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) secret(name, key, value string) {
	s.Helper()
	s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}, StringData: map[string]string{key: value}})
}

// auditConfig makes one with these entries; each authenticates by a Secret of its name.
func (s *stage) auditConfig(schedule string, names ...string) *unstructured.Unstructured {
	s.Helper()
	o := config(s.namespace, schedule, names...)
	s.create(o)
	return o
}

func config(namespace, schedule string, names ...string) *unstructured.Unstructured {
	var entries []any
	for _, name := range names {
		entries = append(entries, entry(name))
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind, "metadata": map[string]any{"namespace": namespace, "name": "mondoo-client"},
		"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "creds"},
			"kubernetesResources": map[string]any{"schedule": schedule, "externalClusters": entries}},
	}}
}

func entry(name string) map[string]any {
	return map[string]any{"name": name, "kubeconfigSecretRef": map[string]any{"name": name}}
}

func (s *stage) setEntries(entries ...map[string]any) {
	s.Helper()
	s.change(config(s.namespace, "", ""), func(o client.Object) {
		if err := mondoo.SetEntries(o.(*unstructured.Unstructured).Object, entries); err != nil {
			s.Fatal(err)
		}
	})
}

// change updates a live object, again when somebody else was faster.
func (s *stage) change(o client.Object, change func(client.Object)) {
	s.Helper()
	s.eventually("the change of "+o.GetName(), func() bool {
		if err := s.Get(s.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			s.Fatal(err)
		}
		change(o)
		return s.Update(s.Context(), o) == nil
	})
}

func (s *stage) scenario(data map[string]string) {
	s.Helper()
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: operator.ScenarioName}}
	s.change(o, func(o client.Object) { o.(*corev1.ConfigMap).Data = data })
}

func (s *stage) eventually(what string, reached func() bool) {
	s.Helper()
	err := wait.PollUntilContextTimeout(s.Context(), 20*time.Millisecond, patience, true, func(context.Context) (bool, error) { return reached(), nil })
	if err != nil {
		s.Fatalf("%s: %v; the stand-in said:\n%s", what, err, s.transcript())
	}
}

func (s *stage) live() *unstructured.Unstructured {
	s.Helper()
	o := config(s.namespace, "")
	if err := s.Get(s.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		s.Fatal(err)
	}
	return o
}

// cronJobs are by cluster.
func (s *stage) cronJobs() map[string]batchv1.CronJob {
	s.Helper()
	var list batchv1.CronJobList
	if err := s.List(s.Context(), &list, client.InNamespace(s.namespace)); err != nil {
		s.Fatal(err)
	}
	crons := map[string]batchv1.CronJob{}
	for _, c := range list.Items {
		crons[c.Labels[mondoo.LabelCluster]] = c
	}
	return crons
}

func (s *stage) untilClusters(want ...string) {
	s.Helper()
	slices.Sort(want)
	s.eventually(fmt.Sprintf("CronJobs %q", want), func() bool {
		var names []string
		for name := range s.cronJobs() {
			names = append(names, name)
		}
		slices.Sort(names)
		return slices.Equal(names, want)
	})
}

// scan makes a Job as kubectl create job --from makes it, and returns its name.
func (s *stage) scan(cluster string, n int) string {
	s.Helper()
	c := s.cronJobs()[cluster]
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", c.Name, n), Namespace: c.Namespace, Labels: c.Spec.JobTemplate.Labels,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(&c, batchv1.SchemeGroupVersion.WithKind("CronJob"))}}, Spec: c.Spec.JobTemplate.Spec}
	s.create(job)
	return job.Name
}

// ended waits for the end of a Job.
func (s *stage) ended(name string, want batchv1.JobConditionType) {
	s.Helper()
	s.eventually(name+" is "+string(want), func() bool {
		job := &batchv1.Job{}
		if err := s.Get(s.Context(), client.ObjectKey{Namespace: s.namespace, Name: name}, job); err != nil {
			s.Fatal(err)
		}
		return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool { return c.Type == want && c.Status == "True" })
	})
}

// pod waits until the Pod of a Job shows something.
func (s *stage) pod(job, what string, shows func(corev1.Pod) bool) {
	s.Helper()
	s.eventually("the Pod of "+job+": "+what, func() bool {
		var list corev1.PodList
		if err := s.List(s.Context(), &list, client.InNamespace(s.namespace), client.MatchingLabels{batchv1.JobNameLabel: job}); err != nil {
			s.Fatal(err)
		}
		return len(list.Items) == 1 && shows(list.Items[0])
	})
}

func waiting(reason string) func(corev1.Pod) bool {
	return func(p corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].State.Waiting != nil && p.Status.ContainerStatuses[0].State.Waiting.Reason == reason
	}
}
