package preflight

import (
	"context"
	"net/http"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// Grant is what the credential may read, compared with the ClusterRole that the scanner needs: get, list and watch on */*.
type Grant struct {
	// Everything is true if it may read every kind of object.
	Everything bool `json:"everything"`
	// Missing are the kinds that it may not get, list or watch: of those that every cluster has, and */* for all else,
	// such as custom resources.
	Missing []Kind `json:"missing,omitempty"`
}

// Kind is a kind of object by its resource, with the verbs that are missing.
type Kind struct {
	Group    string   `json:"group"`
	Resource string   `json:"resource"`
	Verbs    []string `json:"verbs"`
}

// String is the name as kubectl has it.
func (k Kind) String() string {
	switch {
	case k.Resource == all:
		return "all other kinds, such as custom resources"
	case k.Group == "":
		return k.Resource
	}
	return k.Resource + "." + k.Group
}

const all = "*"

// verbs are what a scan does.
var verbs = []string{"get", "list", "watch"}

// kinds are what every cluster has, and a scan reads. The last one is for all else.
var kinds = slices.Concat(
	in("", "configmaps", "limitranges", "namespaces", "nodes", "persistentvolumeclaims", "persistentvolumes", "pods",
		"replicationcontrollers", "resourcequotas", "secrets", "serviceaccounts", "services"),
	in("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
	in("apiextensions.k8s.io", "customresourcedefinitions"),
	in("apiregistration.k8s.io", "apiservices"),
	in("apps", "daemonsets", "deployments", "replicasets", "statefulsets"),
	in("autoscaling", "horizontalpodautoscalers"),
	in("batch", "cronjobs", "jobs"),
	in("networking.k8s.io", "ingresses", "networkpolicies"),
	in("policy", "poddisruptionbudgets"),
	in("rbac.authorization.k8s.io", "clusterrolebindings", "clusterroles", "rolebindings", "roles"),
	in("storage.k8s.io", "storageclasses"),
	in(all, all),
)

func in(group string, resources ...string) (kinds []Kind) {
	for _, resource := range resources {
		kinds = append(kinds, Kind{Group: group, Resource: resource})
	}
	return kinds
}

// rights asks for everything at once first. Only if that is denied, it finds out what is missing.
func (r *report) rights(ctx context.Context, c *client) {
	missing, known, failed := c.missing(ctx)
	switch {
	case failed != nil:
		r.fail(Rights, failed)
	case !known:
		r.skip(Rights, "the server does not tell what the user may do")
	case len(missing) == 0:
		r.result.Granted = &Grant{Everything: true}
		r.pass(Rights, "get, list and watch on */*")
	default:
		r.result.Granted = &Grant{Missing: missing}
		r.fail(Rights, lacking(missing))
	}
}

func lacking(missing []Kind) *failure {
	names := make([]string, len(missing))
	nothing := len(missing) == len(kinds)
	for i, k := range missing {
		names[i] = k.String()
		if len(k.Verbs) < len(verbs) {
			names[i] += " (" + strings.Join(k.Verbs, ", ") + ")"
		}
		nothing = nothing && len(k.Verbs) == len(verbs)
	}
	if nothing {
		return &failure{cause: RightsNone}
	}
	return &failure{cause: RightsPartial, detail: firstOf(names, len(kinds))}
}

// missing returns what the credential may not read. known is false if the server doesn't tell.
func (c *client) missing(ctx context.Context) (missing []Kind, known bool, _ *failure) {
	rest, known, failed := c.denied(ctx, kinds[len(kinds)-1], verbs)
	if failed != nil || !known || len(rest) == 0 {
		return nil, known, failed
	}
	rules, complete, failed := c.rules(ctx)
	if failed != nil {
		return nil, false, failed
	}
	for _, k := range kinds {
		lacks := k
		lacks.Verbs = slices.DeleteFunc(slices.Clone(verbs), func(verb string) bool { return allows(rules, k, verb) })
		if len(lacks.Verbs) > 0 && !complete {
			// An authorizer outside of the API server, as clouds have it, answers single questions only.
			if lacks.Verbs, known, failed = c.denied(ctx, k, lacks.Verbs); failed != nil || !known {
				return nil, false, failed
			}
		}
		if len(lacks.Verbs) > 0 {
			missing = append(missing, lacks)
		}
	}
	return missing, true, nil
}

// denied asks which verbs are denied for a kind, in all namespaces.
func (c *client) denied(ctx context.Context, k Kind, ask []string) (denied []string, known bool, _ *failure) {
	for _, verb := range ask {
		review := authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: k.Group, Resource: k.Resource}}}
		a, failed := c.post(ctx, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review)
		if failed != nil {
			return nil, false, failed
		}
		if a.status != http.StatusCreated || !a.into(&review) {
			return nil, false, nil
		}
		if !review.Status.Allowed {
			denied = append(denied, verb)
		}
	}
	return denied, true, nil
}

// noNamespace is the name of a namespace that doesn't exist, so that no RoleBinding is in it. A review of rules wants a
// namespace, and includes what holds in that one alone; the rules in this one are those that hold in all.
const noNamespace = "muster-preflight-in-no-namespace"

// rules asks for the rules of the user. complete is false if there may be more.
func (c *client) rules(ctx context.Context) (_ []authorizationv1.ResourceRule, complete bool, _ *failure) {
	review := authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: noNamespace}}
	a, failed := c.post(ctx, "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &review)
	if failed != nil {
		return nil, false, failed
	}
	if a.status != http.StatusCreated || !a.into(&review) {
		return nil, false, nil
	}
	return review.Status.ResourceRules, !review.Status.Incomplete, nil
}

// allows reports whether the rules allow a verb on all objects of a kind.
func allows(rules []authorizationv1.ResourceRule, k Kind, verb string) bool {
	has := func(list []string, value string) bool {
		return slices.Contains(list, all) || slices.Contains(list, value)
	}
	return slices.ContainsFunc(rules, func(rule authorizationv1.ResourceRule) bool {
		return len(rule.ResourceNames) == 0 && has(rule.Verbs, verb) && has(rule.APIGroups, k.Group) && has(rule.Resources, k.Resource)
	})
}
