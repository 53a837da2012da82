package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// apply carries out a plan.
func (r *Reconciler) apply(ctx context.Context, audit *v1alpha1.AuditSync, st *state, p *plan.Plan) *report.Failure {
	started := r.Clock.Now()
	defer func() { r.Metrics.Stage(audit.Namespace, audit.Name, "apply", r.Clock.Since(started)) }()
	c := r.Client
	if name := audit.Spec.ServiceAccountName; name != "" {
		var err error
		if c, err = r.As(audit.Namespace, name); err != nil {
			return &report.Failure{Class: report.Failed, Reason: "ApplyFailed", Message: st.redactor.String(err.Error())}
		}
	}
	a := applier{objects: c, own: r.Client, namespace: audit.Namespace}
	st.learned = false
	if err := a.run(ctx, p); err != nil {
		st.learned = st.learn(err, r.Clock.Now())
		return classifyApply(err, st)
	}
	return nil
}

// applier writes what a plan says, in an order that leaves nothing behind when it is cut off between any two writes: what is
// about to be applied is first noted in the inventories; Secrets come before the entries that name them, and go after.
type applier struct {
	// objects writes in the name that the AuditSync asks for, own in Muster's.
	objects, own client.Client
	namespace    string
	// written are the versions of inventories that this run has written, by name.
	written map[string]plan.Version
}

// run carries out as much of the plan as it can. One object that is refused holds up what depends on it and nothing else.
func (a applier) run(ctx context.Context, p *plan.Plan) error {
	a.written = map[string]plan.Version{}
	for _, inventory := range p.Before {
		if err := a.inventory(ctx, inventory); err != nil {
			return err
		}
	}
	var failed []error
	missing := map[string]bool{}
	for i, err := range each(ctx, p.Secrets, a.secret) {
		if err != nil {
			failed, missing[p.Secrets[i].Name] = append(failed, err), true
		}
	}
	failed = append(failed, a.configs(ctx, p.Configs, missing)...)
	if len(failed) > 0 || ctx.Err() != nil {
		// Entries that could not be taken out may still need the Secrets, and the inventories know of everything.
		return errors.Join(append(failed, ctx.Err())...)
	}
	if err := a.remove(ctx, p.Delete); err != nil {
		return err
	}
	for _, inventory := range p.After {
		if err := a.inventory(ctx, inventory); err != nil {
			return err
		}
	}
	return nil
}

// writers is how many Secrets are written at a time. The API server's priority and fairness lets a few requests of one client
// run side by side and has the others wait; more would only wait there.
const writers = 8

// errNotTried stands for a write that was not tried, since none would have been answered.
var errNotTried = errors.New("not tried, for the API server does not answer")

// each writes all of a list, several at a time, and returns what became of each. What is refused holds up nothing else; when
// there is no answer at all, the rest isn't tried.
func each[T any](ctx context.Context, list []T, write func(context.Context, T) error) []error {
	errs := make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(writers)
	var silent atomic.Bool
	for i, item := range list {
		if silent.Load() || ctx.Err() != nil {
			errs[i] = errNotTried
			continue
		}
		group.Go(func() error {
			errs[i] = write(ctx, item)
			var answer apierrors.APIStatus
			if errs[i] != nil && !errors.As(errs[i], &answer) {
				silent.Store(true)
			}
			return nil
		})
	}
	_ = group.Wait() // each error is in errs
	return errs
}

func (a applier) secret(ctx context.Context, s plan.SecretWrite) error {
	data := make(map[string][]byte, len(s.Data))
	for key, value := range s.Data {
		data[key] = []byte(value)
	}
	version := precondition(s.Version)
	config := applycorev1.Secret(s.Name, a.namespace).WithResourceVersion(version.ResourceVersion).WithType(corev1.SecretType(s.Type)).
		WithLabels(s.Labels).WithAnnotations(s.Annotations).WithData(data)
	if version.UID != "" {
		config.WithUID(types.UID(version.UID))
	}
	if s.Immutable {
		config.WithImmutable(true)
	}
	if err := a.objects.Apply(ctx, config, client.FieldOwner(FieldManager), client.ForceOwnership); err != nil {
		return &ApplyError{Kind: "Secret", Name: s.Name, Err: err}
	}
	return nil
}

// absent is the resourceVersion of no object: the first that etcd gives out is higher. An apply that carries it creates an object, or meets
// a conflict when one has appeared that the plan knows nothing of. A plain create would leave the fields with a manager from whom no later
// apply takes them back.
const absent = "1"

// precondition is what a write carries, so that it changes the object that was planned for and no other.
func precondition(seen plan.Version) plan.Version {
	if seen.ResourceVersion == "" {
		seen.ResourceVersion = absent
	}
	return seen
}

// configs writes the audit configs, but for what needs the missing Secrets. One that clusters move to comes before the one that they
// leave, and they leave only if they have arrived: otherwise nobody would scan them until somebody mends what was refused. Where clusters
// move both ways, one audit config comes first, keeps what leaves it, and is written once more.
func (a applier) configs(ctx context.Context, configs []plan.ConfigWrite, missing map[string]bool) []error {
	m := moves{applier: a, missing: missing, waiting: map[string]plan.ConfigWrite{}, writing: map[string]bool{}, stuck: map[string]map[string]bool{}}
	for _, c := range configs {
		m.waiting[c.Name] = c
	}
	for _, c := range configs {
		m.write(ctx, c.Name)
	}
	for _, c := range m.again {
		m.put(ctx, c)
	}
	return m.failed
}

// moves are audit configs on their way, by name.
type moves struct {
	applier
	missing map[string]bool
	waiting map[string]plan.ConfigWrite
	writing map[string]bool
	// stuck are the clusters that have not arrived; the one without a name stands for all.
	stuck  map[string]map[string]bool
	again  []plan.ConfigWrite
	failed []error
}

// write writes an audit config after those that clusters move to from it.
func (m *moves) write(ctx context.Context, name string) {
	config, there := m.waiting[name]
	if !there {
		return
	}
	delete(m.waiting, name)
	m.writing[name] = true
	m.stuck[name] = config.Held(m.missing)
	mutual := false
	for _, target := range config.Leaving() {
		m.write(ctx, target)
		mutual = mutual || m.writing[target]
	}
	if version, written := m.put(ctx, config); written && mutual {
		config.Version = version
		m.again = append(m.again, config)
	}
	delete(m.writing, name)
}

// put writes an audit config with the clusters that have not arrived where they move to.
func (m *moves) put(ctx context.Context, config plan.ConfigWrite) (version plan.Version, written bool) {
	held := config.Held(m.missing)
	for cluster, target := range config.Leaving() {
		if m.writing[target] || m.stuck[target][cluster] || m.stuck[target][""] {
			held[cluster] = true
		}
	}
	now, err := config.Without(held)
	if err == nil {
		version, err = m.config(ctx, now)
	}
	if err != nil {
		m.stuck[config.Name][""] = true
		m.failed = append(m.failed, err)
	}
	return version, err == nil
}

// config writes an audit config, and returns the version that it has then.
func (a applier) config(ctx context.Context, c plan.ConfigWrite) (plan.Version, error) {
	object, err := jsonObject(c.Object)
	if err != nil {
		return plan.Version{}, &ApplyError{Kind: plan.KindAuditConfig, Name: c.Name, Err: err}
	}
	// The list is one field: without this, an entry that somebody adds at this moment would be lost.
	version := precondition(c.Version)
	object.SetUID(types.UID(version.UID))
	object.SetResourceVersion(version.ResourceVersion)
	manager := client.FieldOwner(FieldManager)
	if c.ListOnly {
		manager = ListManager
	}
	err = a.objects.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), manager, client.ForceOwnership)
	if err != nil {
		return plan.Version{}, &ApplyError{Kind: plan.KindAuditConfig, Name: c.Name, Err: err}
	}
	return versionOf(object), nil
}

// jsonObject gives numbers the types that the API machinery wants.
func jsonObject(object map[string]any) (*unstructured.Unstructured, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	return u, u.UnmarshalJSON(data)
}

func (a applier) remove(ctx context.Context, d plan.Deletions) error {
	var failed []error
	for _, gone := range d.AuditConfigs {
		config := &unstructured.Unstructured{}
		config.SetGroupVersionKind(auditConfigKind)
		config.SetNamespace(a.namespace)
		config.SetName(gone.Name)
		if err := client.IgnoreNotFound(a.objects.Delete(ctx, config, only(gone.Version))); err != nil {
			failed = append(failed, &ApplyError{Kind: plan.KindAuditConfig, Name: gone.Name, Err: err})
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...) // entries of what is still there may need the Secrets
	}
	return errors.Join(each(ctx, d.Secrets, a.removeSecret)...)
}

func (a applier) removeSecret(ctx context.Context, gone plan.Deletion) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: gone.Name}}
	if err := client.IgnoreNotFound(a.objects.Delete(ctx, secret, only(gone.Version))); err != nil {
		return &ApplyError{Kind: "Secret", Name: gone.Name, Err: err}
	}
	return nil
}

// only keeps a deletion to the version that was seen.
func only(seen plan.Version) client.Preconditions {
	uid := types.UID(seen.UID)
	return client.Preconditions{UID: &uid, ResourceVersion: &seen.ResourceVersion}
}

// inventory writes an inventory, or deletes an empty one. One that is written twice in a run has its first version then.
func (a applier) inventory(ctx context.Context, i *plan.Inventory) error {
	name, now := plan.InventoryName(i.Sync, i.AuditConfig), *i
	if written, found := a.written[name]; found {
		now.Version = written
	}
	if i.Empty() {
		if now.Version == (plan.Version{}) {
			return nil
		}
		config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: name}}
		if err := client.IgnoreNotFound(a.own.Delete(ctx, config, only(now.Version))); err != nil {
			return &ApplyError{Kind: "ConfigMap", Name: name, Err: err}
		}
		return nil
	}
	config, err := inventoryConfig(a.namespace, &now)
	if err != nil {
		return err
	}
	if err := a.own.Apply(ctx, config, client.FieldOwner(FieldManager), client.ForceOwnership); err != nil {
		return &ApplyError{Kind: "ConfigMap", Name: name, Err: err, Appeared: now.Version == plan.Version{}}
	}
	if config.UID != nil && config.ResourceVersion != nil {
		a.written[name] = plan.Version{UID: string(*config.UID), ResourceVersion: *config.ResourceVersion}
	}
	return nil
}

// inventoryConfig is the ConfigMap that holds an inventory, of the version from which that was read.
func inventoryConfig(namespace string, i *plan.Inventory) (*applycorev1.ConfigMapApplyConfiguration, error) {
	data, err := i.Encode()
	if err != nil {
		return nil, err
	}
	version := precondition(i.Version)
	config := applycorev1.ConfigMap(plan.InventoryName(i.Sync, i.AuditConfig), namespace).WithResourceVersion(version.ResourceVersion)
	if version.UID != "" {
		config.WithUID(types.UID(version.UID))
	}
	return config.
		WithLabels(map[string]string{plan.LabelInventory: "true", fleet.LabelSync: i.Sync}).
		WithBinaryData(map[string][]byte{plan.InventoryKey: data}), nil
}

// ApplyError says which object could not be written.
type ApplyError struct {
	Kind, Name string
	Err        error
	// Appeared says that there is an inventory's ConfigMap which the plan knows nothing of.
	Appeared bool
}

func (e *ApplyError) Error() string {
	if e.Appeared && apierrors.IsConflict(e.Err) {
		return fmt.Sprintf("there is a ConfigMap %s that Muster doesn't know as its inventory; give it the label %s=true if it is one, or else delete it", e.Name, plan.LabelInventory)
	}
	return fmt.Sprintf("apply %s %s: %v", e.Kind, e.Name, e.Err)
}

func (e *ApplyError) Unwrap() error { return e.Err }

// classifyApply names a failed write. A conflict is somebody else's change, seen in time; the next attempt takes it in.
func classifyApply(err error, st *state) *report.Failure {
	f := &report.Failure{Class: report.Failed, Reason: "ApplyFailed", Message: st.redactor.String(firstOf(err))}
	st.conflict = conflict(err) || st.learned // the caches may not have seen yet what was written beside
	var unknown *ApplyError
	switch {
	case st.conflict && errors.As(err, &unknown) && unknown.Appeared:
		f.Reason = "InventoryUnknown"
	case apierrors.IsConflict(err):
		f.Reason = report.ReasonConflict
	case apierrors.IsForbidden(err):
		f.Reason = "Forbidden"
	case apierrors.IsInvalid(err):
		f.Reason = "Invalid"
	}
	return f
}

// conflict reports whether any of joined errors is a conflict.
func conflict(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return slices.ContainsFunc(joined.Unwrap(), conflict)
	}
	return apierrors.IsConflict(err)
}

// firstOf is the first of joined errors, with how many there are besides: in one line, however many writes have failed.
func firstOf(err error) string {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err.Error()
	}
	list := joined.Unwrap()
	text := firstOf(list[0])
	if len(list) > 1 {
		text += fmt.Sprintf("; and %d more that could not be written", len(list)-1)
	}
	return text
}
