variable "operator_service_account" {
  type        = string
  description = "the ServiceAccount of the Mondoo Operator"
  default     = "mondoo-operator-controller-manager"
}

variable "operator_namespace" {
  type        = string
  description = "the namespace of the Mondoo Operator"
  default     = "mondoo-operator"
}

variable "management_server" {
  type        = string
  description = "the address at which Vault reaches the API server of the management cluster"
}

variable "management_ca" {
  type        = string
  description = "the CA certificate of that address"
}

resource "kubernetes_namespace_v1" "scan" {
  metadata {
    name = "scans"
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

resource "kubernetes_service_account_v1" "issuer" {
  metadata {
    name      = "vault-token-issuer"
    namespace = kubernetes_namespace_v1.scan.metadata[0].name
  }
}

resource "kubernetes_role_v1" "issuer" {
  metadata {
    name      = "vault-token-issuer"
    namespace = kubernetes_namespace_v1.scan.metadata[0].name
  }
  rule {
    api_groups     = [""]
    resources      = ["serviceaccounts/token"]
    resource_names = ["mondoo-scanner"]
    verbs          = ["create"]
  }
}

resource "kubernetes_role_binding_v1" "issuer" {
  metadata {
    name      = "vault-token-issuer"
    namespace = kubernetes_namespace_v1.scan.metadata[0].name
  }
  role_ref {
    api_group = "rbac.authorization.k8s.io"
    kind      = "Role"
    name      = kubernetes_role_v1.issuer.metadata[0].name
  }
  subject {
    kind      = "ServiceAccount"
    namespace = kubernetes_namespace_v1.scan.metadata[0].name
    name      = kubernetes_service_account_v1.issuer.metadata[0].name
  }
}

resource "kubernetes_secret_v1" "issuer" {
  type = "kubernetes.io/service-account-token"
  metadata {
    name      = "vault-token-issuer"
    namespace = kubernetes_namespace_v1.scan.metadata[0].name
    annotations = {
      "kubernetes.io/service-account.name" = kubernetes_service_account_v1.issuer.metadata[0].name
    }
  }
}

resource "kubernetes_cluster_role_binding_v1" "token_review" {
  provider = kubernetes.management
  metadata {
    name = "mondoo-operator-vault-token-review"
  }
  role_ref {
    api_group = "rbac.authorization.k8s.io"
    kind      = "ClusterRole"
    name      = "system:auth-delegator"
  }
  subject {
    kind      = "ServiceAccount"
    namespace = var.operator_namespace
    name      = var.operator_service_account
  }
}

resource "vault_auth_backend" "operator" {
  type = "kubernetes"
  path = "kubernetes-management"
}

resource "vault_kubernetes_auth_backend_config" "operator" {
  backend              = vault_auth_backend.operator.path
  kubernetes_host      = var.management_server
  kubernetes_ca_cert   = var.management_ca
  disable_local_ca_jwt = true
}

resource "vault_policy" "scan" {
  name = "mondoo-mondoo-client-eu"
  policy = jsonencode({
    "path" = {
      "kubernetes-eu/creds/scanner" = {
        "capabilities" = ["update"]
      }
    }
  })
}

resource "vault_kubernetes_auth_backend_role" "operator" {
  backend                          = vault_auth_backend.operator.path
  role_name                        = "mondoo-operator"
  bound_service_account_names      = [var.operator_service_account]
  bound_service_account_namespaces = [var.operator_namespace]
  token_ttl                        = 600
  token_policies                   = [vault_policy.scan.name]
}

resource "vault_kubernetes_secret_backend" "target" {
  path                = "kubernetes-eu"
  kubernetes_host     = "https://eu.example.com:6443"
  kubernetes_ca_cert  = kubernetes_secret_v1.issuer.data["ca.crt"]
  service_account_jwt = kubernetes_secret_v1.issuer.data["token"]
}

resource "vault_kubernetes_secret_backend_role" "target" {
  backend                       = vault_kubernetes_secret_backend.target.path
  name                          = "scanner"
  allowed_kubernetes_namespaces = ["scans"]
  service_account_name          = "mondoo-scanner"
  token_default_ttl             = 5400
  token_max_ttl                 = 5400
}
