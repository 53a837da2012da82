package controllers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/unseal"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// renderKey identifies all inputs of a fleet. Equal keys mean equal fleets.
type renderKey struct {
	commit, path, auditConfig string
	// keys is the version of the decryption Secret, and of the policy for key services.
	keys string
	// existing is what rendering reads from existing audit configs.
	existing string
	// podSecurity is the Pod Security level that the namespace enforces. It is read before each render and when a sync is requested.
	podSecurity string
	// policy identifies what the AuditSync allows.
	policy string
	// day is an input because a fleet is opened again each day: keys may have been revoked.
	day time.Time
}

// upToDate reports whether the fleet is the one for these inputs, and its findings have not changed by themselves.
func (st *state) upToDate(key renderKey, now time.Time) bool {
	return st.fleet != nil && st.rendered == key && !st.fleet.Due(now)
}

// render renders the fleet of the current snapshot, unless that has been done.
func (r *Reconciler) render(ctx context.Context, audit *v1alpha1.AuditSync, st *state) *report.Failure {
	secrets, failure := r.open(ctx, audit, st)
	if failure != nil {
		return failure
	}
	existing, failure := r.existing(ctx, audit, r.Client)
	if failure != nil {
		return failure
	}
	var syncs v1alpha1.AuditSyncList
	if err := r.list(ctx, &syncs, audit.Namespace); err != nil {
		return classifyRead(err)
	}
	allowed := Allowed(audit, syncs.Items)
	key := renderKey{commit: st.snapshot.Revision().Hash, path: audit.Spec.Path, auditConfig: audit.Spec.AuditConfig, keys: st.keys,
		existing: inherited(existing), podSecurity: st.rendered.podSecurity, policy: allowed.Key(), day: r.Clock.Now().UTC().Truncate(24 * time.Hour)}
	if st.fleet == nil || st.rendered != key || syncRequested(audit) {
		key.podSecurity = r.podSecurity(ctx, audit.Namespace)
	}
	if st.upToDate(key, r.Clock.Now()) {
		return nil
	}
	if r.renders != nil {
		// Rendering needs CPU and memory, so only some AuditSyncs render at the same time. Those that wait for a server, in a fetch,
		// don't count.
		if err := r.renders.Acquire(ctx, 1); err != nil {
			return r.classifyRender(err, st)
		}
		defer r.renders.Release(1)
	}
	started := r.Clock.Now()
	defer func() { r.Metrics.Stage(audit.Namespace, audit.Name, "render", r.Clock.Since(started)) }()
	st.conceal(st.credentials...)
	st.conceal(secrets...)
	sealed, err := st.pipeline.Compile(ctx, clusters.Source{FS: st.snapshot.FS(), Path: audit.Spec.Path},
		compile.Options{Namespace: audit.Namespace, Sync: audit.Name, AuditConfig: audit.Spec.AuditConfig, Existing: existing,
			PodSecurity: key.podSecurity, Policy: allowed}, st.opener)
	if err != nil {
		return r.classifyRender(err, st)
	}
	fleet, err := st.pipeline.Open(ctx, sealed, st.opener, st.redactor, r.Clock.Now())
	if err != nil {
		return r.classifyRender(err, st)
	}
	if fleet != st.fleet { // the pipeline returns the same fleet for a commit that changes nothing
		mask(st.redactor, fleet.Findings)
	}
	st.renders++
	st.concealed = nil
	st.conceal(st.credentials...)
	st.conceal(secrets...)
	st.redactor.Keep(func(owner string) bool { return !strings.HasPrefix(owner, accessPrefix) || owner == st.accessOwner() })
	if st.fleet, st.rendered = fleet, key; fleet.Provisional {
		st.rendered = renderKey{} // the next sync renders again
	}
	return nil
}

// PodSecurityLabel is the namespace label with the enforced Pod Security level
// (https://kubernetes.io/docs/concepts/security/pod-security-admission/).
const PodSecurityLabel = "pod-security.kubernetes.io/enforce"

// podSecurity reads the Pod Security level that a namespace enforces. Only one warning depends on it, so a failed read doesn't fail
// the sync.
func (r *Reconciler) podSecurity(ctx context.Context, namespace string) string {
	object := &corev1.Namespace{}
	if err := r.Live.Get(ctx, client.ObjectKey{Name: namespace}, object); err != nil {
		log.FromContext(ctx).V(1).Info("can't read the namespace, so its Pod Security level is unknown", "error", err.Error())
	}
	return object.Labels[PodSecurityLabel]
}

const accessPrefix = "access "

// accessOwner is the redactor's owner for the credentials and keys that are in use since the last render.
func (st *state) accessOwner() string { return fmt.Sprint(accessPrefix, st.renders) }

// conceal adds credentials and keys to the redactor, each once.
func (st *state) conceal(values ...string) {
	for _, value := range values {
		if !slices.Contains(st.concealed, value) {
			st.concealed = append(st.concealed, value)
			st.redactor.AddFor(st.accessOwner(), value)
		}
	}
}

// maxShown is the length to which a text is cut before it is masked. A message may quote a name from a file, which may be up to 5 MiB.
const maxShown = 16 << 10

// mask removes secrets from all texts of findings.
func mask(redactor *redact.Redactor, findings []finding.Finding) {
	for i := range findings {
		f := &findings[i]
		for _, text := range []*string{&f.Message, &f.Fix, &f.Cluster, &f.Path} {
			long := len(*text) > maxShown
			if long {
				*text = (*text)[:maxShown]
			}
			if *text = redactor.String(*text); long { // drop the end, where the cut may have left half a secret
				*text = report.Cut(*text, maxShown/4)
			}
		}
	}
}

// open creates the opener from the decryption Secret, unless the current one is for the same version. It returns the keys in the Secret.
// Without a decryption Secret, encrypted files cause findings.
func (r *Reconciler) open(ctx context.Context, audit *v1alpha1.AuditSync, st *state) ([]string, *report.Failure) {
	if audit.Spec.Decryption == nil {
		if st.opener == nil || st.keys != "" {
			st.opener, st.keys = unseal.NewOpener(), ""
		}
		return nil, nil
	}
	secret, failure := r.secret(ctx, audit.Namespace, audit.Spec.Decryption.SecretRef.Name, "the keys for SOPS (spec.decryption.secretRef)")
	if failure != nil {
		return nil, failure
	}
	ring, err := r.Keys.Ring(secret.Name, secret.Data, KeyPolicy(audit.Spec.Decryption))
	if err != nil {
		return nil, &report.Failure{Class: report.Rejected, Reason: "KeysInvalid", Message: err.Error()}
	}
	if version := keyVersion(secret.ResourceVersion, audit.Spec.Decryption); st.opener == nil || st.keys != version {
		st.opener, st.keys = unseal.NewOpener(ring), version
	}
	return ring.Secrets(), nil
}

// existing returns the audit configs of the namespace, by name.
func (r *Reconciler) existing(ctx context.Context, audit *v1alpha1.AuditSync, from client.Reader) (map[string]map[string]any, *report.Failure) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(auditConfigKind)
	if err := listAll(ctx, from, list, audit.Namespace); err != nil {
		return nil, classifyRead(err)
	}
	configs := make(map[string]map[string]any, len(list.Items))
	for _, item := range list.Items {
		configs[item.GetName()] = item.Object
	}
	return configs, nil
}

// inherited returns the part of the existing audit configs that rendering depends on: what their clusters inherit.
func inherited(existing map[string]map[string]any) string {
	parts := make([]string, 0, len(existing))
	for name, object := range existing {
		when, _, _ := unstructured.NestedString(object, "spec", "kubernetesResources", "schedule")
		identity, _, _ := unstructured.NestedMap(object, "spec", "containers", "workloadIdentity")
		parts = append(parts, fmt.Sprintf("%s %t %q %t", name, mondoo.NeedsSchedule(object), when, len(identity) > 0))
	}
	slices.Sort(parts)
	return strings.Join(parts, "\n")
}

func (r *Reconciler) classifyRender(err error, st *state) *report.Failure {
	f := &report.Failure{Class: report.Failed, Reason: "RenderFailed", Message: st.redactor.String(err.Error())}
	var path *load.PathError
	switch {
	case errors.As(err, &path):
		f.Class, f.Reason = report.Rejected, report.ReasonPathInvalid
		f.Message += "; the applied objects are left unchanged"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid):
		// The cache on disk is damaged. The next fetch creates a new snapshot.
		st.source = ""
		f.Reason = "CacheDamaged"
	}
	return f
}
