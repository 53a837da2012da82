# Setup of the cluster "eu" of the audit config "mondoo-client" in the namespace "mondoo-operator": workloadIdentity, eks

# Variables. Set those that have no value here; a command doesn't run without the variables in it.
: "${MANAGEMENT_CONTEXT:?the kubectl context of the cluster in which the Mondoo Operator runs}"
# OIDC_ISSUER: the OIDC issuer of the management cluster, without https://; the account of the role must have it as an identity provider
[ "${OIDC_ISSUER-}" ] || OIDC_ISSUER=$(kubectl --context="${MANAGEMENT_CONTEXT:?}" get --raw /.well-known/openid-configuration | jq --raw-output '.issuer | ltrimstr("https://")')
: "${TARGET_CONTEXT:?the kubectl context of the cluster to scan, with the rights of an administrator}"

# 1. Let the operator's ServiceAccount assume the IAM role (cloud)
# This adds a statement to the trust policy of the role, and keeps the others.
aws iam get-role --role-name=mondoo-scanner --query=Role.AssumeRolePolicyDocument --output=json |
  jq --arg provider arn:aws:iam::123456789012:oidc-provider/"${OIDC_ISSUER:?}" --arg issuer "${OIDC_ISSUER:?}" --arg subject system:serviceaccount:mondoo-operator:mondoo-client-wif-eu '
    {Effect: "Allow", Principal: {Federated: $provider}, Action: "sts:AssumeRoleWithWebIdentity",
      Condition: {StringEquals: {($issuer + ":sub"): $subject, ($issuer + ":aud"): "sts.amazonaws.com"}}} as $statement |
    .Statement |= ((if type == "array" then . else [.] end) - [$statement] + [$statement])' |
  aws iam update-assume-role-policy --role-name=mondoo-scanner --policy-document=file:///dev/stdin

# 2. Let the role look up the cluster (cloud)
jq --null-input --arg cluster arn:aws:eks:eu-central-1:123456789012:cluster/eu '{Version: "2012-10-17", Statement: [{Effect: "Allow", Action: "eks:DescribeCluster", Resource: $cluster}]}' |
  aws iam put-role-policy --role-name=mondoo-scanner --policy-name=describe-eu --policy-document=file:///dev/stdin

# 3. Let the role log in to the cluster (cloud)
# A cluster without access entries needs a mapping in the ConfigMap aws-auth, where a role has no path.
if [ "$(aws eks describe-cluster --region=eu-central-1 --name=eu --query=cluster.accessConfig.authenticationMode --output=text)" = CONFIG_MAP ]; then
  eksctl create iamidentitymapping --region=eu-central-1 --cluster=eu --arn=arn:aws:iam::123456789012:role/mondoo-scanner --username=mondoo-scanner --group=mondoo-scanner
else
  aws eks create-access-entry --region=eu-central-1 --cluster-name=eu --principal-arn=arn:aws:iam::123456789012:role/scans/mondoo-scanner --kubernetes-groups=mondoo-scanner
fi

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
  kind: Group
  name: mondoo-scanner
EOF
