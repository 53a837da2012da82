package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/receiver"
	"github.com/muster-gitops/muster/gitsync/webhook"
)

// webhookStatus sets the webhook's path, and the condition that reports whether deliveries can be verified.
func (r *Reconciler) webhookStatus(ctx context.Context, audit *v1alpha1.AuditSync, status *v1alpha1.AuditSyncStatus) {
	if audit.Spec.Webhook == nil {
		status.WebhookPath = ""
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionWebhook)
		return
	}
	status.WebhookPath = webhook.Path(audit.Namespace, audit.Name)
	c := metav1.Condition{Type: v1alpha1.ConditionWebhook, Status: metav1.ConditionFalse, ObservedGeneration: audit.Generation}
	name := audit.Spec.Webhook.SecretRef.Name
	secret, failure := r.secret(ctx, audit.Namespace, name, "the secret of the webhook (spec.webhook.secretRef)")
	var problem string
	if failure == nil {
		_, problem = receiver.Secrets(secret.Data)
	}
	switch {
	case !r.Webhooks:
		c.Reason, c.Message = "NotServed", "this Muster doesn't receive webhooks; start it with --webhook-address"
	case failure != nil:
		c.Reason, c.Message = failure.Reason, failure.Message
	case problem != "":
		c.Reason, c.Message = "SecretInvalid", fmt.Sprintf("Secret %s: %s", name, problem)
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, "Listening", "deliveries to "+status.WebhookPath+" are verified with Secret "+name
	}
	meta.SetStatusCondition(&status.Conditions, c)
}
