package setup

import rbacv1 "k8s.io/api/rbac/v1"

// spiffe follows Kubernetes' rules for client certificates: the common name is the user, and the URI counts for nothing.
func (s *Setup) spiffe() {
	s.Method = "spiffeAuth"
	name := s.ask("spiffe_id", "the common name in the certificate of the scan Pod; Kubernetes takes the user name from there, so let SPIRE write the SPIFFE ID into it")
	namespace := s.usually("spire_namespace", lit("spire-server"), "the namespace of the SPIRE server")
	server := s.usually("spire_server", lit("statefulset/spire-server"), "the SPIRE server, as kubectl exec takes it")
	management, target := s.managementContext(), s.targetContext()
	s.step(Management, "Write the trust bundle of SPIRE to a file", "",
		sh("kubectl --context=%s exec --namespace=%s %s --container=spire-server -- /opt/spire/bin/spire-server bundle show -format=pem >spire-bundle.pem",
			management, namespace, server))
	s.step(Target, "Let the API server accept the trust bundle as a client CA",
		"Run this on each control plane node, with spire-bundle.pem copied there. The paths are kubeadm's. GKE, EKS and AKS don't offer this setting.",
		"cat /etc/kubernetes/pki/ca.crt spire-bundle.pem >/etc/kubernetes/pki/client-ca.crt &&",
		"  sed -i 's#--client-ca-file=.*#--client-ca-file=/etc/kubernetes/pki/client-ca.crt#' /etc/kubernetes/manifests/kube-apiserver.yaml")
	s.step(Target, "Check that the bundle is among the client CAs", "",
		sh("kubectl --context=%s get configmap extension-apiserver-authentication --namespace=kube-system --output=jsonpath='{.data.client-ca-file}'", target))
	s.grant(user(name), "")
	s.terraformRole(rbacv1.UserKind, name)
}

func (s *Setup) serviceAccount() {
	s.Method = "serviceAccountAuth"
	target := s.targetContext()
	s.grant(account(scanNamespace, scanner), "If the cluster has a ServiceAccount for scans already, bind the ClusterRole to that one, and skip the token.",
		namespaceObject(scanNamespace), accountObject(scanNamespace, scanner))
	s.step(Target, "Create a token",
		"Many API servers grant less than a year, and don't say so: about 24 hours at EKS and AKS, 48 at GKE. The first line is when this token expires.",
		sh("kubectl --context=%s create token "+scanner+" --namespace="+scanNamespace+" --duration=8760h --output=json |", target),
		"  jq --raw-output '.status | .expirationTimestamp, .token'")
	s.step(Target, "Print the CA certificate", "Put token and certificate into spec.serviceAccountAuth of the cluster file, or its Secret, and encrypt it with sops.",
		clusterCA(target))
	s.terraformAccount(scanNamespace)
}

func (s *Setup) kubeconfig() {
	s.Method = "kubeconfig"
	name := s.ask("kubeconfig_user", "the user name that the cluster to scan sees; kubectl auth whoami prints it, with the kubeconfig in KUBECONFIG")
	s.grant(user(name), "")
	s.terraformRole(rbacv1.UserKind, name)
}
