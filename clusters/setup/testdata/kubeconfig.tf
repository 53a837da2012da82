variable "kubeconfig_user" {
  type        = string
  description = "the user name that the cluster to scan sees; kubectl auth whoami prints it, with the kubeconfig in KUBECONFIG"
}

resource "kubernetes_cluster_role_v1" "scan" {
  metadata {
    name = "mondoo-operator-k8s-resources-scanning"
  }
  rule {
    api_groups = ["*"]
    resources  = ["*"]
    verbs      = ["get", "list", "watch"]
  }
}

resource "kubernetes_cluster_role_binding_v1" "scan" {
  metadata {
    name = "mondoo-operator-k8s-resources-scanning-eu"
  }
  role_ref {
    api_group = "rbac.authorization.k8s.io"
    kind      = "ClusterRole"
    name      = kubernetes_cluster_role_v1.scan.metadata[0].name
  }
  subject {
    api_group = "rbac.authorization.k8s.io"
    kind      = "User"
    name      = var.kubeconfig_user
  }
}
