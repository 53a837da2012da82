package author

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// cloud makes a workload identity of a context that logs in with a program, if the server or the program is that of a cloud.
func (k Kubeconfig) cloud(d *Draft, cluster *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) error {
	host := ""
	if u, err := url.Parse(cluster.Server); err == nil {
		host = u.Hostname()
	}
	program, args := "an auth provider", []string(nil)
	if user.Exec != nil {
		program, args = strings.TrimSuffix(path.Base(strings.ReplaceAll(user.Exec.Command, `\`, "/")), ".exe"), user.Exec.Args
	}
	w := &v1alpha1.WorkloadIdentity{}
	switch {
	case strings.HasSuffix(host, ".eks.amazonaws.com") || strings.HasSuffix(host, ".eks.amazonaws.com.cn"):
		w.Provider, w.EKS = v1alpha1.EKS, k.eks(host, args)
	case strings.HasSuffix(host, ".azmk8s.io"):
		w.Provider, w.AKS = v1alpha1.AKS, k.aks(args)
	case strings.HasSuffix(host, ".gke.goog") || program == "gke-gcloud-auth-plugin" || user.AuthProvider != nil && user.AuthProvider.Name == "gcp":
		w.Provider, w.GKE = v1alpha1.GKE, k.gke()
	default:
		return k.unusable("it logs in with "+program+", which the scanner doesn't have",
			"use --create-service-account, which makes a token for the scanner with this context")
	}
	d.Cluster.Spec.WorkloadIdentity = w
	d.note("the context logs in with %s, which the scanner doesn't have, so the cluster uses workload identity (%s)", program, w.Provider)
	return nil
}

// eksHost matches https://ID.gr7.REGION.eks.amazonaws.com, with the region.
var eksHost = regexp.MustCompile(`\.([a-z0-9-]+)\.eks\.amazonaws\.com(?:\.cn)?$`)

func (k Kubeconfig) eks(host string, args []string) *v1alpha1.EKSIdentity {
	e := &v1alpha1.EKSIdentity{ClusterName: flagOf(args, "--cluster-name", "--cluster-id", "-i"), Region: flagOf(args, "--region")}
	if m := eksHost.FindStringSubmatch(host); m != nil && e.Region == "" {
		e.Region = m[1]
	}
	// The aws command names the entry by ARN: arn:aws:eks:REGION:ACCOUNT:cluster/NAME. eksctl uses NAME.REGION.eksctl.io.
	entry := k.clusterName()
	if _, name, ok := strings.Cut(entry, ":cluster/"); ok && e.ClusterName == "" {
		e.ClusterName = name
	} else if name, ok := strings.CutSuffix(entry, "."+e.Region+".eksctl.io"); ok && e.ClusterName == "" {
		e.ClusterName = name
	}
	return e
}

// gke reads the name that gcloud gives to contexts and clusters: gke_PROJECT_LOCATION_NAME.
func (k Kubeconfig) gke() *v1alpha1.GKEIdentity {
	for _, name := range []string{k.clusterName(), k.Context} {
		if parts := strings.SplitN(name, "_", 4); len(parts) == 4 && parts[0] == "gke" {
			return &v1alpha1.GKEIdentity{ProjectID: parts[1], ClusterLocation: parts[2], ClusterName: parts[3]}
		}
	}
	return &v1alpha1.GKEIdentity{}
}

// aks reads the name that az gives to users: clusterUser_GROUP_NAME, where NAME is that of the cluster's entry.
func (k Kubeconfig) aks(args []string) *v1alpha1.AKSIdentity {
	a := &v1alpha1.AKSIdentity{ClusterName: k.clusterName(), TenantID: flagOf(args, "--tenant-id", "-t")}
	user := k.Config.Contexts[k.Context].AuthInfo
	for _, prefix := range []string{"clusterUser_", "clusterAdmin_"} {
		if rest, ok := strings.CutPrefix(user, prefix); ok {
			a.ResourceGroup, _ = strings.CutSuffix(rest, "_"+a.ClusterName)
		}
	}
	return a
}

func (k Kubeconfig) clusterName() string { return k.Config.Contexts[k.Context].Cluster }

// flagOf returns the value of the first of these flags among arguments: --flag value, or --flag=value.
func flagOf(args []string, names ...string) string {
	for i, arg := range args {
		name, value, inline := strings.Cut(arg, "=")
		switch {
		case !slices.Contains(names, name):
		case inline:
			return value
		case i+1 < len(args):
			return args[i+1]
		}
	}
	return ""
}
