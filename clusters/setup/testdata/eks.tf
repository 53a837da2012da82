variable "oidc_issuer" {
  type        = string
  description = "the OIDC issuer of the management cluster, without https://; the account of the role must have it as an identity provider"
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::123456789012:oidc-provider/${var.oidc_issuer}"]
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
  name = "describe-eu"
  role = "mondoo-scanner"
  policy = jsonencode({
    "Version" = "2012-10-17"
    "Statement" = [{
      "Effect"   = "Allow"
      "Action"   = "eks:DescribeCluster"
      "Resource" = "arn:aws:eks:eu-central-1:123456789012:cluster/eu"
    }]
  })
}

resource "aws_eks_access_entry" "scanner" {
  region            = "eu-central-1"
  cluster_name      = "eu"
  principal_arn     = "arn:aws:iam::123456789012:role/scans/mondoo-scanner"
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
