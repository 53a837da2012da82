# Setup of the cluster "eu" of the audit config "mondoo-client" in the namespace "mondoo-operator": serviceAccountAuth

# Variables. Set those that have no value here; a command doesn't run without the variables in it.
: "${TARGET_CONTEXT:?the kubectl context of the cluster to scan, with the rights of an administrator}"

# 1. Let the scanner read all objects (target)
# If the cluster has a ServiceAccount for scans already, bind the ClusterRole to that one, and skip the token.
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

# 2. Create a token (target)
# Many API servers grant less than a year, and don't say so: about 24 hours at EKS and AKS, 48 at GKE.
# The first line is when this token expires.
kubectl --context="${TARGET_CONTEXT:?}" create token mondoo-scanner --namespace=mondoo-scan --duration=8760h --output=json |
  jq --raw-output '.status | .expirationTimestamp, .token'

# 3. Print the CA certificate (target)
# Put token and certificate into spec.serviceAccountAuth of the cluster file, or its Secret, and encrypt it with sops.
kubectl --context="${TARGET_CONTEXT:?}" get configmap kube-root-ca.crt --namespace=default --output=jsonpath='{.data.ca\.crt}'

# 4. Let the ServiceAccount create its own tokens (target)
# Muster renews its token with that.
# For a ServiceAccount of your own, replace namespace and name.
kubectl --context="${TARGET_CONTEXT:?}" apply -f - <<EOF
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: muster-renew-mondoo-scanner
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
  name: muster-renew-mondoo-scanner
  namespace: mondoo-scan
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: muster-renew-mondoo-scanner
subjects:
- kind: ServiceAccount
  name: mondoo-scanner
  namespace: mondoo-scan
EOF
