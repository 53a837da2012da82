package controllers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/open"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// renderKey names everything that a fleet is made from. Equal keys give equal fleets.
type renderKey struct {
	commit, path, auditConfig string
	// keys is the version of the decryption Secret.
	keys string
	// schedules says which existing audit configs want a schedule in every entry.
	schedules string
	// day is there because certificates and tokens expire, and a finding says so.
	day time.Time
}

// render makes the fleet of the present snapshot, unless it is there already.
func (r *Reconciler) render(ctx context.Context, audit *v1alpha1.AuditSync, st *state) *report.Failure {
	opener, version, failure := r.opener(ctx, audit, st)
	if failure != nil {
		return failure
	}
	existing, failure := r.existing(ctx, audit)
	if failure != nil {
		return failure
	}
	key := renderKey{commit: st.snapshot.Revision().Hash, path: audit.Spec.Path, auditConfig: audit.Spec.AuditConfig, keys: version,
		schedules: scheduleNeeds(existing), day: r.Clock.Now().UTC().Truncate(24 * time.Hour)}
	if st.fleet != nil && st.rendered == key {
		return nil
	}
	started := r.Clock.Now()
	defer func() { r.Metrics.Stage(audit.Namespace, audit.Name, "render", r.Clock.Since(started)) }()
	sealed, err := r.Pipeline.Compile(ctx, clusters.Source{FS: st.snapshot.FS(), Path: audit.Spec.Path},
		compile.Options{Namespace: audit.Namespace, Sync: audit.Name, AuditConfig: audit.Spec.AuditConfig, Existing: existing}, opener)
	if err != nil {
		return r.classifyRender(err, st)
	}
	fleet, err := r.Pipeline.Open(ctx, sealed, opener, st.redactor, r.Clock.Now())
	if err != nil {
		return r.classifyRender(err, st)
	}
	for i := range fleet.Findings {
		f := &fleet.Findings[i]
		f.Message, f.Fix = st.redactor.String(f.Message), st.redactor.String(f.Fix)
	}
	st.fleet, st.rendered = fleet, key
	return nil
}

// opener makes an opener from the decryption Secret. Without one, encrypted files are findings.
func (r *Reconciler) opener(ctx context.Context, audit *v1alpha1.AuditSync, st *state) (open.Opener, string, *report.Failure) {
	if audit.Spec.Decryption == nil {
		return seal.NewOpener(), "", nil
	}
	secret, failure := r.secret(ctx, audit.Namespace, audit.Spec.Decryption.SecretRef.Name, "the keys for SOPS (spec.decryption.secretRef)")
	if failure != nil {
		return nil, "", failure
	}
	ring, err := keys.FromSecret(secret.Name, secret.Data)
	if err != nil {
		return nil, "", &report.Failure{Class: report.Rejected, Reason: "KeysInvalid", Message: err.Error()}
	}
	st.redactor.Add(ring.Secrets()...)
	return seal.NewOpener(ring), secret.ResourceVersion, nil
}

// existing are the audit configs of the namespace, by name.
func (r *Reconciler) existing(ctx context.Context, audit *v1alpha1.AuditSync) (map[string]map[string]any, *report.Failure) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(auditConfigKind)
	if err := r.list(ctx, list, audit.Namespace); err != nil {
		return nil, classifyRead(err)
	}
	configs := make(map[string]map[string]any, len(list.Items))
	for _, item := range list.Items {
		configs[item.GetName()] = item.Object
	}
	return configs, nil
}

// scheduleNeeds is the part of the existing audit configs that rendering depends on.
func scheduleNeeds(existing map[string]map[string]any) string {
	var names []string
	for name, object := range existing {
		if mondoo.NeedsSchedule(object) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return fmt.Sprintf("%d %s", len(existing), strings.Join(names, " "))
}

func (r *Reconciler) classifyRender(err error, st *state) *report.Failure {
	f := &report.Failure{Class: report.Failed, Reason: "RenderFailed", Message: st.redactor.String(err.Error())}
	var bad *load.PathError
	switch {
	case errors.As(err, &bad):
		f.Class, f.Reason = report.Rejected, "PathInvalid"
		f.Message += "; what was applied stays"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid):
		// The cache on disk is damaged: forget the snapshot, and the next fetch makes a new one.
		st.source = ""
		f.Reason = "CacheDamaged"
	}
	return f
}
