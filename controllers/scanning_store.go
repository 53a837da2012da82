package controllers

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/scanstate"
)

// scanScope identifies an audit config.
type scanScope struct{ namespace, auditConfig string }

// scanObjects are the watched objects of one audit config.
type scanObjects struct {
	cronJobs scanTable[scanstate.CronJob]
	// jobs are the Jobs from schedules and users, and own are Muster's Jobs.
	jobs, own scanTable[scanstate.Job]
	pods      scanTable[scanstate.Pod]
	// gone are the deleted Jobs, by cluster.
	gone map[string][]scanstate.Job
}

func (o *scanObjects) empty() bool {
	return len(o.cronJobs.list)+len(o.jobs.list)+len(o.own.list)+len(o.pods.list) == 0
}

// maxGone is how many deleted Jobs are remembered for each cluster, separately for Muster's Jobs and for others.
const maxGone = scanstate.MostAgain

// rememberDeleted remembers a deleted Job while its CronJob exists. The operator deletes some Jobs within seconds of their end, and others
// before they end.
func (o *scanObjects) rememberDeleted(j scanstate.Job, at time.Time) {
	if !slices.ContainsFunc(o.cronJobs.list, func(c scanstate.CronJob) bool { return c.UID == j.Owner }) {
		return
	}
	if j.Gone = true; j.Outcome == scanstate.Active {
		j.Outcome, j.Finished = scanstate.Vanished, at
	}
	if i := slices.IndexFunc(o.pods.list, func(p scanstate.Pod) bool { return p.Job == j.Name }); i >= 0 {
		pod := o.pods.list[i]
		j.Pod = &pod
		o.pods.remove(pod.Name) // it may have been kept only for the Job
	}
	if o.gone == nil {
		o.gone = map[string][]scanstate.Job{}
	}
	o.gone[j.Cluster] = dropOldest(append(o.gone[j.Cluster], j), j.Own)
}

// dropOldest drops the oldest Job if there are more than maxGone. It keeps the latest one that ended, because that has the last result.
func dropOldest(jobs []scanstate.Job, own bool) []scanstate.Job {
	alike, latest := []int{}, -1
	for i, j := range jobs {
		if j.Own == own {
			alike = append(alike, i)
			if j.Outcome != scanstate.Vanished {
				latest = i
			}
		}
	}
	if len(alike) <= maxGone {
		return jobs
	}
	oldest := alike[0]
	if oldest == latest && !own { // after maxGone deleted Jobs, Muster creates no more
		oldest = alike[1]
	}
	return slices.Delete(jobs, oldest, oldest+1)
}

// explainsFailure reports whether a Pod has failed and its Job still exists. Pods are deleted before their Jobs, and the cause of the
// failure would be lost with the Pod.
func (o *scanObjects) explainsFailure(p scanstate.Pod) bool {
	return p.Phase == "Failed" && slices.ContainsFunc([]*scanTable[scanstate.Job]{&o.jobs, &o.own}, func(t *scanTable[scanstate.Job]) bool {
		_, exists := t.at[p.Job]
		return exists
	})
}

// updateDeleted stores a new state of the Pod of a deleted Job.
func (o *scanObjects) updateDeleted(cluster string, p scanstate.Pod) {
	for i, j := range o.gone[cluster] {
		if j.Name == p.Job {
			o.gone[cluster][i].Pod = &p
		}
	}
}

// scanTable holds objects by name, in a list that can be copied in one go. Iterating over a map of 30,000 takes ten times as long.
type scanTable[V any] struct {
	at    map[string]int // in list and names
	names []string
	list  []V
}

// put stores a value and reports whether it has changed.
func (t *scanTable[V]) put(name string, value V) bool {
	if i, known := t.at[name]; known {
		same := reflect.DeepEqual(t.list[i], value)
		t.list[i] = value
		return !same
	}
	if t.at == nil {
		t.at = map[string]int{}
	}
	t.at[name] = len(t.list)
	t.names, t.list = append(t.names, name), append(t.list, value)
	return true
}

// remove replaces the removed object with the last one.
func (t *scanTable[V]) remove(name string) {
	i, known := t.at[name]
	if !known {
		return
	}
	last := len(t.list) - 1
	t.list[i], t.names[i] = t.list[last], t.names[last]
	t.at[t.names[i]] = i
	delete(t.at, name)
	t.list, t.names = slices.Delete(t.list, last, last+1), t.names[:last]
}

// scanStore is the reflector store for one resource.
type scanStore[O client.Object, V any] struct {
	watch *ScanWatch
	name  string // of the kind
	trim  func(O) V
	in    func(*scanObjects) *scanTable[V]
	// label is the label whose value is the audit config.
	label string
	// seen and removed are called after an object was stored or removed, with the lock held; they may be nil.
	seen, removed func(*scanObjects, O, V)
	// keeps reports whether an object is kept although it was deleted; it may be nil.
	keeps func(*scanObjects, V) bool
}

// Add stores an object.
func (s *scanStore[O, V]) Add(object any) error { return s.Update(object) }

// Update stores an object.
func (s *scanStore[O, V]) Update(object any) error {
	o, ok := object.(O)
	if !ok {
		return fmt.Errorf("a %T among %s", object, s.name)
	}
	value := s.trim(o)
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	objects := s.objects(o)
	if s.in(objects).put(o.GetName(), value) {
		s.watch.notify(o.GetNamespace())
	}
	if s.seen != nil {
		s.seen(objects, o, value)
	}
	return nil
}

// Delete removes an object.
func (s *scanStore[O, V]) Delete(object any) error {
	if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	o, ok := object.(O)
	if !ok {
		return fmt.Errorf("a %T among %s", object, s.name)
	}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	objects := s.objects(o)
	if s.keeps != nil && s.keeps(objects, s.trim(o)) {
		return nil
	}
	s.in(objects).remove(o.GetName())
	if s.removed != nil {
		s.removed(objects, o, s.trim(o))
	}
	maps.DeleteFunc(s.watch.scopes, func(_ scanScope, o *scanObjects) bool { return o.empty() })
	s.watch.notify(o.GetNamespace())
	return nil
}

// Replace replaces all objects. It is called once when a watch starts. Jobs that were deleted while no watch was running aren't
// remembered; the status of their CronJob has their result.
func (s *scanStore[O, V]) Replace(list []any, _ string) error {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	for _, objects := range s.watch.scopes {
		*s.in(objects) = scanTable[V]{}
	}
	for _, object := range list {
		o, ok := object.(O)
		if !ok {
			return fmt.Errorf("a %T among %s", object, s.name)
		}
		s.in(s.objects(o)).put(o.GetName(), s.trim(o))
	}
	maps.DeleteFunc(s.watch.scopes, func(_ scanScope, o *scanObjects) bool { return o.empty() })
	s.watch.listed(s.name)
	s.watch.notify("")
	return nil
}

// objects returns the objects of the audit config that an object belongs to. The lock must be held.
func (s *scanStore[O, V]) objects(o O) *scanObjects {
	scope := scanScope{o.GetNamespace(), o.GetLabels()[s.label]}
	objects := s.watch.scopes[scope]
	if objects == nil {
		objects = &scanObjects{}
		s.watch.scopes[scope] = objects
	}
	return objects
}

// Resync does nothing.
func (s *scanStore[O, V]) Resync() error { return nil }

// Transformer trims objects during the initial list, when many are in memory at the same time.
func (s *scanStore[O, V]) Transformer() toolscache.TransformFunc { return slim }

// ingredientStore is the reflector store for the metadata of ConfigMaps or Secrets. For those that the operator creates for entries, it
// keeps when they were last changed.
type ingredientStore struct {
	watch *ScanWatch
	name  string
}

// Add records when an object was changed.
func (s *ingredientStore) Add(object any) error { return s.Update(object) }

// Update records when an object was changed.
func (s *ingredientStore) Update(object any) error {
	o, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return fmt.Errorf("a %T among %s", object, s.name)
	}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.put(o)
	return nil
}

func (s *ingredientStore) put(o *metav1.PartialObjectMetadata) {
	if !scanstate.IsIngredient(o.Name) {
		return
	}
	key, at := ingredient{s.name, o.Namespace}, scanstate.Changed(o)
	if s.watch.written[key] == nil {
		s.watch.written[key] = map[string]time.Time{}
	}
	if before := s.watch.written[key][o.Name]; !before.Equal(at) {
		s.watch.written[key][o.Name] = at
		s.watch.notify(o.Namespace)
	}
}

// Delete removes an object.
func (s *ingredientStore) Delete(object any) error {
	if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	o, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return fmt.Errorf("a %T among %s", object, s.name)
	}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	delete(s.watch.written[ingredient{s.name, o.Namespace}], o.Name)
	return nil
}

// Replace replaces all objects.
func (s *ingredientStore) Replace(list []any, _ string) error {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	maps.DeleteFunc(s.watch.written, func(i ingredient, _ map[string]time.Time) bool { return i.kind == s.name })
	for _, object := range list {
		o, ok := object.(*metav1.PartialObjectMetadata)
		if !ok {
			return fmt.Errorf("a %T among %s", object, s.name)
		}
		s.put(o)
	}
	s.watch.listed(s.name)
	s.watch.notify("")
	return nil
}

// Resync does nothing.
func (s *ingredientStore) Resync() error { return nil }

// Transformer trims objects during the initial list.
func (s *ingredientStore) Transformer() toolscache.TransformFunc { return slim }

// slim removes the large parts of an object that package scanstate doesn't read.
func slim(object any) (any, error) {
	switch o := object.(type) {
	case *batchv1.CronJob:
		o.Spec.JobTemplate = batchv1.JobTemplateSpec{}
		for i := range o.ManagedFields {
			o.ManagedFields[i].FieldsV1 = nil
		}
	case *batchv1.Job:
		o.Spec.Template, o.ManagedFields = corev1.PodTemplateSpec{}, nil
	case *corev1.Pod:
		o.ManagedFields = nil
	case *metav1.PartialObjectMetadata:
		for i := range o.ManagedFields {
			o.ManagedFields[i].FieldsV1 = nil
		}
	}
	return object, nil
}
