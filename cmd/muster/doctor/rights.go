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
		tokens:               "Muster can't log in to Vault with them",
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
	syncs := c.syncsOrNone(ctx)
	accounts, impersonates := delegates(syncs)
	own := needsOf(rulesOf(roleManifest), c.Namespace)
	if impersonates {
		own = slices.DeleteFunc(own, need.delegated)
	}
	reapply := "apply the Roles of config/rbac: kubectl apply --server-side -k config/default"
	checks := c.reviewed(ctx, review{name: fmt.Sprintf("ServiceAccount %s has its rights in %s", account, c.Namespace), of: c.Controller, account: account, in: c.Namespace, fix: reapply}, own)
	if elects(deployment) {
		checks = append(checks, c.reviewed(ctx, review{name: fmt.Sprintf("ServiceAccount %s may elect a leader in %s", account, c.Controller), of: c.Controller, account: account, in: c.Controller, fix: reapply},
			needsOf(rulesOf(leaderManifest), c.Controller))...)
	}
	for _, login := range vaultLogins(syncs) {
		checks = append(checks, c.reviewed(ctx, review{name: fmt.Sprintf("ServiceAccount %s may create tokens of %s", account, login.account), of: c.Controller, account: account, in: c.Namespace, fix: login.fix},
			[]need{{verb: "create", resource: "serviceaccounts", subresource: "token", name: login.account}})...)
	}
	theirs := slices.DeleteFunc(needsOf(rulesOf(roleManifest), c.Namespace), func(n need) bool { return !n.delegated() })
	for _, other := range accounts {
		checks = append(checks, c.reviewed(ctx, review{name: fmt.Sprintf("ServiceAccount %s may act as %s", account, other), of: c.Controller, account: account, in: c.Namespace, fix: "use config/components/impersonation"},
			[]need{{verb: "impersonate", resource: "serviceaccounts", name: other}})...)
		checks = append(checks, c.reviewed(ctx, review{name: fmt.Sprintf("ServiceAccount %s may apply, for AuditSyncs that name it", other), of: c.Namespace, account: other, in: c.Namespace,
			fix: fmt.Sprintf("give it a Role with these rights: kubectl -n %s create rolebinding %s --role=ROLE --serviceaccount=%[1]s:%[2]s", c.Namespace, other)}, theirs)...)
	}
	return checks
}

// review is a question about the rights of a ServiceAccount, of one namespace, in one that may be another.
type review struct {
	name, of, account, in string
	// fix is an instruction for when a right is missing.
	fix string
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
func (c *checkup) reviewed(ctx context.Context, r review, needs []need) []Check {
	allowed := make([]bool, len(needs))
	group, ctx := errgroup.WithContext(ctx)
	const parallel = 8
	group.SetLimit(parallel)
	for i, n := range needs {
		group.Go(func() error {
			review, err := c.core.AuthorizationV1().LocalSubjectAccessReviews(r.in).Create(ctx, &authorizationv1.LocalSubjectAccessReview{
				ObjectMeta: metav1.ObjectMeta{Namespace: r.in},
				Spec: authorizationv1.SubjectAccessReviewSpec{User: "system:serviceaccount:" + r.of + ":" + r.account,
					Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + r.of, "system:authenticated"},
					ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: r.in, Verb: n.verb, Group: n.group, Resource: n.resource, Subresource: n.subresource, Name: n.name}},
			}, metav1.CreateOptions{})
			if err == nil {
				allowed[i] = review.Status.Allowed
			}
			return err
		})
	}
	if err := group.Wait(); apierrors.IsForbidden(err) {
		return []Check{skipped(categoryRights, r.name, "you may not create LocalSubjectAccessReviews in "+r.in)}
	} else if err != nil {
		return []Check{unread(categoryRights, r.name, "create LocalSubjectAccessReviews in "+r.in, err)}
	}
	var lacking []need
	for i, n := range needs {
		if !allowed[i] {
			lacking = append(lacking, n)
		}
	}
	return rightsChecks(r.name, r.fix, len(needs), lacking)
}

// rightsChecks are a check for each resource whose rights are missing, or one if all are there.
func rightsChecks(name, fix string, needs int, lacking []need) []Check {
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
		cause := "it may not " + strings.Join(missing, ", ")
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
