package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/sources"
)

// auditConfigKind is the operator's custom resource. It is read as unstructured data, because its types belong to Mondoo.
var auditConfigKind = schema.GroupVersionKind{Group: mondoo.Group, Version: mondoo.Version, Kind: mondoo.Kind}

// plan compares the fleet with the management cluster, unless nothing has changed since there was nothing to do.
func (r *Reconciler) plan(ctx context.Context, audit *v1alpha1.AuditSync, st *state, now seen) (*plan.Plan, *report.Failure) {
	if p := st.settledPlan(audit, now); p != nil {
		return p, nil
	}
	st.settled = settled{}
	live, failure := r.live(ctx, audit, r.reader(st))
	if failure != nil {
		return nil, failure
	}
	live.Undeclared = st.unknownFields(r.Clock)
	started := r.Clock.Now()
	policy := Policy(audit, st.snapshot.Revision().Hash)
	policy.Now, policy.Scanned = started, st.scans.Scanned
	policy.Seen = r.Preflights.Seen(client.ObjectKeyFromObject(audit))
	p := plan.Compute(st.desired, live, policy)
	mask(st.redactor, p.Findings)
	maskDrift(st.redactor, p.Steps)
	p.Mismatch = st.redactor.String(p.Mismatch)
	r.Metrics.Stage(audit.Namespace, audit.Name, "plan", r.Clock.Since(started))
	st.settle(p, live, now)
	return p, nil
}

// maskDrift removes secrets from the authors of drift. Any client can choose the name of its field manager.
func maskDrift(redactor *redact.Redactor, steps []plan.Step) {
	for i := range steps {
		for j := range steps[i].ChangedBy {
			author := &steps[i].ChangedBy[j]
			author.Manager = redactor.String(author.Manager)
		}
	}
}

// Policy returns the planning policy of an AuditSync for a revision. A nil AuditSync means that all settings have their defaults.
func Policy(sync *v1alpha1.AuditSync, revision string) plan.Policy {
	p := plan.Policy{Revision: revision, Prune: true, MaxRemovals: plan.DefaultMaxRemovals, Foreign: plan.KeepForeign, CorrectDrift: true, ScanChanged: true}
	if sync == nil {
		return p
	}
	p.Approved = sync.Annotations[inventory.ApproveAnnotation]
	p.ScanChanged = sync.Spec.ScanOnChange.On()
	p.CorrectDrift = sync.Spec.Drift != v1alpha1.DriftReport
	if sync.Spec.ForeignClusters != "" {
		p.Foreign = plan.Foreign(sync.Spec.ForeignClusters)
	}
	if sync.Spec.Prune.Enabled != nil {
		p.Prune = *sync.Spec.Prune.Enabled
	}
	if sync.Spec.Prune.MaxRemovals != nil {
		p.MaxRemovals = sync.Spec.Prune.MaxRemovals.String()
	}
	return p
}

// reader returns the cached client or, once after a conflict, the uncached one: a conflict means that the caches are behind.
func (r *Reconciler) reader(st *state) client.Reader {
	if !st.conflict {
		return r.Client
	}
	st.conflict = false
	return r.Live
}

// live reads the live objects of the namespace.
func (r *Reconciler) live(ctx context.Context, audit *v1alpha1.AuditSync, from client.Reader) (plan.Live, *report.Failure) {
	configs, failure := r.existing(ctx, audit, from)
	deleting := !audit.DeletionTimestamp.IsZero()
	if failure != nil && (!deleting || failure.Reason != reasonOperatorMissing) {
		return plan.Live{}, failure // a deletion needs no audit configs if the operator's CRD is gone
	}
	live := plan.Live{AuditConfigs: configs, EverySecret: true, Syncs: map[string]bool{}}
	var secrets corev1.SecretList
	var configMaps corev1.ConfigMapList
	var syncs v1alpha1.AuditSyncList
	for _, list := range []client.ObjectList{&secrets, &syncs} {
		if err := listAll(ctx, from, list, audit.Namespace); err != nil {
			return live, classifyRead(err)
		}
	}
	if err := listAll(ctx, from, &configMaps, audit.Namespace, client.HasLabels{inventory.Label}); err != nil {
		return live, classifyRead(err)
	}
	live.Secrets = make(map[string]plan.LiveSecret, len(secrets.Items))
	for i := range secrets.Items {
		s := &secrets.Items[i]
		live.Secrets[s.Name] = plan.LiveSecret{Version: versionOf(s), Type: string(s.Type), Labels: s.Labels, Annotations: s.Annotations, Data: s.Data, Immutable: s.Immutable != nil && *s.Immutable,
			ManagedFields: s.ManagedFields}
	}
	for i := range syncs.Items {
		live.Syncs[syncs.Items[i].Name] = true
		Reserve(&live, &syncs.Items[i])
	}
	for i, stored := range r.inventories.decode(audit.Namespace, configMaps.Items) {
		c, err := &configMaps.Items[i], stored.err
		if err != nil && (deleting || c.Labels[fleet.LabelSync] != audit.Name) {
			continue // it can't be used to remove anything, and it must not block the deletion
		}
		if err != nil {
			return live, &report.Failure{Class: report.Rejected, Reason: "InventoryDamaged",
				Message: fmt.Sprintf("ConfigMap %s, the inventory of what Muster applied, can't be read: %v; restore it from a backup, or delete it so that all live entries count as foreign", c.Name, err)}
		}
		live.Inventories = append(live.Inventories, stored.inventory)
	}
	return live, nil
}

// Allowed returns what an AuditSync allows its repository. Syncs are all AuditSyncs of its namespace; the repository must not use the
// Secrets of any of them.
func Allowed(audit *v1alpha1.AuditSync, syncs []v1alpha1.AuditSync) policy.Policy {
	p := policy.Policy{Source: syncPrefix + audit.Name, VaultAddresses: audit.Spec.VaultAuth.Addresses, Allow: audit.Spec.AuditConfigs.Allow,
		Credentials: sources.Allowed(audit.Spec.CredentialSources), Reserved: map[string]string{}}
	for i := range syncs {
		reserve(p.Reserved, &syncs[i])
	}
	reserve(p.Reserved, audit)
	return p
}

const syncPrefix = "the AuditSync "

// Reserve adds the Secrets that an AuditSync itself uses.
func Reserve(live *plan.Live, audit *v1alpha1.AuditSync) {
	if live.Reserved == nil {
		live.Reserved = map[string]string{}
	}
	reserve(live.Reserved, audit)
}

// reserve adds the Secrets that an AuditSync itself uses: keys and credentials, which no repository may replace or read.
func reserve(reserved map[string]string, audit *v1alpha1.AuditSync) {
	note := func(ref *v1alpha1.SecretRef) {
		if ref != nil {
			reserved[ref.Name] = syncPrefix + audit.Name
		}
	}
	note(audit.Spec.Source.SecretRef)
	if audit.Spec.Source.Verify != nil {
		note(&audit.Spec.Source.Verify.SecretRef)
	}
	if audit.Spec.Decryption != nil {
		note(&audit.Spec.Decryption.SecretRef)
	}
	if audit.Spec.Webhook != nil {
		note(&audit.Spec.Webhook.SecretRef)
	}
	if audit.Spec.Forge != nil {
		note(&audit.Spec.Forge.SecretRef)
	}
	for _, ref := range audit.Spec.CredentialSources.SecretRefs() {
		note(&ref)
	}
}

// list lists from the cache.
func (r *Reconciler) list(ctx context.Context, list client.ObjectList, namespace string, opts ...client.ListOption) error {
	return listAll(ctx, r.Client, list, namespace, opts...)
}

// listAll lists without copying objects from the cache. Callers must not modify them.
func listAll(ctx context.Context, from client.Reader, list client.ObjectList, namespace string, opts ...client.ListOption) error {
	return from.List(ctx, list, append(opts, client.InNamespace(namespace), client.UnsafeDisableDeepCopy)...)
}

// versionOf returns the version of an object for a plan.
func versionOf(o client.Object) plan.Version {
	return plan.Version{UID: string(o.GetUID()), ResourceVersion: o.GetResourceVersion()}
}

// reasonOperatorMissing is the reason of failures without the operator's CRD.
const reasonOperatorMissing = "OperatorMissing"

// classifyRead returns the failure for an error from the management cluster.
func classifyRead(err error) *report.Failure {
	if meta.IsNoMatchError(err) {
		return &report.Failure{Class: report.Waiting, Reason: reasonOperatorMissing,
			Message: "this cluster has no MondooAuditConfig resource; install the Mondoo Operator"}
	}
	return &report.Failure{Class: report.Failed, Reason: "ReadFailed", Message: "read the management cluster: " + err.Error()}
}
