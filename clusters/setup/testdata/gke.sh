# Setup of the cluster "eu" of the audit config "mondoo-client" in the namespace "mondoo-operator": workloadIdentity, gke

# Variables. Set those that have no value here; a command doesn't run without the variables in it.
# MANAGEMENT_PROJECT: the ID of the project of the management cluster, if it is not that of the cluster to scan
[ "${MANAGEMENT_PROJECT-}" ] || MANAGEMENT_PROJECT=example-project
: "${TARGET_CONTEXT:?the kubectl context of the cluster to scan, with the rights of an administrator}"

# 1. Let the operator's ServiceAccount act as the Google service account (cloud)
gcloud iam service-accounts add-iam-policy-binding scanner@example-project.iam.gserviceaccount.com --project=example-project --role=roles/iam.workloadIdentityUser --member=serviceAccount:"${MANAGEMENT_PROJECT:?}"'.svc.id.goog[mondoo-operator/mondoo-client-wif-eu]'

# 2. Let the Google service account look up the cluster (cloud)
gcloud projects add-iam-policy-binding example-project --role=roles/container.clusterViewer --member=serviceAccount:scanner@example-project.iam.gserviceaccount.com --condition=None

# 3. Let the scanner read all objects (target)
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
  name: scanner@example-project.iam.gserviceaccount.com
EOF
