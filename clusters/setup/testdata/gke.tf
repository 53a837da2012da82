variable "management_project" {
  type        = string
  description = "the ID of the project of the management cluster, if it is not that of the cluster to scan"
  default     = "example-project"
}

resource "google_service_account_iam_member" "scanner" {
  service_account_id = "projects/-/serviceAccounts/scanner@example-project.iam.gserviceaccount.com"
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.management_project}.svc.id.goog[mondoo-operator/mondoo-client-wif-eu]"
}

resource "google_project_iam_member" "scanner" {
  project = "example-project"
  role    = "roles/container.clusterViewer"
  member  = "serviceAccount:scanner@example-project.iam.gserviceaccount.com"
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
    name      = "scanner@example-project.iam.gserviceaccount.com"
  }
}
