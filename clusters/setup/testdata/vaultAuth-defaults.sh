# Setup of the cluster "eu" of the audit config "mondoo-client" in the namespace "mondoo-operator": vaultAuth

# Variables. Set those that have no value here; a command doesn't run without the variables in it.
: "${VAULT_ADDR:?the address of Vault, as in the cluster file}"
: "${CREDS_ROLE:?the role of the secrets engine, as in the cluster file}"
: "${TARGET_SERVER:?the address of the API server of the cluster to scan, as in the cluster file}"
# OPERATOR_SERVICE_ACCOUNT: the ServiceAccount of the Mondoo Operator
[ "${OPERATOR_SERVICE_ACCOUNT-}" ] || OPERATOR_SERVICE_ACCOUNT=mondoo-operator-controller-manager
# OPERATOR_NAMESPACE: the namespace of the Mondoo Operator
[ "${OPERATOR_NAMESPACE-}" ] || OPERATOR_NAMESPACE=mondoo-operator
: "${TARGET_CONTEXT:?the kubectl context of the cluster to scan, with the rights of an administrator}"
: "${MANAGEMENT_CONTEXT:?the kubectl context of the cluster in which the Mondoo Operator runs}"
# MANAGEMENT_SERVER: the address at which Vault reaches the API server of the management cluster
[ "${MANAGEMENT_SERVER-}" ] || MANAGEMENT_SERVER=$(kubectl --context="${MANAGEMENT_CONTEXT:?}" config view --minify --output=jsonpath='{.clusters[0].cluster.server}')
# MANAGEMENT_CA: the CA certificate of that address
[ "${MANAGEMENT_CA-}" ] || MANAGEMENT_CA=$(kubectl --context="${MANAGEMENT_CONTEXT:?}" get configmap kube-root-ca.crt --namespace=default --output=jsonpath='{.data.ca\.crt}')
# TARGET_CA: the CA certificate of the cluster to scan
[ "${TARGET_CA-}" ] || TARGET_CA=$(kubectl --context="${TARGET_CONTEXT:?}" get configmap kube-root-ca.crt --namespace=default --output=jsonpath='{.data.ca\.crt}')

# 1. Let the scanner read all objects (target)
# Vault may only make tokens for the scanner.
# Set spec.vaultAuth.kubernetesNamespace to mondoo-scan in the cluster file: older versions of Vault refuse requests without it.
# The right includes Secrets.
# With the built-in role view instead, scans miss Secrets, nodes, RBAC objects and most custom resources.
kubectl --context="${TARGET_CONTEXT:?}" apply -f - <<EOF
---
apiVersion: v1
kind: Namespace
metadata:
  name: mondoo-scan
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: mondoo-scanner
  namespace: mondoo-scan
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: vault-token-issuer
  namespace: mondoo-scan
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: vault-token-issuer
  namespace: mondoo-scan
rules:
- apiGroups:
  - ""
  resourceNames:
  - mondoo-scanner
  resources:
  - serviceaccounts/token
  verbs:
  - create
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: vault-token-issuer
  namespace: mondoo-scan
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: vault-token-issuer
subjects:
- kind: ServiceAccount
  name: vault-token-issuer
  namespace: mondoo-scan
---
apiVersion: v1
kind: Secret
metadata:
  annotations:
    kubernetes.io/service-account.name: vault-token-issuer
  name: vault-token-issuer
  namespace: mondoo-scan
type: kubernetes.io/service-account-token
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: mondoo-operator-k8s-resources-scanning
rules:
- apiGroups:
  - '*'
  resources:
  - '*'
  verbs:
  - get
  - list
  - watch
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: mondoo-operator-k8s-resources-scanning-eu
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: mondoo-operator-k8s-resources-scanning
subjects:
- kind: ServiceAccount
  name: mondoo-scanner
  namespace: mondoo-scan
EOF

# 2. Choose the Vault (Vault)
# Log in with the rights to enable auth methods and secrets engines, for example by vault login.
export VAULT_ADDR="${VAULT_ADDR:?}"

# 3. Let Vault check the operator's token (management cluster)
# Vault uses the token itself to ask the API server about it.
kubectl --context="${MANAGEMENT_CONTEXT:?}" create clusterrolebinding mondoo-operator-vault-token-review --clusterrole=system:auth-delegator --serviceaccount="${OPERATOR_NAMESPACE:?}":"${OPERATOR_SERVICE_ACCOUNT:?}" --dry-run=client --output=yaml |
  kubectl --context="${MANAGEMENT_CONTEXT:?}" apply -f -

# 4. Enable the auth method for the management cluster (Vault)
# If it exists already, its configuration stays as it is.
if ! vault auth list -format=json | jq --exit-status --arg mount kubernetes/ 'has($mount)' >/dev/null; then
  vault auth enable -path=kubernetes kubernetes
  vault write auth/kubernetes/config kubernetes_host="${MANAGEMENT_SERVER:?}" kubernetes_ca_cert="${MANAGEMENT_CA:?}" disable_local_ca_jwt=true
fi

# 5. Let the operator get credentials for this cluster (Vault)
# The role keeps the policies for other clusters.
jq --null-input --arg path kubernetes/creds/"${CREDS_ROLE:?}" '{path: {($path): {capabilities: ["update"]}}}' |
  vault policy write mondoo-mondoo-client-eu -
vault write auth/kubernetes/role/mondoo-operator \
  bound_service_account_names="${OPERATOR_SERVICE_ACCOUNT:?}" bound_service_account_namespaces="${OPERATOR_NAMESPACE:?}" token_ttl=10m \
  token_policies="$({ vault read -format=json auth/kubernetes/role/mondoo-operator 2>/dev/null || echo '{}'; } |
    jq --raw-output --arg policy mondoo-mondoo-client-eu '[.data.token_policies[]?] - [$policy] + [$policy] | join(",")')"

# 6. Enable the secrets engine for the cluster (Vault)
# The mount serves this cluster alone.
vault secrets list -format=json | jq --exit-status --arg mount kubernetes/ 'has($mount)' >/dev/null || vault secrets enable -path=kubernetes kubernetes
kubectl --context="${TARGET_CONTEXT:?}" get secret vault-token-issuer --namespace=mondoo-scan --output=jsonpath='{.data.token}' | base64 --decode |
  vault write kubernetes/config kubernetes_host="${TARGET_SERVER:?}" kubernetes_ca_cert="${TARGET_CA:?}" service_account_jwt=-
vault write kubernetes/roles/"${CREDS_ROLE:?}" allowed_kubernetes_namespaces=mondoo-scan service_account_name=mondoo-scanner token_default_ttl=3600s token_max_ttl=3600s
