# Setup of the cluster "eu" of the audit config "mondoo-client" in the namespace "mondoo-operator": workloadIdentity, aks

# Variables. Set those that have no value here; a command doesn't run without the variables in it.
: "${MANAGEMENT_CONTEXT:?the kubectl context of the cluster in which the Mondoo Operator runs}"
# OIDC_ISSUER: the OIDC issuer of the management cluster
[ "${OIDC_ISSUER-}" ] || OIDC_ISSUER=$(kubectl --context="${MANAGEMENT_CONTEXT:?}" get --raw /.well-known/openid-configuration | jq --raw-output .issuer)
# IDENTITY_NAME: the name of the managed identity, if it is in another subscription; an app registration needs az ad app federated-credential create instead
[ "${IDENTITY_NAME-}" ] || IDENTITY_NAME=$(az identity list --output=json | jq --raw-output --arg client 00000000-0000-0000-0000-000000000002 '.[] | select(.clientId == $client) | .name')
# IDENTITY_RESOURCE_GROUP: the resource group of the managed identity
[ "${IDENTITY_RESOURCE_GROUP-}" ] || IDENTITY_RESOURCE_GROUP=$(az identity list --output=json | jq --raw-output --arg client 00000000-0000-0000-0000-000000000002 '.[] | select(.clientId == $client) | .resourceGroup')
# OBJECT_ID: the object ID of the managed identity, which is its user name in the cluster
[ "${OBJECT_ID-}" ] || OBJECT_ID=$(az ad sp show --id=00000000-0000-0000-0000-000000000002 --query=id --output=tsv)
: "${TARGET_CONTEXT:?the kubectl context of the cluster to scan, with the rights of an administrator}"

# 1. Let the operator's ServiceAccount log in as the managed identity (cloud)
az identity federated-credential create --name=mondoo-client-wif-eu --identity-name="${IDENTITY_NAME:?}" --resource-group="${IDENTITY_RESOURCE_GROUP:?}" --issuer="${OIDC_ISSUER:?}" --subject=system:serviceaccount:mondoo-operator:mondoo-client-wif-eu --audiences=api://AzureADTokenExchange

# 2. Let the identity look up the cluster (cloud)
az role assignment create --assignee-object-id="${OBJECT_ID:?}" --assignee-principal-type=ServicePrincipal --role='Azure Kubernetes Service Cluster User Role' --scope=/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/'example group'/providers/Microsoft.ContainerService/managedClusters/eu

# 3. Let the scanner read all objects (target)
# The cluster must use Entra ID for authentication.
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
  name: ${OBJECT_ID:?}
EOF
