package receiver

import (
	"bytes"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/webhook"
)

// targets are the AuditSyncs with a webhook, read from the cache.
type targets struct {
	reader    client.Reader
	namespace string
	requests  *requests
}

// Target returns an AuditSync's repository, ref and webhook secrets.
func (w *targets) Target(ctx context.Context, namespace, name string) (webhook.Target, error) {
	if w.namespace != "" && namespace != w.namespace {
		return webhook.Target{}, webhook.ErrUnknown
	}
	audit := &v1alpha1.AuditSync{}
	err := w.reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, audit)
	if apierrors.IsNotFound(err) || err == nil && (audit.Spec.Webhook == nil || !audit.DeletionTimestamp.IsZero()) {
		return webhook.Target{}, webhook.ErrUnknown
	}
	if err != nil {
		return webhook.Target{}, fmt.Errorf("get AuditSync: %w", err)
	}
	secret := &corev1.Secret{}
	err = w.reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: audit.Spec.Webhook.SecretRef.Name}, secret)
	if apierrors.IsNotFound(err) {
		return webhook.Target{}, webhook.ErrUnknown // the missing Secret is reported in the status
	}
	if err != nil {
		return webhook.Target{}, fmt.Errorf("get Secret: %w", err)
	}
	t := webhook.Target{Provider: webhook.Provider(audit.Spec.Webhook.Provider), RepositoryURL: audit.Spec.Source.URL}
	if ref := audit.Spec.Source.Ref; ref != nil {
		t.Ref = gitsync.Ref{Branch: ref.Branch, Tag: ref.Tag, SemVer: ref.SemVer, Commit: ref.Commit}
	}
	t.Secrets, _ = Secrets(secret.Data)
	return t, nil
}

// The fields of a webhook's Secret.
const (
	fieldToken         = "token"
	fieldPreviousToken = "previousToken"
)

// Secrets returns the usable secrets in the data of a webhook's Secret, and what is wrong with the others. The text quotes no value.
func Secrets(data map[string][]byte) (secrets [][]byte, problem string) {
	for _, field := range []string{fieldToken, fieldPreviousToken} {
		value := bytes.TrimRight(data[field], "\r\n") // left by editors and --from-file
		if len(value) == 0 && field == fieldPreviousToken {
			continue
		}
		if err := webhook.CheckSecret(value); err != nil && problem == "" {
			problem = fmt.Sprintf("key %s can't be used: %v", field, err)
		} else if err == nil {
			secrets = append(secrets, value)
		}
	}
	return secrets, problem
}
