package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// need is one right, in one namespace.
type need struct {
	verb, group, resource, subresource, name string
}

func (n need) String() string {
	text := n.resource
	if n.subresource != "" {
		text += "/" + n.subresource
	}
	if n.group != "" {
		text += "." + n.group
	}
	if n.name != "" {
		text += " " + n.name
	}
	return n.verb + " " + text
}

// needsOf are the rights that rules give, one by one. Namespaces are read by name.
func needsOf(rules []rbacv1.PolicyRule, namespace string) []need {
	var all []need
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, text := range rule.Resources {
				resource, subresource, _ := strings.Cut(text, "/")
				for _, verb := range rule.Verbs {
					for _, name := range names {
						if resource == "namespaces" {
							name = namespace
						}
						all = append(all, need{verb, group, resource, subresource, name})
					}
				}
			}
		}
	}
	return all
}

// consequences tell what stops working without a right to a resource. Those in optional leave everything else working.
var (
	consequences = map[string]string{
		"auditsyncs":         "no AuditSync is synced",
		"auditsyncs/status":  "no result is written",
		"mondooauditconfigs": "clusters are not applied",
		"secrets":            "credentials are neither read nor applied",
		"configmaps":         "the inventory is lost, and nothing is applied",
		"leases":             "no leader is elected, and nothing is synced",
	}
	optional = map[string]string{
		"namespaces": "there is no warning when Pod Security rejects SPIFFE scans",
		"cronjobs":   "the results of scans are unknown",
		"jobs":       "the results of scans are unknown, or there are no scans on change",
		"pods":       "it is unknown why scans fail",
		"events":     "there are no events",
	}
)

// delegated reports whether a right belongs to the ServiceAccount of an AuditSync that has spec.serviceAccountName: what is
// applied is written by that one. The inventory and the AuditSync are not.
func (n need) delegated() bool {
	switch n.verb {
	case "create", "patch", "delete":
		return n.resource == "secrets" || n.resource == "mondooauditconfigs" || n.resource == "jobs"
	}
	return false
}

func (c *checkup) rights(ctx context.Context) []Check {
	const name = "the controller's ServiceAccount has its rights"
	deployment, _ := c.deployment(ctx)
	if deployment == nil {
		return []Check{skipped(categoryRights, name, "the controller's Deployment is unknown")}
	}
	account := deployment.Spec.Template.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	accounts, impersonates := delegates(c.syncsOrNone(ctx))
	own := needsOf(rulesOf(roleManifest), c.Namespace)
	if impersonates {
		own = slices.DeleteFunc(own, need.delegated)
	}
	checks := c.reviewed(ctx, fmt.Sprintf("%s in %s", account, c.Namespace), c.Controller, account, c.Namespace, own)
	if elects(deployment) {
		checks = append(checks, c.reviewed(ctx, fmt.Sprintf("%s in %s, for the election of a leader", account, c.Controller), c.Controller, account, c.Controller, needsOf(rulesOf(leaderManifest), c.Controller))...)
	}
	for _, other := range accounts {
		checks = append(checks, c.reviewed(ctx, account+" as "+other, c.Controller, account, c.Namespace, []need{{verb: "impersonate", resource: "serviceaccounts", name: other}})...)
		theirs := slices.DeleteFunc(needsOf(rulesOf(roleManifest), c.Namespace), func(n need) bool { return !n.delegated() })
		checks = append(checks, c.reviewed(ctx, fmt.Sprintf("%s in %s, which AuditSyncs name", other, c.Namespace), c.Namespace, other, c.Namespace, theirs)...)
	}
	return checks
}

// syncsOrNone reads the AuditSyncs. Whoever may not sees the rights of a controller that impersonates no one.
func (c *checkup) syncsOrNone(ctx context.Context) []*v1alpha1.AuditSync {
	if c.readSyncs(ctx) != nil {
		return nil
	}
	return c.syncs
}

// delegates are the ServiceAccounts that AuditSyncs name, sorted, and whether all of them name one.
func delegates(syncs []*v1alpha1.AuditSync) (accounts []string, all bool) {
	all = len(syncs) > 0
	for _, audit := range syncs {
		if audit.Spec.ServiceAccountName == "" {
			all = false
			continue
		}
		accounts = append(accounts, audit.Spec.ServiceAccountName)
	}
	slices.Sort(accounts)
	return slices.Compact(accounts), all
}

// reviewed asks the API server about the rights of a ServiceAccount.
func (c *checkup) reviewed(ctx context.Context, name, accountNamespace, account, namespace string, needs []need) []Check {
	allowed := make([]bool, len(needs))
	group, ctx := errgroup.WithContext(ctx)
	const parallel = 8
	group.SetLimit(parallel)
	for i, n := range needs {
		group.Go(func() error {
			review, err := c.core.AuthorizationV1().LocalSubjectAccessReviews(namespace).Create(ctx, &authorizationv1.LocalSubjectAccessReview{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace},
				Spec: authorizationv1.SubjectAccessReviewSpec{User: "system:serviceaccount:" + accountNamespace + ":" + account,
					Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + accountNamespace, "system:authenticated"},
					ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: n.verb, Group: n.group, Resource: n.resource, Subresource: n.subresource, Name: n.name}},
			}, metav1.CreateOptions{})
			if err == nil {
				allowed[i] = review.Status.Allowed
			}
			return err
		})
	}
	if err := group.Wait(); apierrors.IsForbidden(err) {
		return []Check{skipped(categoryRights, name, "you may not create LocalSubjectAccessReviews in "+namespace)}
	} else if err != nil {
		return []Check{unread(categoryRights, name, "create LocalSubjectAccessReviews in "+namespace, err)}
	}
	var lacking []need
	for i, n := range needs {
		if !allowed[i] {
			lacking = append(lacking, n)
		}
	}
	return rightsChecks(name, namespace, len(needs), lacking)
}

// rightsChecks are a check for each resource whose rights are missing, or one if all are there.
func rightsChecks(name, namespace string, needs int, lacking []need) []Check {
	if len(lacking) == 0 {
		return []Check{passed(categoryRights, name, plural(needs, "right"))}
	}
	var checks []Check
	for len(lacking) > 0 {
		first := lacking[0]
		same := func(n need) bool { return n.resource == first.resource && n.subresource == first.subresource }
		var missing []string
		for _, n := range lacking {
			if same(n) {
				missing = append(missing, n.String())
			}
		}
		lacking = slices.DeleteFunc(slices.Clone(lacking), same)
		resource := first.resource
		if first.subresource != "" {
			resource += "/" + first.subresource
		}
		cause, fix := "it may not "+strings.Join(missing, ", "), "apply the Roles of config/rbac in "+namespace+": kubectl apply --server-side -k config/default"
		if first.resource == "serviceaccounts" {
			fix = "use config/components/impersonation"
		}
		if effect, ok := optional[resource]; ok {
			checks = append(checks, warning(categoryRights, name, cause+": "+effect, fix))
			continue
		}
		if effect := consequences[resource]; effect != "" {
			cause += ": " + effect
		}
		checks = append(checks, failed(categoryRights, name, cause, fix))
	}
	return checks
}
