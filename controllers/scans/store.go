package scans

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

// scope identifies an audit config, or what all audit configs of a namespace share.
type scope struct{ namespace, auditConfig string }

// labelled returns the scope of objects that name their audit config in a label.
func labelled(label string) func(client.Object) (scope, bool) {
	return func(o client.Object) (scope, bool) { return scope{o.GetNamespace(), o.GetLabels()[label]}, true }
}

// ingredients returns the scope of the ConfigMaps and Secrets that the operator creates for entries. It reports false for others.
func ingredients(o client.Object) (scope, bool) {
	return scope{namespace: o.GetNamespace()}, scanstate.IsIngredient(o.GetName())
}

// objects are the watched objects of a scope.
type objects struct {
	cronJobs table[scanstate.CronJob]
	// jobs are the Jobs from schedules and users, and own are Muster's Jobs.
	jobs, own table[scanstate.Job]
	pods      table[scanstate.Pod]
	// gone are the deleted Jobs, by cluster.
	gone map[string][]scanstate.Job
	// configMaps and secrets are when the operator's ConfigMaps and Secrets for entries last changed.
	configMaps, secrets table[time.Time]
}

func (o *objects) empty() bool {
	return len(o.cronJobs.list)+len(o.jobs.list)+len(o.own.list)+len(o.pods.list)+len(o.configMaps.list)+len(o.secrets.list) == 0
}

// observed returns the live objects of an audit config.
func (s *Observer) observed(namespace, auditConfig string) scanstate.Observed {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := s.scopes[scope{namespace, auditConfig}]
	if live == nil {
		return scanstate.Observed{}
	}
	o := scanstate.Observed{CronJobs: slices.Clone(live.cronJobs.list), Jobs: slices.Concat(live.jobs.list, live.own.list), Pods: slices.Clone(live.pods.list),
		Written: map[string]time.Time{}}
	for _, jobs := range live.gone {
		o.Jobs = append(o.Jobs, jobs...)
	}
	if shared := s.scopes[scope{namespace: namespace}]; shared != nil {
		for _, t := range []*table[time.Time]{&shared.configMaps, &shared.secrets} {
			for i, name := range t.names {
				o.Written[name] = t.list[i]
			}
		}
	}
	return o
}

// table holds objects by name, in a list that can be copied in one go. Iterating over a map of 30,000 takes ten times as long.
type table[V any] struct {
	at    map[string]int // in list and names
	names []string
	list  []V
}

// put stores a value and reports whether it has changed.
func (t *table[V]) put(name string, value V) bool {
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
func (t *table[V]) remove(name string) {
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

// store is the reflector's store for one kind. It trims objects as they arrive.
type store[O client.Object, V any] struct {
	kind *kind
	trim func(O) V
	// scope returns what an object belongs to, and reports whether it is needed.
	scope func(client.Object) (scope, bool)
	in    func(*objects) *table[V]
	// seen and removed are called after an object was stored or removed, with the lock held; they may be nil.
	seen, removed func(*objects, O, V)
	// keeps reports whether an object is kept although it was deleted; it may be nil.
	keeps func(*objects, V) bool
}

// Add stores an object.
func (s *store[O, V]) Add(object any) error { return s.Update(object) }

// Update stores an object.
func (s *store[O, V]) Update(object any) error {
	return s.change(object, func(live *objects, o O, value V) (changed bool) {
		changed = s.in(live).put(o.GetName(), value)
		if s.seen != nil {
			s.seen(live, o, value)
		}
		return changed
	})
}

// Delete removes an object.
func (s *store[O, V]) Delete(object any) error {
	return s.change(object, func(live *objects, o O, value V) (changed bool) {
		if s.keeps != nil && s.keeps(live, value) {
			return false
		}
		s.in(live).remove(o.GetName())
		if s.removed != nil {
			s.removed(live, o, value)
		}
		return true
	})
}

// change has apply change the objects of an object's scope, if the object is needed. Apply is called with the lock held.
func (s *store[O, V]) change(object any, apply func(live *objects, o O, value V) (changed bool)) error {
	o, err := s.typed(object)
	if err != nil {
		return err
	}
	at, needed := s.scope(o)
	if !needed {
		return nil
	}
	value, observer := s.trim(o), s.kind.observer
	observer.mu.Lock()
	defer observer.mu.Unlock()
	live := observer.in(at)
	if apply(live, o, value) {
		observer.note(at.namespace)
	}
	if live.empty() {
		delete(observer.scopes, at)
	}
	return nil
}

// Replace replaces all objects. It is called once when a watch starts. Jobs that were deleted while no watch was running aren't
// remembered; the status of their CronJob has their result.
func (s *store[O, V]) Replace(list []any, _ string) error {
	observer := s.kind.observer
	observer.mu.Lock()
	defer observer.mu.Unlock()
	for _, live := range observer.scopes {
		*s.in(live) = table[V]{}
	}
	for _, object := range list {
		o, err := s.typed(object)
		if err != nil {
			return err
		}
		if at, needed := s.scope(o); needed {
			s.in(observer.in(at)).put(o.GetName(), s.trim(o))
		}
	}
	maps.DeleteFunc(observer.scopes, func(_ scope, live *objects) bool { return live.empty() })
	s.kind.synced, s.kind.refused = true, false
	observer.note("")
	return nil
}

// Resync does nothing.
func (s *store[O, V]) Resync() error { return nil }

// Transformer trims objects during the initial list, when many are in memory at the same time.
func (s *store[O, V]) Transformer() toolscache.TransformFunc { return slim }

func (s *store[O, V]) typed(object any) (O, error) {
	o, ok := object.(O)
	if !ok {
		return o, fmt.Errorf("a %T among %s", object, s.kind.resource)
	}
	return o, nil
}

// in returns the objects of a scope. The lock must be held.
func (s *Observer) in(at scope) *objects {
	live := s.scopes[at]
	if live == nil {
		live = &objects{}
		s.scopes[at] = live
	}
	return live
}

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
