variable "oidc_issuer" {
  type        = string
  description = "the OIDC issuer of the management cluster"
}

variable "identity_name" {
  type        = string
  description = "the name of the managed identity, if it is in another subscription; an app registration needs az ad app federated-credential create instead"
}

variable "identity_resource_group" {
  type        = string
  description = "the resource group of the managed identity"
}

variable "object_id" {
  type        = string
  description = "the object ID of the managed identity, which is its user name in the cluster"
}

data "azurerm_user_assigned_identity" "scanner" {
  name                = var.identity_name
  resource_group_name = var.identity_resource_group
}

resource "azurerm_federated_identity_credential" "scanner" {
  name                = "mondoo-client-wif-eu"
  resource_group_name = var.identity_resource_group
  parent_id           = data.azurerm_user_assigned_identity.scanner.id
  issuer              = var.oidc_issuer
  subject             = "system:serviceaccount:mondoo-operator:mondoo-client-wif-eu"
  audience            = ["api://AzureADTokenExchange"]
}

resource "azurerm_role_assignment" "scanner" {
  scope                = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/example group/providers/Microsoft.ContainerService/managedClusters/eu"
  role_definition_name = "Azure Kubernetes Service Cluster User Role"
  principal_id         = var.object_id
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
    name      = var.object_id
  }
}
