package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// PodSecurityLabel on a namespace names the level of Pod Security that is enforced there
// (https://kubernetes.io/docs/concepts/security/pod-security-admission/).
const PodSecurityLabel = "pod-security.kubernetes.io/enforce"

// podSecurity is the level that a namespace enforces; empty where none is, or where it can't be read: one warning is not worth
// holding up a sync. It is one request with each rendering, so with each commit and each day, and none when there is nothing
// to do. A watch would want the right to list every namespace.
func (r *Reconciler) podSecurity(ctx context.Context, namespace string) string {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.Live.Get(ctx, types.NamespacedName{Name: namespace}, object); err != nil {
		log.FromContext(ctx).V(1).Info("the namespace can't be read, so nothing is known of its Pod Security", "error", err.Error())
		return ""
	}
	return object.Labels[PodSecurityLabel]
}
