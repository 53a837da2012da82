package setup

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/renew"
)

// Renewing returns the setup with what a token needs beside that to be renewed: its ServiceAccount may create its own tokens, and no
// others. Of a method without a token, it returns the setup as it is.
func (s Setup) Renewing() Setup {
	namespace, name := lit(scanNamespace), lit(scanner)
	s.Variables, s.Steps, s.blocks = slices.Clone(s.Variables), slices.Clone(s.Steps), slices.Clone(s.blocks)
	switch s.Method {
	case "serviceAccountAuth":
	case "kubeconfig":
		namespace = s.ask("account_namespace", "the namespace of the ServiceAccount whose token is in the kubeconfig")
		name = s.ask("account_name", "the name of that ServiceAccount")
	default:
		return s
	}
	role := join(lit(renew.RoleName("")), name)
	meta := metav1.ObjectMeta{Namespace: namespace.yaml(), Name: role.yaml()}
	objects := manifest([]any{
		&rbacv1.Role{TypeMeta: typeMeta(rbacv1.SchemeGroupVersion.String(), "Role"), ObjectMeta: meta,
			Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{name.yaml()}, Verbs: []string{"create"}}}},
		&rbacv1.RoleBinding{TypeMeta: typeMeta(rbacv1.SchemeGroupVersion.String(), "RoleBinding"), ObjectMeta: meta,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.yaml()}, Subjects: []rbacv1.Subject{account(namespace.yaml(), name.yaml())}},
	})
	s.step(Target, "Let the ServiceAccount create its own tokens", "Muster renews its token with that. For a ServiceAccount of your own, replace namespace and name.",
		sh("kubectl --context=%s apply -f - <<EOF", s.targetContext())+"\n"+s.heredoc(objects)+"EOF")
	s.manifest += objects
	s.terraformRenewal(namespace, name, role)
	return s
}

func (s *Setup) terraformRenewal(namespace, name, role text) {
	var in any = namespace
	if s.Method == "serviceAccountAuth" {
		in = scanNamespaceName
	}
	s.resource("kubernetes_role_v1", "renew", metadata(role, in),
		rule([]any{lit("")}, []any{lit("serviceaccounts/token")}, attr{"resource_names", []any{name}}, attr{"verbs", []any{lit("create")}}))
	s.resource("kubernetes_role_binding_v1", "renew", metadata(role, in), roleRef("Role", expression("kubernetes_role_v1.renew.metadata[0].name")),
		block{kind: "subject", items: []any{attr{"kind", lit(rbacv1.ServiceAccountKind)}, attr{"namespace", in}, attr{"name", name}}})
}
