package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// AwaitRules waits until a user has all permissions in rules in a namespace or, if may is false, none of them. The
// authorizer learns about roles and bindings by watches, some milliseconds after their writes, and under load much later.
// URLs in the rules are not supported.
func (c *ControlPlane) AwaitRules(ctx context.Context, user, namespace string, rules []rbacv1.PolicyRule, may bool) error {
	clients, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return err
	}
	reviews := clients.AuthorizationV1().SubjectAccessReviews()
	for _, right := range rights(namespace, rules) {
		err := wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
			review, err := reviews.Create(ctx, &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &right}}, metav1.CreateOptions{})
			return err == nil && review.Status.Allowed == may, err
		})
		if err != nil {
			return fmt.Errorf("wait until %s may %s %s is %t: %w", user, right.Verb, right.Resource, may, err)
		}
	}
	return nil
}

// rights are the single permissions in rules.
func rights(namespace string, rules []rbacv1.PolicyRule) (all []authorizationv1.ResourceAttributes) {
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				r, sub, _ := strings.Cut(resource, "/")
				right := authorizationv1.ResourceAttributes{Namespace: namespace, Group: group, Resource: r, Subresource: sub}
				all = append(all, each(right, rule)...)
			}
		}
	}
	return all
}

// each is the permission for a resource with each verb and name of a rule; without names it is for all objects.
func each(right authorizationv1.ResourceAttributes, rule rbacv1.PolicyRule) (all []authorizationv1.ResourceAttributes) {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, right.Verb = range rule.Verbs {
		for _, right.Name = range names {
			all = append(all, right)
		}
	}
	return all
}
