package controllers

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/scan"
)

// scanScope is an audit config.
type scanScope struct{ namespace, auditConfig string }

// scanObjects are those of one audit config.
type scanObjects struct {
	cronJobs scanTable[scan.CronJob]
	jobs     scanTable[scan.Job]
	pods     scanTable[scan.Pod]
}

func (o *scanObjects) empty() bool {
	return len(o.cronJobs.list)+len(o.jobs.list)+len(o.pods.list) == 0
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
	watch    *ScanWatch
	resource string
	trim     func(O) V
	in       func(*scanObjects) *scanTable[V]
}

// Add puts an object in the place of what is there of it.
func (s *scanStore[O, V]) Add(object any) error { return s.Update(object) }

// Update is Add.
func (s *scanStore[O, V]) Update(object any) error {
	o, ok := object.(O)
	if !ok {
		return fmt.Errorf("a %T among %s", object, s.resource)
	}
	value := s.trim(o)
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	if s.objects(o).put(o.GetName(), value) {
		s.watch.tell(o.GetNamespace())
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
		return fmt.Errorf("a %T among %s", object, s.resource)
	}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.objects(o).remove(o.GetName())
	maps.DeleteFunc(s.watch.scopes, func(_ scanScope, o *scanObjects) bool { return o.empty() })
	s.watch.tell(o.GetNamespace())
	return nil
}

// Replace puts all objects in the place of all that were there. It comes once when a watch begins.
func (s *scanStore[O, V]) Replace(list []any, _ string) error {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	for _, objects := range s.watch.scopes {
		*s.in(objects) = scanTable[V]{}
	}
	for _, object := range list {
		o, ok := object.(O)
		if !ok {
			return fmt.Errorf("a %T among %s", object, s.resource)
		}
		s.objects(o).put(o.GetName(), s.trim(o))
	}
	maps.DeleteFunc(s.watch.scopes, func(_ scanScope, o *scanObjects) bool { return o.empty() })
	s.watch.synced[s.resource] = true
	delete(s.watch.missing, s.resource)
	s.watch.tell("")
	return nil
}

// objects are those of the audit config that an object belongs to. The lock is held.
func (s *scanStore[O, V]) objects(o O) *scanTable[V] {
	scope := scanScope{o.GetNamespace(), o.GetLabels()[mondoo.LabelAuditConfig]}
	objects := s.watch.scopes[scope]
	if objects == nil {
		objects = &scanObjects{}
		s.watch.scopes[scope] = objects
	}
	return s.in(objects)
}

// Resync has nothing to do.
func (s *scanStore[O, V]) Resync() error { return nil }

// Transformer makes objects small while the first of them are gathered, which is when there are many at once.
func (s *scanStore[O, V]) Transformer() toolscache.TransformFunc { return slim }

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
	}
	return object, nil
}
