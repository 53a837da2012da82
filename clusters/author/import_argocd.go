package author

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"

	"github.com/muster-gitops/muster/clusters/sources"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// ArgoSecret imports a cluster of Argo CD from its Secret.
func (im *Import) ArgoSecret(data map[string][]byte) {
	name := ClusterName(string(data["name"]))
	server := strings.TrimSpace(string(data["server"]))
	c, err := sources.ParseArgo(data)
	switch {
	case name == "":
		im.leave("(no name)", "a cluster Secret of Argo CD has no name", "")
	case server == "https://kubernetes.default.svc":
		im.leave(name, "it is the cluster in which Argo CD runs", "the audit config's own scan covers it: spec.kubernetesResources.enable")
	case err != nil:
		im.leave(name, err.Error(), "")
	default:
		d, err := im.argo(name, server, c)
		if err != nil {
			im.leave(name, err.Error(), "make a ServiceAccount for the scanner: muster add "+name)
			return
		}
		im.add(d)
	}
}

func (im *Import) argo(name, server string, c *sources.Argo) (*Draft, error) {
	switch {
	case c.AWSAuthConfig != nil:
		return argoEKS(name, server, c)
	case c.ExecProviderConfig != nil:
		return nil, fmt.Errorf("it logs in by the program %s, which the scanner doesn't have", c.ExecProviderConfig.Command)
	}
	tls := c.TLSClientConfig
	if c.BearerToken != "" && tls.CAData != "" && !tls.Insecure && tls.ServerName+c.ProxyURL == "" {
		ca, err := decoded(tls.CAData)
		if err != nil {
			return nil, fmt.Errorf("its caData is not base64")
		}
		d := New(name)
		d.Cluster.Spec.ServiceAccountAuth = &v1alpha1.ServiceAccountAuth{Server: server, Token: c.BearerToken, CACert: ca}
		return d, nil
	}
	cluster, user := c.Connection(server)
	k := kubeconfig{Clusters: []named{{Name: name, Cluster: cluster}}, Users: []named{{Name: name, User: user}}, CurrentContext: name,
		Contexts: make([]kubeAccess, 1)}
	k.Contexts[0].Name, k.Contexts[0].Context.Cluster, k.Contexts[0].Context.User = name, name, name
	return kubeconfigDraft(name, k, im.Now)
}

// eksServer is the address of an API server of EKS, which has the region.
var eksServer = regexp.MustCompile(`(?i)^https://[^/]+\.([a-z0-9-]+)\.eks\.amazonaws\.com(?:\.cn)?/?$`)

// argoEKS returns the cluster with the role that Argo CD assumes.
func argoEKS(name, server string, c *sources.Argo) (*Draft, error) {
	region := eksServer.FindStringSubmatch(server)
	switch aws := c.AWSAuthConfig; {
	case aws.RoleARN == "" || aws.ClusterName == "":
		return nil, fmt.Errorf("its awsAuthConfig has no clusterName or no roleARN, so Argo CD logs in as itself")
	case aws.Profile != "":
		return nil, fmt.Errorf("its awsAuthConfig has a profile, a file that the scanner doesn't have")
	case region == nil:
		return nil, fmt.Errorf("its server is not an address of EKS, which would tell the region")
	}
	d := New(name)
	d.Cluster.Spec.WorkloadIdentity = &v1alpha1.WorkloadIdentity{Provider: v1alpha1.EKS,
		EKS: &v1alpha1.EKSIdentity{Region: region[1], ClusterName: c.AWSAuthConfig.ClusterName, RoleARN: c.AWSAuthConfig.RoleARN}}
	if tls := c.TLSClientConfig; c.ProxyURL != "" || tls.Insecure || tls.ServerName != "" {
		d.note("its proxy, TLS server name and insecure connection have no counterpart for workload identity; the scanner uses the address that AWS reports")
	}
	d.note("the role has to trust the scanner, and may do what Argo CD does there; muster setup %s prints how to make one that only reads", name)
	return d, nil
}

func decoded(text string) (string, error) {
	value, err := base64.StdEncoding.DecodeString(text)
	return string(value), err
}
