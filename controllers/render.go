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
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/open"
	"github.com/muster-gitops/muster/clusters/redact"
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
	opener, version, secrets, failure := r.opener(ctx, audit)
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
	// A redactor for this fleet: the secrets of former ones needn't be remembered for ever.
	redactor := &redact.Redactor{}
	redactor.Add(st.credentials...)
	redactor.Add(secrets...)
	sealed, err := r.Pipeline.Compile(ctx, clusters.Source{FS: st.snapshot.FS(), Path: audit.Spec.Path},
		compile.Options{Namespace: audit.Namespace, Sync: audit.Name, AuditConfig: audit.Spec.AuditConfig, Existing: existing}, opener)
	if err != nil {
		return r.classifyRender(err, st)
	}
	fleet, err := r.Pipeline.Open(ctx, sealed, opener, redactor, r.Clock.Now())
	if err != nil {
		return r.classifyRender(err, st)
	}
	mask(redactor, fleet.Findings)
	st.fleet, st.rendered, st.redactor = fleet, key, redactor
	return nil
}

// mask takes secrets out of every text of findings.
func mask(redactor *redact.Redactor, findings []finding.Finding) {
	for i := range findings {
		f := &findings[i]
		for _, text := range []*string{&f.Message, &f.Fix, &f.Cluster, &f.Path} {
			*text = redactor.String(*text)
		}
	}
}

// opener makes an opener from the decryption Secret, and returns the Secret's version and the keys in it. Without one,
// encrypted files are findings.
func (r *Reconciler) opener(ctx context.Context, audit *v1alpha1.AuditSync) (open.Opener, string, []string, *report.Failure) {
	if audit.Spec.Decryption == nil {
		return seal.NewOpener(), "", nil, nil
	}
	secret, failure := r.secret(ctx, audit.Namespace, audit.Spec.Decryption.SecretRef.Name, "the keys for SOPS (spec.decryption.secretRef)")
	if failure != nil {
		return nil, "", nil, failure
	}
	ring, err := keys.FromSecret(secret.Name, secret.Data)
	if err != nil {
		return nil, "", nil, &report.Failure{Class: report.Rejected, Reason: "KeysInvalid", Message: err.Error()}
	}
	return seal.NewOpener(ring), secret.ResourceVersion, ring.Secrets(), nil
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
