package v1alpha1

import (
	"regexp"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/v1alpha1/internal/form"
)

var (
	providers = []string{string(GKE), string(EKS), string(AKS)}

	roleARN              = regexp.MustCompile(form.RoleARN)
	uuid                 = regexp.MustCompile(form.UUID)
	email                = regexp.MustCompile(form.Email)
	noBlank              = regexp.MustCompile(form.NoBlank)
	googleServiceAccount = regexp.MustCompile(form.GoogleServiceAccount)
	googleProject        = regexp.MustCompile(form.GoogleProject)
	googleLocation       = regexp.MustCompile(form.GoogleLocation)
	awsRegion            = regexp.MustCompile(form.AWSRegion)
	eksCluster           = regexp.MustCompile(form.EKSCluster)
)

func (v *validator) workloadIdentity(wi *WorkloadIdentity) {
	if wi == nil {
		return
	}
	at := []string{"spec", "workloadIdentity"}
	blocks := given(providers, wi.GKE != nil, wi.EKS != nil, wi.AKS != nil)
	provider := string(wi.Provider)
	known := slices.Contains(providers, provider)
	switch {
	case !v.required(provider, append(at, "provider")...):
	case !known:
		v.fail(CodeProvider, append(at, "provider"), "is not a provider that the operator supports", "write gke, eks or aks")
	case !slices.Contains(blocks, provider):
		if _, ok := v.mentioned["spec.workloadIdentity."+provider]; !ok {
			v.fail(CodeProvider, append(at, provider), "is missing, but provider is "+provider, "add the block "+provider+", or set the provider of your block")
		}
	}
	for _, block := range blocks {
		if known && block != provider {
			v.fail(CodeConflict, append(at, block), "does not match provider "+provider, "remove it")
		}
	}
	v.gke(wi.GKE)
	v.eks(wi.EKS)
	v.aks(wi.AKS)
}

func (v *validator) gke(id *GKEIdentity) {
	if id == nil {
		return
	}
	at := func(name string) []string { return []string{"spec", "workloadIdentity", "gke", name} }
	if v.required(id.ProjectID, at("projectId")...) {
		v.matches(googleProject, id.ProjectID, CodeCloudID, finding.Warning, at("projectId"), "does not look like a project ID", "use the ID of the project, not its name or number")
	}
	if v.required(id.ClusterName, at("clusterName")...) {
		v.matches(noBlank, id.ClusterName, CodeCloudID, finding.Error, at("clusterName"), "contains a blank", "use the name that gcloud container clusters list shows")
	}
	if v.required(id.ClusterLocation, at("clusterLocation")...) {
		v.matches(googleLocation, id.ClusterLocation, CodeCloudID, finding.Warning, at("clusterLocation"), "does not look like a region or zone", "write one such as europe-west1 or europe-west1-b")
	}
	if account := id.GoogleServiceAccount; v.required(account, at("googleServiceAccount")...) {
		switch {
		case !email.MatchString(account):
			v.fail(CodeCloudID, at("googleServiceAccount"), "is not an e-mail address", "write NAME@PROJECT.iam.gserviceaccount.com")
		case !googleServiceAccount.MatchString(account):
			v.warn(CodeCloudID, at("googleServiceAccount"), "does not look like a Google service account's address", "write NAME@PROJECT.iam.gserviceaccount.com")
		}
	}
	v.endpoint(id.Endpoint, at("endpoint")...)
}

func (v *validator) eks(id *EKSIdentity) {
	if id == nil {
		return
	}
	at := func(name string) []string { return []string{"spec", "workloadIdentity", "eks", name} }
	if v.required(id.Region, at("region")...) {
		v.matches(awsRegion, id.Region, CodeCloudID, finding.Warning, at("region"), "does not look like an AWS region", "write one such as eu-central-1")
	}
	if v.required(id.ClusterName, at("clusterName")...) {
		v.matches(eksCluster, id.ClusterName, CodeCloudID, finding.Warning, at("clusterName"), "does not look like the name of an EKS cluster", "use the name that aws eks list-clusters shows, not the ARN")
	}
	if v.required(id.RoleARN, at("roleArn")...) {
		v.matches(roleARN, id.RoleARN, CodeCloudID, finding.Error, at("roleArn"), "is not the ARN of an IAM role", "write arn:aws:iam::<12-digit account>:role/<name>")
	}
	v.softEndpoint(id.Endpoint, at("endpoint"))
}

func (v *validator) aks(id *AKSIdentity) {
	if id == nil {
		return
	}
	at := func(name string) []string { return []string{"spec", "workloadIdentity", "aks", name} }
	for _, f := range []struct{ name, value string }{{"subscriptionId", id.SubscriptionID}, {"clientId", id.ClientID}, {"tenantId", id.TenantID}} {
		if v.required(f.value, at(f.name)...) {
			v.matches(uuid, f.value, CodeCloudID, finding.Error, at(f.name), "is not a UUID", "use the form of az account show and az identity show")
		}
	}
	v.required(id.ResourceGroup, at("resourceGroup")...)
	if v.required(id.ClusterName, at("clusterName")...) {
		v.matches(noBlank, id.ClusterName, CodeCloudID, finding.Error, at("clusterName"), "contains a blank", "use the name that az aks list shows")
	}
	v.softEndpoint(id.Endpoint, at("endpoint"))
	v.matches(noBlank, id.LoginServer, CodeCloudID, finding.Warning, at("loginServer"), "contains a blank", "")
}

// softEndpoint checks an address for which the CRD only requires the prefix https://.
func (v *validator) softEndpoint(address string, field []string) {
	switch {
	case !v.checkable(address) || wrongAddress(address, serverForm, "https://") == "":
	case !strings.HasPrefix(address, "https://"):
		v.fail(CodeServer, field, "does not start with https://, so the API server refuses the whole audit config", serverFix)
	default:
		v.warn(CodeServer, field, "does not look like the https address of an API server", serverFix)
	}
}
