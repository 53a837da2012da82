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

	"github.com/muster-gitops/muster/controllers/scan"
)

// scanScope is an audit config.
type scanScope struct{ namespace, auditConfig string }

// scanObjects are those of one audit config.
type scanObjects struct {
	cronJobs scanTable[scan.CronJob]
	// jobs are those that schedules and people make, and own are Muster's.
	jobs, own scanTable[scan.Job]
	pods      scanTable[scan.Pod]
	// gone are the Jobs that were deleted, by cluster.
	gone map[string][]scan.Job
}

func (o *scanObjects) empty() bool {
	return len(o.cronJobs.list)+len(o.jobs.list)+len(o.own.list)+len(o.pods.list) == 0
}

// maxGone bounds the deleted Jobs that are remembered of a cluster, of Muster's own and of the others each.
const maxGone = scan.MostAgain

// bury remembers a Job that was deleted, as long as its CronJob is there. The operator deletes Jobs within seconds of their end,
// and others before it.
func (o *scanObjects) bury(j scan.Job, at time.Time) {
	if !slices.ContainsFunc(o.cronJobs.list, func(c scan.CronJob) bool { return c.UID == j.Owner }) {
		return
	}
	if j.Gone = true; j.Outcome == scan.Active {
		j.Outcome, j.Finished = scan.Vanished, at
	}
	if i := slices.IndexFunc(o.pods.list, func(p scan.Pod) bool { return p.Job == j.Name }); i >= 0 {
		pod := o.pods.list[i]
		j.Pod = &pod
		o.pods.remove(pod.Name) // which may have been kept for the Job alone
	}
	if o.gone == nil {
		o.gone = map[string][]scan.Job{}
	}
	o.gone[j.Cluster] = forget(append(o.gone[j.Cluster], j), j.Own)
}

// forget drops the oldest of more than maxGone Jobs, but the latest that came to an end: it says what was before those that didn't.
func forget(jobs []scan.Job, own bool) []scan.Job {
	alike, latest := []int{}, -1
	for i, j := range jobs {
		if j.Own == own {
			alike = append(alike, i)
			if j.Outcome != scan.Vanished {
				latest = i
			}
		}
	}
	if len(alike) <= maxGone {
		return jobs
	}
	oldest := alike[0]
	if oldest == latest && !own { // three lost Jobs of Muster's own are where it gives up
		oldest = alike[1]
	}
	return slices.Delete(jobs, oldest, oldest+1)
}

// failed reports whether a Pod tells why a Job has failed that is still there. Pods go before Jobs, and the cause would with them.
func (o *scanObjects) failed(p scan.Pod) bool {
	return p.Phase == "Failed" && slices.ContainsFunc([]*scanTable[scan.Job]{&o.jobs, &o.own}, func(t *scanTable[scan.Job]) bool {
		_, there := t.at[p.Job]
		return there
	})
}

// identify keeps what is seen later of the Pod of a Job that is gone.
func (o *scanObjects) identify(cluster string, p scan.Pod) {
	for i, j := range o.gone[cluster] {
		if j.Name == p.Job {
			o.gone[cluster][i].Pod = &p
		}
	}
}

// scanTable are objects by name, in a list that is copied at once: to go through a map of 30,000 takes ten times as long.
type scanTable[V any] struct {
	at    map[string]int // in list and names
	names []string
	list  []V
}

// put says whether the value is another than before.
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

// remove puts the last in the place of the one that goes.
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

// scanStore is where a reflector puts the objects of one resource.
type scanStore[O client.Object, V any] struct {
	watch *ScanWatch
	name  string // of the kind
	trim  func(O) V
	in    func(*scanObjects) *scanTable[V]
	// label has the audit config as its value.
	label string
	// seen and removed, which may be nil, come after an object was put, and after one was taken away. The lock is held.
	seen, removed func(*scanObjects, O, V)
	// keeps, which may be nil, reports whether an object is kept though it was deleted.
	keeps func(*scanObjects, V) bool
}

// Add puts an object in the place of what is there of it.
func (s *scanStore[O, V]) Add(object any) error { return s.Update(object) }

// Update is Add.
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
		s.watch.tell(o.GetNamespace())
	}
	if s.seen != nil {
		s.seen(objects, o, value)
	}
	return nil
}

// Delete forgets an object.
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
	s.watch.tell(o.GetNamespace())
	return nil
}

// Replace puts all objects in the place of all that were there. It comes once when a watch begins. Jobs that went while none was
// at work aren't remembered: what they came to is in their CronJobs.
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
	s.watch.tell("")
	return nil
}

// objects are those of the audit config that an object belongs to. The lock is held.
func (s *scanStore[O, V]) objects(o O) *scanObjects {
	scope := scanScope{o.GetNamespace(), o.GetLabels()[s.label]}
	objects := s.watch.scopes[scope]
	if objects == nil {
		objects = &scanObjects{}
		s.watch.scopes[scope] = objects
	}
	return objects
}

// Resync has nothing to do.
func (s *scanStore[O, V]) Resync() error { return nil }

// Transformer makes objects small while the first of them are gathered, which is when there are many at once.
func (s *scanStore[O, V]) Transformer() toolscache.TransformFunc { return slim }

// ingredientStore is where a reflector puts the metadata of ConfigMaps or Secrets. Of those that the operator makes for entries it
// keeps when they were last written.
type ingredientStore struct {
	watch *ScanWatch
	name  string
}

// Add notes when an object was written.
func (s *ingredientStore) Add(object any) error { return s.Update(object) }

// Update is Add.
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
	if !scan.IsIngredient(o.Name) {
		return
	}
	key, at := ingredient{s.name, o.Namespace}, scan.Changed(o)
	if s.watch.written[key] == nil {
		s.watch.written[key] = map[string]time.Time{}
	}
	if before := s.watch.written[key][o.Name]; !before.Equal(at) {
		s.watch.written[key][o.Name] = at
		s.watch.tell(o.Namespace)
	}
}

// Delete forgets an object.
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

// Replace notes all objects, and forgets all that were there.
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
	s.watch.tell("")
	return nil
}

// Resync has nothing to do.
func (s *ingredientStore) Resync() error { return nil }

// Transformer makes objects small while the first of them are gathered.
func (s *ingredientStore) Transformer() toolscache.TransformFunc { return slim }

// slim takes off an object the large parts that scan's trimming doesn't look at.
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
