variable "kubeconfig_user" {
  type        = string
  description = "the user name that the cluster to scan sees; kubectl auth whoami prints it, with the kubeconfig in KUBECONFIG"
}

variable "account_namespace" {
  type        = string
  description = "the namespace of the ServiceAccount whose token is in the kubeconfig"
}

variable "account_name" {
  type        = string
  description = "the name of that ServiceAccount"
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

resource "kubernetes_role_v1" "renew" {
  metadata {
    name      = "muster-renew-${var.account_name}"
    namespace = var.account_namespace
  }
  rule {
    api_groups     = [""]
    resources      = ["serviceaccounts/token"]
    resource_names = [var.account_name]
    verbs          = ["create"]
  }
}

resource "kubernetes_role_binding_v1" "renew" {
  metadata {
    name      = "muster-renew-${var.account_name}"
    namespace = var.account_namespace
  }
  role_ref {
    api_group = "rbac.authorization.k8s.io"
    kind      = "Role"
    name      = kubernetes_role_v1.renew.metadata[0].name
  }
  subject {
    kind      = "ServiceAccount"
    namespace = var.account_namespace
    name      = var.account_name
  }
}
