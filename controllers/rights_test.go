package controllers_test

import (
	"os"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// shippedRole is what Muster may do.
func (w *world) shippedRole() *rbacv1.Role {
	w.Helper()
	data, err := os.ReadFile("../config/rbac/role.yaml")
	must(w.T, err)
	role := &rbacv1.Role{}
	must(w.T, yaml.UnmarshalStrict(data, role))
	role.Namespace = w.namespace
	return role
}

// grant applies the Role that is shipped, for the user that the controller runs as.
func (w *world) grant() {
	w.Helper()
	role := w.shippedRole()
	must(w.T, w.admin.Create(w.Context(), role))
	w.bindRole(role.Name, w.user)
}

// bindRole binds the shipped Role to a user.
func (w *world) bindRole(name, user string) {
	w.Helper()
	w.bind(name, "muster", user)
	w.awaitRules(user, w.shippedRole().Rules, true)
}

func (w *world) bind(name, role, user string) {
	w.Helper()
	must(w.T, w.admin.Create(w.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}))
}

// awaitRules waits until a user may do what rules say, or may no longer.
func (w *world) awaitRules(user string, rules []rbacv1.PolicyRule, may bool) {
	w.Helper()
	must(w.T, plane.AwaitRules(w.Context(), user, w.namespace, rules, may))
}

// grantLease lets the controller take part in the election of a leader.
func (w *world) grantLease() {
	w.Helper()
	data, err := os.ReadFile("../config/rbac/leader-election.yaml")
	must(w.T, err)
	role := &rbacv1.Role{}
	document, _, _ := strings.Cut(string(data), "\n---\n")
	must(w.T, yaml.UnmarshalStrict([]byte(document), role))
	role.Namespace = w.namespace
	must(w.T, w.admin.Create(w.Context(), role))
	w.bind("lease", role.Name, w.user)
	w.awaitRules(w.user, role.Rules, true)
}

// grantImpersonation lets the controller act as a ServiceAccount, as config/components/impersonation does.
func (w *world) grantImpersonation(serviceAccount string) {
	w.Helper()
	rules := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{serviceAccount}, Verbs: []string{"impersonate"}}}
	must(w.T, w.admin.Create(w.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "impersonate"}, Rules: rules}))
	w.bind("impersonate", "impersonate", w.user)
	w.awaitRules(w.user, rules, true)
}

// changeRules changes the shipped Role, and waits until that holds.
func (w *world) changeRules(change func([]rbacv1.PolicyRule) []rbacv1.PolicyRule) {
	w.Helper()
	role := &rbacv1.Role{}
	must(w.T, w.admin.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: "muster"}, role))
	before := role.DeepCopy().Rules
	role.Rules = change(role.Rules)
	must(w.T, w.admin.Update(w.Context(), role))
	w.awaitRules(w.user, role.Rules, true)
	w.awaitRules(w.user, lost(before, role.Rules), false)
}

// lost are the rules that say what only the former ones of a Role allow.
func lost(former, rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var all []rbacv1.PolicyRule
	for _, rule := range former {
		for _, still := range rules {
			if slices.Equal(still.Resources, rule.Resources) {
				rule.Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(verb string) bool { return slices.Contains(still.Verbs, verb) })
			}
		}
		all = append(all, rule)
	}
	return all
}

// changeVerbs leaves these verbs, or none, of the shipped Role's rule for a resource.
func (w *world) changeVerbs(resource string, verbs ...string) {
	w.Helper()
	w.changeRules(func(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
		i := slices.IndexFunc(rules, func(r rbacv1.PolicyRule) bool { return r.Resources[0] == resource })
		rules[i].Verbs = verbs
		if len(verbs) == 0 {
			return slices.Delete(rules, i, i+1)
		}
		return rules
	})
}
