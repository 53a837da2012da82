variable "role_arn" {
  type        = string
  description = "the ARN of the IAM role, as in the cluster file"
}

variable "aws_account" {
  type        = string
  description = "the number of the account of the IAM role"
}

variable "role_name" {
  type        = string
  description = "the name of the IAM role, without its path"
}

variable "eks_cluster" {
  type        = string
  description = "the name of the EKS cluster, as in the cluster file"
}

variable "eks_region" {
  type        = string
  description = "the region of the EKS cluster, as in the cluster file"
}

variable "oidc_issuer" {
  type        = string
  description = "the OIDC issuer of the management cluster, without https://; the account of the role must have it as an identity provider"
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::${var.aws_account}:oidc-provider/${var.oidc_issuer}"]
    }
    condition {
      test     = "StringEquals"
      variable = "${var.oidc_issuer}:sub"
      values   = ["system:serviceaccount:mondoo-operator:mondoo-client-wif-eu"]
    }
    condition {
      test     = "StringEquals"
      variable = "${var.oidc_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

output "assume_role_policy" {
  description = "The trust policy of the role: the value of assume_role_policy, or one of its source_policy_documents."
  value       = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "scanner" {
  name = "describe-${var.eks_cluster}"
  role = var.role_name
  policy = jsonencode({
    "Version" = "2012-10-17"
    "Statement" = [{
      "Effect"   = "Allow"
      "Action"   = "eks:DescribeCluster"
      "Resource" = "arn:aws:eks:${var.eks_region}:${var.aws_account}:cluster/${var.eks_cluster}"
    }]
  })
}

resource "aws_eks_access_entry" "scanner" {
  region            = var.eks_region
  cluster_name      = var.eks_cluster
  principal_arn     = var.role_arn
  kubernetes_groups = ["mondoo-scanner"]
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
    kind      = "Group"
    name      = "mondoo-scanner"
  }
}
