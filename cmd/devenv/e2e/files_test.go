package e2e_test

import (
	"encoding/base64"
	"fmt"

	"github.com/muster-gitops/muster/clusters/sealtest"
)

const auditConfigFile = `apiVersion: k8s.mondoo.com/v1alpha2
kind: MondooAuditConfig
metadata:
  name: ` + auditConfig + `
spec:
  mondooCredsSecretRef:
    name: mondoo-client
  kubernetesResources:
    enable: true
    schedule: "10 * * * *"
`

// plainCluster is the file of a cluster that needs no credentials.
func plainCluster(name, schedule string) string {
	return fmt.Sprintf(`apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata:
  name: %[1]s
spec:
  schedule: "%[2]s"
  workloadIdentity:
    provider: eks
    eks: {region: eu-central-1, clusterName: %[1]s, roleArn: "arn:aws:iam::123456789012:role/scanner", endpoint: "https://%[1]s.example.com"}
`, name, schedule)
}

// vaultCluster is the file of one that the operator has to log in to Vault for.
func vaultCluster(name, schedule string) string {
	return fmt.Sprintf(`apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata:
  name: %[1]s
spec:
  schedule: "%[2]s"
  vaultAuth: {server: "https://%[1]s.example.com", vaultAddr: "https://vault.example.com", authRole: mondoo, credsRole: scanner, ttl: 1h, targetCACertSecretRef: {name: ca}}
`, name, schedule)
}

// sealedCluster is the file of a cluster with an encrypted token.
func (w *world) sealedCluster(name, schedule string) string {
	w.Helper()
	return w.sealedToken(name, schedule, "CANARY-token")
}

// sealedToken is the file of a cluster with this token, encrypted. Its CA lasts 30 days, and it wants to know the end from the first on.
func (w *world) sealedToken(name, schedule, token string) string {
	w.Helper()
	return w.key.Encrypt(w, "cluster.yaml", fmt.Sprintf(`apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata:
  name: %s
  annotations:
    muster.dev/warn-before: 30d
spec:
  schedule: "%s"
  kubeconfig: |
    apiVersion: v1
    kind: Config
    clusters:
    - name: c
      cluster:
        server: https://api.example.com
        certificate-authority-data: %s
    users: [{name: u, user: {token: %s}}]
    contexts: [{name: x, context: {cluster: c, user: u}}]
    current-context: x
`, name, schedule, base64.StdEncoding.EncodeToString(w.plane.CACert()), token), sealtest.Recommended)
}
