# Setup of the cluster "eu" of the audit config "mondoo-client" in the namespace "mondoo-operator": spiffeAuth

# Variables. Set those that have no value here; a command doesn't run without the variables in it.
: "${SPIFFE_ID:?the common name in the certificate of the scan Pod; Kubernetes takes the user name from there, so let SPIRE write the SPIFFE ID into it}"
# SPIRE_NAMESPACE: the namespace of the SPIRE server
[ "${SPIRE_NAMESPACE-}" ] || SPIRE_NAMESPACE=spire-server
# SPIRE_SERVER: the SPIRE server, as kubectl exec takes it
[ "${SPIRE_SERVER-}" ] || SPIRE_SERVER=statefulset/spire-server
: "${MANAGEMENT_CONTEXT:?the kubectl context of the cluster in which the Mondoo Operator runs}"
: "${TARGET_CONTEXT:?the kubectl context of the cluster to scan, with the rights of an administrator}"

# 1. Write the trust bundle of SPIRE to a file (management cluster)
kubectl --context="${MANAGEMENT_CONTEXT:?}" exec --namespace="${SPIRE_NAMESPACE:?}" "${SPIRE_SERVER:?}" --container=spire-server -- /opt/spire/bin/spire-server bundle show -format=pem >spire-bundle.pem

# 2. Let the API server accept the trust bundle as a client CA (target)
# Run this on each control plane node, with spire-bundle.pem copied there.
# The paths are kubeadm's.
# GKE, EKS and AKS don't offer this setting.
cat /etc/kubernetes/pki/ca.crt spire-bundle.pem >/etc/kubernetes/pki/client-ca.crt &&
  sed -i 's#--client-ca-file=.*#--client-ca-file=/etc/kubernetes/pki/client-ca.crt#' /etc/kubernetes/manifests/kube-apiserver.yaml

# 3. Check that the bundle is among the client CAs (target)
kubectl --context="${TARGET_CONTEXT:?}" get configmap extension-apiserver-authentication --namespace=kube-system --output=jsonpath='{.data.client-ca-file}'

# 4. Let the scanner read all objects (target)
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
  name: ${SPIFFE_ID:?}
EOF
