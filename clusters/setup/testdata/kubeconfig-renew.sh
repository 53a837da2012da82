# Setup of the cluster "eu" of the audit config "mondoo-client" in the namespace "mondoo-operator": kubeconfig

# Variables. Set those that have no value here; a command doesn't run without the variables in it.
: "${KUBECONFIG_USER:?the user name that the cluster to scan sees; kubectl auth whoami prints it, with the kubeconfig in KUBECONFIG}"
: "${TARGET_CONTEXT:?the kubectl context of the cluster to scan, with the rights of an administrator}"
: "${ACCOUNT_NAMESPACE:?the namespace of the ServiceAccount whose token is in the kubeconfig}"
: "${ACCOUNT_NAME:?the name of that ServiceAccount}"

# 1. Let the scanner read all objects (target)
# The right includes Secrets.
# With the built-in role view instead, scans miss Secrets, nodes, RBAC objects and most custom resources.
kubectl --context="${TARGET_CONTEXT:?}" apply -f - <<EOF
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
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: ${KUBECONFIG_USER:?}
EOF

# 2. Let the ServiceAccount create its own tokens (target)
# Muster renews its token with that.
# For a ServiceAccount of your own, replace namespace and name.
kubectl --context="${TARGET_CONTEXT:?}" apply -f - <<EOF
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: muster-renew-${ACCOUNT_NAME:?}
  namespace: ${ACCOUNT_NAMESPACE:?}
rules:
- apiGroups:
  - ""
  resourceNames:
  - ${ACCOUNT_NAME:?}
  resources:
  - serviceaccounts/token
  verbs:
  - create
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: muster-renew-${ACCOUNT_NAME:?}
  namespace: ${ACCOUNT_NAMESPACE:?}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: muster-renew-${ACCOUNT_NAME:?}
subjects:
- kind: ServiceAccount
  name: ${ACCOUNT_NAME:?}
  namespace: ${ACCOUNT_NAMESPACE:?}
EOF
