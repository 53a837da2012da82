package setup

import (
	"regexp"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// azureUserRole may read the address and the certificate of an AKS cluster, and no more.
const azureUserRole = "Azure Kubernetes Service Cluster User Role"

func (s *Setup) gke(g mondoo.GKE) {
	s.Method = "workloadIdentity, gke"
	account := s.known(g.GoogleServiceAccount, "google_service_account", "the e-mail address of the Google service account, as in the cluster file")
	project := s.known(g.ProjectID, "target_project", "the ID of the project of the cluster to scan, as in the cluster file")
	pool := s.usually("management_project", project, "the ID of the project of the management cluster, if it is not that of the cluster to scan")
	member := join(lit("serviceAccount:"), pool, lit(".svc.id.goog["+s.Namespace+"/"+mondoo.WorkloadIdentityServiceAccount(s.AuditConfig, s.Cluster)+"]"))
	s.step(Cloud, "Let the operator's ServiceAccount act as the Google service account", "",
		sh("gcloud iam service-accounts add-iam-policy-binding %s --project=%s --role=roles/iam.workloadIdentityUser --member=%s", account, project, member))
	s.step(Cloud, "Let the Google service account look up the cluster", "",
		sh("gcloud projects add-iam-policy-binding %s --role=roles/container.clusterViewer --member=%s --condition=None", project, join(lit("serviceAccount:"), account)))
	s.grant(user(account), "")
	s.resource("google_service_account_iam_member", "scanner",
		attr{"service_account_id", join(lit("projects/-/serviceAccounts/"), account)},
		attr{"role", lit("roles/iam.workloadIdentityUser")}, attr{"member", member})
	s.resource("google_project_iam_member", "scanner", attr{"project", project},
		attr{"role", lit("roles/container.clusterViewer")}, attr{"member", join(lit("serviceAccount:"), account)})
	s.terraformRole(rbacv1.UserKind, account)
}

// eksName is what AWS accepts in the name of a cluster and of a region. An asterisk would widen the permission.
var eksName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]*$`)

func (s *Setup) eks(e mondoo.EKS) {
	s.Method = "workloadIdentity, eks"
	role := s.role(e.RoleARN)
	cluster := s.matching(eksName, e.ClusterName, "eks_cluster", "the name of the EKS cluster, as in the cluster file")
	region := s.matching(eksName, e.Region, "eks_region", "the region of the EKS cluster, as in the cluster file")
	issuer := s.find("oidc_issuer", sh(`kubectl --context=%s get --raw /.well-known/openid-configuration | jq --raw-output '.issuer | ltrimstr("https://")'`, s.managementContext()),
		"the OIDC issuer of the management cluster, without https://; the account of the role must have it as an identity provider")
	provider := join(lit("arn:"), role.partition, lit(":iam::"), role.account, lit(":oidc-provider/"), issuer)
	s.step(Cloud, "Let the operator's ServiceAccount assume the IAM role", "This adds a statement to the trust policy of the role, and keeps the others.",
		sh("aws iam get-role --role-name=%s --query=Role.AssumeRolePolicyDocument --output=json |", role.name),
		sh("  jq --arg provider %s --arg issuer %s --arg subject %s '", provider, issuer, s.scanSubject()),
		`    {Effect: "Allow", Principal: {Federated: $provider}, Action: "sts:AssumeRoleWithWebIdentity",`,
		`      Condition: {StringEquals: {($issuer + ":sub"): $subject, ($issuer + ":aud"): "sts.amazonaws.com"}}} as $statement |`,
		`    .Statement |= ((if type == "array" then . else [.] end) - [$statement] + [$statement])' |`,
		sh("  aws iam update-assume-role-policy --role-name=%s --policy-document=file:///dev/stdin", role.name))
	resource := join(lit("arn:"), role.partition, lit(":eks:"), region, lit(":"), role.account, lit(":cluster/"), cluster)
	s.step(Cloud, "Let the role look up the cluster", "",
		sh("jq --null-input --arg cluster %s '{Version: \"2012-10-17\", Statement: [{Effect: \"Allow\", Action: \"eks:DescribeCluster\", Resource: $cluster}]}' |", resource),
		sh("  aws iam put-role-policy --role-name=%s --policy-name=%s --policy-document=file:///dev/stdin", role.name, join(lit("describe-"), cluster)))
	mapped := join(lit("arn:"), role.partition, lit(":iam::"), role.account, lit(":role/"), role.name)
	s.step(Cloud, "Let the role log in to the cluster", "A cluster without access entries needs a mapping in the ConfigMap aws-auth, where a role has no path.",
		sh(`if [ "$(aws eks describe-cluster --region=%s --name=%s --query=cluster.accessConfig.authenticationMode --output=text)" = CONFIG_MAP ]; then`, region, cluster),
		sh("  eksctl create iamidentitymapping --region=%s --cluster=%s --arn=%s --username="+scanner+" --group="+scanner, region, cluster, mapped),
		"else",
		sh("  aws eks create-access-entry --region=%s --cluster-name=%s --principal-arn=%s --kubernetes-groups="+scanner, region, cluster, role.arn),
		"fi")
	s.grant(rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: scanner}, "")
	s.eksTerraform(role, region, cluster, issuer, provider, resource)
}

func (s *Setup) eksTerraform(role iamRole, region, cluster, issuer, provider, resource text) {
	condition := func(claim string, value text) block {
		return block{kind: "condition", items: []any{attr{"test", lit("StringEquals")}, attr{"variable", join(issuer, lit(":"+claim))}, attr{"values", []any{value}}}}
	}
	s.blocks = append(s.blocks, block{kind: "data", labels: []string{"aws_iam_policy_document", "trust"}, items: []any{
		block{kind: "statement", items: []any{
			attr{"actions", []any{lit("sts:AssumeRoleWithWebIdentity")}},
			block{kind: "principals", items: []any{attr{"type", lit("Federated")}, attr{"identifiers", []any{provider}}}},
			condition("sub", s.scanSubject()), condition("aud", lit("sts.amazonaws.com"))}}}},
		block{kind: "output", labels: []string{"assume_role_policy"}, items: []any{
			attr{"description", lit("The trust policy of the role: the value of assume_role_policy, or one of its source_policy_documents.")},
			attr{"value", expression("data.aws_iam_policy_document.trust.json")}}})
	s.resource("aws_iam_role_policy", "scanner", attr{"name", join(lit("describe-"), cluster)}, attr{"role", role.name},
		attr{"policy", jsonencode{{lit("Version"), lit("2012-10-17")}, {lit("Statement"), []any{
			object{{lit("Effect"), lit("Allow")}, {lit("Action"), lit("eks:DescribeCluster")}, {lit("Resource"), resource}}}}}})
	s.resource("aws_eks_access_entry", "scanner", attr{"region", region}, attr{"cluster_name", cluster}, attr{"principal_arn", role.arn},
		attr{"kubernetes_groups", []any{lit(scanner)}})
	s.terraformRole(rbacv1.GroupKind, lit(scanner))
}

// iamRole is an IAM role by the parts of its ARN.
type iamRole struct{ arn, partition, account, name text }

var roleARN = regexp.MustCompile(`^arn:([a-z-]+):iam::([0-9]{12}):role/(?:[\w+=,.@/-]+/)?([\w+=,.@-]+)$`)

func (s *Setup) role(arn string) iamRole {
	parts := roleARN.FindStringSubmatch(arn)
	if parts == nil {
		return iamRole{partition: lit("aws"), arn: s.ask("role_arn", "the ARN of the IAM role, as in the cluster file"),
			account: s.ask("aws_account", "the number of the account of the IAM role"), name: s.ask("role_name", "the name of the IAM role, without its path")}
	}
	return iamRole{arn: lit(arn), partition: lit(parts[1]), account: lit(parts[2]), name: s.known(parts[3], "role_name", "the name of the IAM role, without its path")}
}

func (s *Setup) aks(a mondoo.AKS) {
	s.Method = "workloadIdentity, aks"
	client := s.known(a.ClientID, "client_id", "the client ID of the managed identity, as in the cluster file")
	subscription := s.known(a.SubscriptionID, "target_subscription", "the ID of the subscription of the cluster to scan, as in the cluster file")
	group := s.known(a.ResourceGroup, "target_resource_group", "the resource group of the cluster to scan, as in the cluster file")
	cluster := s.known(a.ClusterName, "aks_cluster", "the name of the AKS cluster, as in the cluster file")
	issuer := s.find("oidc_issuer", sh("kubectl --context=%s get --raw /.well-known/openid-configuration | jq --raw-output .issuer", s.managementContext()),
		"the OIDC issuer of the management cluster")
	identity := func(name, field, meaning string) text {
		return s.find(name, sh("az identity list --output=json | jq --raw-output --arg client %s '.[] | select(.clientId == $client) | "+field+"'", client), meaning)
	}
	name := identity("identity_name", ".name", "the name of the managed identity, if it is in another subscription; an app registration needs az ad app federated-credential create instead")
	home := identity("identity_resource_group", ".resourceGroup", "the resource group of the managed identity")
	scope := join(lit("/subscriptions/"), subscription, lit("/resourceGroups/"), group, lit("/providers/Microsoft.ContainerService/managedClusters/"), cluster)
	credential := s.matching(azureName, mondoo.WorkloadIdentityServiceAccount(s.AuditConfig, s.Cluster), "credential_name",
		"a name for the federated credential: letters, digits and dashes, at most 120")
	s.step(Cloud, "Let the operator's ServiceAccount log in as the managed identity", "",
		sh("az identity federated-credential create --name=%s --identity-name=%s --resource-group=%s --issuer=%s --subject=%s --audiences=api://AzureADTokenExchange",
			credential, name, home, issuer, s.scanSubject()))
	principal := s.find("object_id", sh("az ad sp show --id=%s --query=id --output=tsv", client), "the object ID of the managed identity, which is its user name in the cluster")
	s.step(Cloud, "Let the identity look up the cluster", "",
		sh("az role assignment create --assignee-object-id=%s --assignee-principal-type=ServicePrincipal --role='"+azureUserRole+"' --scope=%s", principal, scope))
	s.grant(user(principal), "The cluster must use Entra ID for authentication.")
	s.blocks = append(s.blocks, block{kind: "data", labels: []string{"azurerm_user_assigned_identity", "scanner"},
		items: []any{attr{"name", name}, attr{"resource_group_name", home}}})
	s.resource("azurerm_federated_identity_credential", "scanner", attr{"name", credential}, attr{"resource_group_name", home},
		attr{"parent_id", expression("data.azurerm_user_assigned_identity.scanner.id")}, attr{"issuer", issuer}, attr{"subject", s.scanSubject()},
		attr{"audience", []any{lit("api://AzureADTokenExchange")}})
	s.resource("azurerm_role_assignment", "scanner", attr{"scope", scope}, attr{"role_definition_name", lit(azureUserRole)}, attr{"principal_id", principal})
	s.terraformRole(rbacv1.UserKind, principal)
}

// azureName is what Azure accepts in the name of a federated credential.
var azureName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{2,119}$`)
