resource "kubernetes_namespace_v1" "scan" {
  metadata {
    name = "mondoo-scan"
  }
}

resource "kubernetes_service_account_v1" "scanner" {
  metadata {
    name      = "mondoo-scanner"
    namespace = kubernetes_namespace_v1.scan.metadata[0].name
  }
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
    kind      = "ServiceAccount"
    namespace = kubernetes_namespace_v1.scan.metadata[0].name
    name      = kubernetes_service_account_v1.scanner.metadata[0].name
  }
}

resource "kubernetes_role_v1" "renew" {
  metadata {
    name      = "muster-renew-mondoo-scanner"
    namespace = kubernetes_namespace_v1.scan.metadata[0].name
  }
  rule {
    api_groups     = [""]
    resources      = ["serviceaccounts/token"]
    resource_names = ["mondoo-scanner"]
    verbs          = ["create"]
  }
}

resource "kubernetes_role_binding_v1" "renew" {
  metadata {
    name      = "muster-renew-mondoo-scanner"
    namespace = kubernetes_namespace_v1.scan.metadata[0].name
  }
  role_ref {
    api_group = "rbac.authorization.k8s.io"
    kind      = "Role"
    name      = kubernetes_role_v1.renew.metadata[0].name
  }
  subject {
    kind      = "ServiceAccount"
    namespace = kubernetes_namespace_v1.scan.metadata[0].name
    name      = "mondoo-scanner"
  }
}
