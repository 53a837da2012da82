package setup

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// In a Vault policy * and + match other names, and a comma separates the values of a list.
var (
	vaultName  = regexp.MustCompile(`^\w(?:[\w.-]*\w)?$`)
	vaultMount = regexp.MustCompile(`^\w[\w./-]*$`)
	objectName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$`)
)

// tokenIssuer is the ServiceAccount of the target with which Vault makes tokens for the scanner. Its own token doesn't expire.
const tokenIssuer = "vault-token-issuer"

// vaultSetup has the values of the cluster file that several steps use.
type vaultSetup struct {
	authMount, authRole, engine, credsRole, namespace, server, policy text
	operator, operatorNamespace                                       text
	management, managementCA                                          text
	ttl                                                               time.Duration
}

func (s *Setup) vault(v *mondoo.VaultAuth) {
	s.Method = "vaultAuth"
	// These are the operator's defaults.
	authMount, engine := trimAuth(cmp.Or(v.AuthPath, "kubernetes")), strings.Trim(cmp.Or(v.SecretsPath, "kubernetes"), "/")
	address := s.address(v.VaultAddr, "vault_addr", "the address of Vault, as in the cluster file")
	x := vaultSetup{
		authMount: s.matching(vaultMount, authMount, "auth_mount", "where the Kubernetes auth method is mounted, without auth/, as in the cluster file"),
		authRole:  s.matching(vaultName, v.AuthRole, "auth_role", "the role for the login of the operator, as in the cluster file"),
		engine:    s.matching(vaultMount, engine, "secrets_mount", "where the Kubernetes secrets engine is mounted, as in the cluster file"),
		credsRole: s.matching(vaultName, v.CredsRole, "creds_role", "the role of the secrets engine, as in the cluster file"),
		server:    s.address(v.Server, "target_server", "the address of the API server of the cluster to scan, as in the cluster file"),
		policy:    lit("mondoo-" + s.AuditConfig + "-" + s.Cluster),
		ttl:       time.Hour,
	}
	if d, err := time.ParseDuration(v.TTL); err == nil && d > 0 {
		x.ttl = d
	}
	namespace := scanNamespace
	if objectName.MatchString(v.KubernetesNamespace) {
		namespace = v.KubernetesNamespace
	}
	x.namespace = lit(namespace)
	x.operator = s.usually("operator_service_account", lit("mondoo-operator-controller-manager"), "the ServiceAccount of the Mondoo Operator")
	x.operatorNamespace = s.usually("operator_namespace", lit(s.Namespace), "the namespace of the Mondoo Operator")

	s.vaultTarget(namespace, v.KubernetesNamespace)
	login := []string{sh("export VAULT_ADDR=%s", address)}
	if v.VaultNamespace != "" {
		login = append(login, sh("export VAULT_NAMESPACE=%s", s.matching(vaultMount, v.VaultNamespace, "vault_namespace", "the namespace of Vault, as in the cluster file")))
	}
	s.step(Vault, "Choose the Vault", "Log in with the rights to enable auth methods and secrets engines, for example by vault login.", login...)
	s.vaultLogin(&x)
	s.vaultEngine(x)
	s.vaultTerraform(x, namespace)
}

// address is known for an address. One with a user name may have a password, too.
func (s *Setup) address(value, name, meaning string) text {
	if strings.Contains(value, "@") {
		value = ""
	}
	return s.known(value, name, meaning)
}

// vaultTarget lets Vault make tokens for the scanner, and do nothing else.
func (s *Setup) vaultTarget(namespace, given string) {
	note := "Vault may only make tokens for the scanner."
	if given != namespace {
		note += " Set spec.vaultAuth.kubernetesNamespace to " + namespace + " in the cluster file: older versions of Vault refuse requests without it."
	}
	meta := metav1.ObjectMeta{Namespace: namespace, Name: tokenIssuer}
	s.grant(account(namespace, scanner), note, namespaceObject(namespace), accountObject(namespace, scanner), accountObject(namespace, tokenIssuer),
		&rbacv1.Role{TypeMeta: typeMeta(rbacv1.SchemeGroupVersion.String(), "Role"), ObjectMeta: meta,
			Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{scanner}, Verbs: []string{"create"}}}},
		&rbacv1.RoleBinding{TypeMeta: typeMeta(rbacv1.SchemeGroupVersion.String(), "RoleBinding"), ObjectMeta: meta,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: tokenIssuer}, Subjects: []rbacv1.Subject{account(namespace, tokenIssuer)}},
		&corev1.Secret{TypeMeta: typeMeta("v1", "Secret"), Type: corev1.SecretTypeServiceAccountToken,
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: tokenIssuer, Annotations: map[string]string{corev1.ServiceAccountNameKey: tokenIssuer}}})
}

// vaultLogin lets the operator log in, and get credentials for this cluster alone.
func (s *Setup) vaultLogin(x *vaultSetup) {
	management := s.managementContext()
	s.step(Management, "Let Vault check the operator's token", "Vault uses the token itself to ask the API server about it.",
		sh("kubectl --context=%s create clusterrolebinding mondoo-operator-vault-token-review --clusterrole=system:auth-delegator --serviceaccount=%s --dry-run=client --output=yaml |",
			management, join(x.operatorNamespace, lit(":"), x.operator)),
		sh("  kubectl --context=%s apply -f -", management))
	x.management = s.find("management_server", sh("kubectl --context=%s config view --minify --output=jsonpath='{.clusters[0].cluster.server}'", management),
		"the address at which Vault reaches the API server of the management cluster")
	x.managementCA = s.find("management_ca", clusterCA(management), "the CA certificate of that address")
	s.step(Vault, "Enable the auth method for the management cluster", "If it exists already, its configuration stays as it is.",
		sh("if ! vault auth list -format=json | jq --exit-status --arg mount %s 'has($mount)' >/dev/null; then", join(x.authMount, lit("/"))),
		sh("  vault auth enable -path=%s kubernetes", x.authMount),
		sh("  vault write %s kubernetes_host=%s kubernetes_ca_cert=%s disable_local_ca_jwt=true", join(lit("auth/"), x.authMount, lit("/config")), x.management, x.managementCA),
		"fi")
	role := join(lit("auth/"), x.authMount, lit("/role/"), x.authRole)
	s.step(Vault, "Let the operator get credentials for this cluster", "The role keeps the policies for other clusters.",
		sh(`jq --null-input --arg path %s '{path: {($path): {capabilities: ["update"]}}}' |`, x.credsPath()),
		sh("  vault policy write %s -", x.policy),
		sh("vault write %s \\", role),
		sh("  bound_service_account_names=%s bound_service_account_namespaces=%s token_ttl=10m \\", x.operator, x.operatorNamespace),
		sh(`  token_policies="$({ vault read -format=json %s 2>/dev/null || echo '{}'; } |`, role),
		sh(`    jq --raw-output --arg policy %s '[.data.token_policies[]?] - [$policy] + [$policy] | join(",")')"`, x.policy))
}

func (x vaultSetup) credsPath() text { return join(x.engine, lit("/creds/"), x.credsRole) }

// vaultEngine lets Vault make tokens at the target.
func (s *Setup) vaultEngine(x vaultSetup) {
	target := s.targetContext()
	ca := s.find("target_ca", clusterCA(target), "the CA certificate of the cluster to scan")
	ttl := lit(fmt.Sprintf("%.0fs", x.ttl.Seconds()))
	s.step(Vault, "Enable the secrets engine for the cluster", "The mount serves this cluster alone.",
		sh("vault secrets list -format=json | jq --exit-status --arg mount %s 'has($mount)' >/dev/null || vault secrets enable -path=%s kubernetes", join(x.engine, lit("/")), x.engine),
		sh("kubectl --context=%s get secret "+tokenIssuer+" --namespace=%s --output=jsonpath='{.data.token}' | base64 --decode |", target, x.namespace),
		sh("  vault write %s kubernetes_host=%s kubernetes_ca_cert=%s service_account_jwt=-", join(x.engine, lit("/config")), x.server, ca),
		sh("vault write %s allowed_kubernetes_namespaces=%s service_account_name=%s token_default_ttl=%s token_max_ttl=%s",
			join(x.engine, lit("/roles/"), x.credsRole), x.namespace, lit(scanner), ttl, ttl))
}

// clusterCA is the command that prints the CA certificate of a cluster.
func clusterCA(context text) string {
	return sh("kubectl --context=%s get configmap kube-root-ca.crt --namespace=default --output=jsonpath='{.data.ca\\.crt}'", context)
}

// trimAuth returns where an auth method is mounted, below auth/.
func trimAuth(path string) string { return strings.Trim(strings.TrimPrefix(path, "auth/"), "/") }
