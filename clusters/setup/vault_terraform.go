package setup

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

func (s *Setup) vaultTerraform(x vaultSetup, namespace string) {
	s.terraformAccount(namespace)
	s.terraformIssuer()
	s.resource("kubernetes_cluster_role_binding_v1", "token_review", attr{"provider", expression("kubernetes.management")},
		metadata(lit("mondoo-operator-vault-token-review")), roleRef("ClusterRole", lit("system:auth-delegator")),
		block{kind: "subject", items: []any{attr{"kind", lit("ServiceAccount")}, attr{"namespace", x.operatorNamespace}, attr{"name", x.operator}}})
	s.terraformLogin(x)
	seconds := expression(fmt.Sprintf("%.0f", x.ttl.Seconds()))
	s.resource("vault_kubernetes_secret_backend", "target", attr{"path", x.engine}, attr{"kubernetes_host", x.server},
		attr{"kubernetes_ca_cert", expression(`kubernetes_secret_v1.issuer.data["ca.crt"]`)},
		attr{"service_account_jwt", expression(`kubernetes_secret_v1.issuer.data["token"]`)})
	s.resource("vault_kubernetes_secret_backend_role", "target", attr{"backend", expression("vault_kubernetes_secret_backend.target.path")},
		attr{"name", x.credsRole}, attr{"allowed_kubernetes_namespaces", []any{x.namespace}}, attr{"service_account_name", lit(scanner)},
		attr{"token_default_ttl", seconds}, attr{"token_max_ttl", seconds})
}

// terraformLogin lets the operator log in, and get credentials for this cluster alone.
func (s *Setup) terraformLogin(x vaultSetup) {
	s.resource("vault_auth_backend", "operator", attr{"type", lit("kubernetes")}, attr{"path", x.authMount})
	s.resource("vault_kubernetes_auth_backend_config", "operator", attr{"backend", expression("vault_auth_backend.operator.path")},
		attr{"kubernetes_host", x.management}, attr{"kubernetes_ca_cert", x.managementCA}, attr{"disable_local_ca_jwt", expression("true")})
	s.resource("vault_policy", "scan", attr{"name", x.policy},
		attr{"policy", jsonencode{{lit("path"), object{{x.credsPath(), object{{lit("capabilities"), []any{lit("update")}}}}}}}})
	s.resource("vault_kubernetes_auth_backend_role", "operator", attr{"backend", expression("vault_auth_backend.operator.path")},
		attr{"role_name", x.authRole}, attr{"bound_service_account_names", []any{x.operator}},
		attr{"bound_service_account_namespaces", []any{x.operatorNamespace}}, attr{"token_ttl", expression("600")},
		attr{"token_policies", []any{expression("vault_policy.scan.name")}})
}

// terraformIssuer lets Vault make tokens for the scanner, and do nothing else.
func (s *Setup) terraformIssuer() {
	name := expression("kubernetes_service_account_v1.issuer.metadata[0].name")
	s.resource("kubernetes_service_account_v1", "issuer", metadata(lit(tokenIssuer), scanNamespaceName))
	s.resource("kubernetes_role_v1", "issuer", metadata(lit(tokenIssuer), scanNamespaceName),
		rule([]any{lit("")}, []any{lit("serviceaccounts/token")}, attr{"resource_names", []any{lit(scanner)}}, attr{"verbs", []any{lit("create")}}))
	s.resource("kubernetes_role_binding_v1", "issuer", metadata(lit(tokenIssuer), scanNamespaceName),
		roleRef("Role", expression("kubernetes_role_v1.issuer.metadata[0].name")), terraformSubject("issuer"))
	s.resource("kubernetes_secret_v1", "issuer", attr{"type", lit(string(corev1.SecretTypeServiceAccountToken))},
		block{kind: "metadata", items: []any{attr{"name", lit(tokenIssuer)}, attr{"namespace", scanNamespaceName},
			attr{"annotations", object{{lit(corev1.ServiceAccountNameKey), name}}}}})
}
