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
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// apply applies a plan.
func (r *Reconciler) apply(ctx context.Context, audit *v1alpha1.AuditSync, st *state, p *plan.Plan) *report.Failure {
	started := r.Clock.Now()
	defer func() { r.Metrics.Stage(audit.Namespace, audit.Name, "apply", r.Clock.Since(started)) }()
	c, err := r.writer(audit)
	if err != nil {
		return &report.Failure{Class: report.Failed, Reason: "ApplyFailed", Message: st.redactor.String(err.Error())}
	}
	a := applier{objects: c, own: r.Client, namespace: audit.Namespace}
	st.learned = false
	if err := a.run(ctx, p); err != nil {
		st.learned = st.learn(err, r.Clock.Now())
		return classifyApply(err, st)
	}
	return nil
}

// writer returns the client that writes the objects of an AuditSync.
func (r *Reconciler) writer(audit *v1alpha1.AuditSync) (client.Client, error) {
	if name := audit.Spec.ServiceAccountName; name != "" {
		return r.As(audit.Namespace, name)
	}
	return r.Client, nil
}

// applier applies plans. Its order of writes leaves no orphans if it is interrupted between any two of them: objects are added to an
// inventory before they are applied, and Secrets are written before, and deleted after, the entries that name them.
type applier struct {
	// objects writes as the AuditSync's ServiceAccount, own as Muster.
	objects, own client.Client
	namespace    string
	// written are the versions of the inventories that this run has written, by name.
	written map[string]plan.Version
}

// run applies as much of the plan as it can. A rejected object blocks only what depends on it.
func (a applier) run(ctx context.Context, p *plan.Plan) error {
	a.written = map[string]plan.Version{}
	for _, inv := range p.Before {
		if err := a.inventory(ctx, inv); err != nil {
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
		// Delete nothing: entries that were not removed may still need the Secrets. The inventories list everything.
		return errors.Join(append(failed, ctx.Err())...)
	}
	if err := a.remove(ctx, p.Delete); err != nil {
		return err
	}
	for _, inv := range p.After {
		if err := a.inventory(ctx, inv); err != nil {
			return err
		}
	}
	return nil
}

// writers is how many Secrets are written concurrently. The API server's priority and fairness executes only a few requests of one
// client at the same time and queues the others, so more writers would gain nothing.
const writers = 8

// errNotTried is the error of a write that was not attempted because the API server did not respond to an earlier one.
var errNotTried = errors.New("not attempted because the API server does not respond")

// each writes all items of a list concurrently, and returns the error of each. A rejected item doesn't stop the others. If the API
// server doesn't respond at all, the remaining items are not attempted.
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

// absent is a resourceVersion that no object has, because etcd starts higher. An apply with it creates the object, or fails with a
// conflict if the object exists although the plan did not see it. A plain create would make another manager own the fields, and a later
// apply could not remove them.
const absent = "1"

// precondition returns the version for a write, so that the write only changes the object that was planned for.
func precondition(seen plan.Version) plan.Version {
	if seen.ResourceVersion == "" {
		seen.ResourceVersion = absent
	}
	return seen
}

// configs writes the audit configs without the entries that need missing Secrets.
//
// If clusters move, their new audit config is written before the old one, and they are removed from the old one only if that succeeded.
// Otherwise they would not be scanned until the rejected write is fixed. If clusters move both ways, one of the two is written first
// with its leaving clusters still in it, and then written again.
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

// moves is the state of writing audit configs that clusters move between, by name of the audit config.
type moves struct {
	applier
	missing map[string]bool
	waiting map[string]plan.ConfigWrite
	writing map[string]bool
	// stuck are the clusters that were not written to their new audit config; the empty name means all.
	stuck  map[string]map[string]bool
	again  []plan.ConfigWrite
	failed []error
}

// write writes an audit config after those that its clusters move to.
func (m *moves) write(ctx context.Context, name string) {
	config, found := m.waiting[name]
	if !found {
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

// put writes an audit config. It keeps the clusters that are not yet in their new audit config.
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

// config writes an audit config, and returns its new version.
func (a applier) config(ctx context.Context, c plan.ConfigWrite) (plan.Version, error) {
	object, err := jsonObject(c.Object)
	if err != nil {
		return plan.Version{}, &ApplyError{Kind: plan.KindAuditConfig, Name: c.Name, Err: err}
	}
	// The list of entries is one field. Without a precondition, an entry that another client adds at this moment would be lost.
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

// jsonObject converts numbers to the types that the API machinery expects.
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
		return errors.Join(failed...) // entries of audit configs that still exist may need the Secrets
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

// only limits a deletion to the version that was seen.
func only(seen plan.Version) client.Preconditions {
	uid := types.UID(seen.UID)
	return client.Preconditions{UID: &uid, ResourceVersion: &seen.ResourceVersion}
}

// inventory writes an inventory, or deletes an empty one. The second write of a run uses the version from the first.
func (a applier) inventory(ctx context.Context, i *inventory.Inventory) error {
	name, now := inventory.ConfigMapName(i.Sync, i.AuditConfig), *i
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

// inventoryConfig returns the ConfigMap for an inventory, with the version that the inventory was read from.
func inventoryConfig(namespace string, i *inventory.Inventory) (*applycorev1.ConfigMapApplyConfiguration, error) {
	data, err := i.Encode()
	if err != nil {
		return nil, err
	}
	version := precondition(i.Version)
	config := applycorev1.ConfigMap(inventory.ConfigMapName(i.Sync, i.AuditConfig), namespace).WithResourceVersion(version.ResourceVersion)
	if version.UID != "" {
		config.WithUID(types.UID(version.UID))
	}
	return config.
		WithLabels(map[string]string{inventory.Label: "true", fleet.LabelSync: i.Sync}).
		WithBinaryData(map[string][]byte{inventory.DataKey: data}), nil
}

// ApplyError is a failed write of an object.
type ApplyError struct {
	Kind, Name string
	Err        error
	// Appeared is true for an inventory's ConfigMap that the plan expected not to exist.
	Appeared bool
}

func (e *ApplyError) Error() string {
	if e.Appeared && apierrors.IsConflict(e.Err) {
		return fmt.Sprintf("ConfigMap %s exists, but is not labelled as an inventory; label it %s=true if it is one, or delete it", e.Name, inventory.Label)
	}
	return fmt.Sprintf("apply %s %s: %v", e.Kind, e.Name, e.Err)
}

func (e *ApplyError) Unwrap() error { return e.Err }

// classifyApply returns the reason of a failed write. A conflict means that another client changed the object first; the next attempt
// reads it again.
func classifyApply(err error, st *state) *report.Failure {
	f := &report.Failure{Class: report.Failed, Reason: "ApplyFailed", Message: st.redactor.String(firstOf(err))}
	st.conflict = conflict(err) || st.learned // the caches may not show the other writes yet
	var failed *ApplyError
	switch {
	case st.conflict && errors.As(err, &failed) && failed.Appeared:
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

// conflict reports whether any of the joined errors is a conflict.
func conflict(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return slices.ContainsFunc(joined.Unwrap(), conflict)
	}
	return apierrors.IsConflict(err)
}

// firstOf returns the first of joined errors and the number of the others, in one line.
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
