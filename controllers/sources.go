package controllers

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// loginSecret reads a Secret with which Muster logs in to a source of credentials.
func (r *Reconciler) loginSecret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	return secret, r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
}

// foreignSecret reads a Secret of another namespace, as a ServiceAccount of the AuditSync's namespace if it has one.
func (r *Reconciler) foreignSecret(ctx context.Context, namespace, serviceAccount string, of types.NamespacedName) (*corev1.Secret, error) {
	reader := r.Live
	if serviceAccount != "" {
		as, err := r.As(namespace, serviceAccount)
		if err != nil {
			return nil, err
		}
		reader = as
	}
	secret := &corev1.Secret{}
	return secret, reader.Get(ctx, of, secret)
}

// tokenSeconds is how long a token for a login lasts: the least that Kubernetes makes.
const tokenSeconds = 600

// serviceAccountToken makes a token of a ServiceAccount for an audience.
func (r *Reconciler) serviceAccountToken(ctx context.Context, namespace, name, audience string) (string, error) {
	seconds := int64(tokenSeconds)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: &seconds}}
	if err := r.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return "", err
	}
	if request.Status.Token == "" {
		return "", fmt.Errorf("the API server returned no token")
	}
	return request.Status.Token, nil
}
