package plan

import (
	"cmp"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// matches reports whether an entry from the API server clearly equals the desired one. Nearly all entries do on every
// run, and this check takes a tenth of the time of a library's, or of parsing each into a typed entry (go test
// ./clusters/plan -run '^$' -bench Matches). False is inconclusive: an entry in another notation may still be equal
// (mondoo.Equal).
func matches(raw map[string]any, e *mondoo.Entry) bool {
	m := matcher{raw: raw}
	m.text("name", e.Name)
	m.reference("kubeconfigSecretRef", e.KubeconfigSecretRef)
	m.block("serviceAccountAuth", e.ServiceAccountAuth != nil, func(m *matcher) {
		m.text("server", e.ServiceAccountAuth.Server)
		m.reference("credentialsSecretRef", &e.ServiceAccountAuth.CredentialsSecretRef)
		m.flag("skipTLSVerify", e.ServiceAccountAuth.SkipTLSVerify)
	})
	m.block("workloadIdentity", e.WorkloadIdentity != nil, func(m *matcher) { m.workloadIdentity(e.WorkloadIdentity) })
	m.block("spiffeAuth", e.SPIFFEAuth != nil, func(m *matcher) {
		m.text("server", e.SPIFFEAuth.Server)
		m.text("socketPath", cmp.Or(e.SPIFFEAuth.SocketPath, mondoo.DefaultSocketPath))
		m.reference("trustBundleSecretRef", &e.SPIFFEAuth.TrustBundleSecretRef)
		m.text("audience", e.SPIFFEAuth.Audience)
	})
	m.block("vaultAuth", e.VaultAuth != nil, func(m *matcher) { m.vault(e.VaultAuth) })
	m.text("schedule", e.Schedule)
	m.block("filtering", e.Filtering != nil, func(m *matcher) { m.patterns("namespaces", &e.Filtering.Namespaces) })
	m.flag("containerImageScanning", e.ContainerImageScanning)
	m.patterns("repositories", e.Repositories)
	m.reference("privateRegistriesPullSecretRef", e.PrivateRegistriesPullSecretRef)
	return m.complete()
}

func (m *matcher) workloadIdentity(w *mondoo.WorkloadIdentity) {
	m.text("provider", w.Provider)
	m.block("gke", w.GKE != nil, func(m *matcher) {
		m.text("projectId", w.GKE.ProjectID)
		m.text("clusterName", w.GKE.ClusterName)
		m.text("clusterLocation", w.GKE.ClusterLocation)
		m.text("googleServiceAccount", w.GKE.GoogleServiceAccount)
		m.text("endpoint", w.GKE.Endpoint)
	})
	m.block("eks", w.EKS != nil, func(m *matcher) {
		m.text("region", w.EKS.Region)
		m.text("clusterName", w.EKS.ClusterName)
		m.text("roleArn", w.EKS.RoleARN)
		m.text("endpoint", w.EKS.Endpoint)
	})
	m.block("aks", w.AKS != nil, func(m *matcher) {
		m.text("subscriptionId", w.AKS.SubscriptionID)
		m.text("resourceGroup", w.AKS.ResourceGroup)
		m.text("clusterName", w.AKS.ClusterName)
		m.text("clientId", w.AKS.ClientID)
		m.text("tenantId", w.AKS.TenantID)
		m.text("endpoint", w.AKS.Endpoint)
		m.text("loginServer", w.AKS.LoginServer)
	})
}

func (m *matcher) vault(v *mondoo.VaultAuth) {
	m.text("server", v.Server)
	m.text("vaultAddr", v.VaultAddr)
	m.text("vaultNamespace", v.VaultNamespace)
	m.text("authPath", cmp.Or(v.AuthPath, mondoo.DefaultAuthPath))
	m.text("authRole", v.AuthRole)
	m.text("secretsPath", cmp.Or(v.SecretsPath, mondoo.DefaultSecretsPath))
	m.text("credsRole", v.CredsRole)
	m.text("kubernetesNamespace", v.KubernetesNamespace)
	m.text("ttl", v.TTL)
	m.reference("caCertSecretRef", v.CACertSecretRef)
	m.reference("targetCACertSecretRef", v.TargetCACertSecretRef)
}

// matcher compares a mapping with the desired one, key by key.
type matcher struct {
	raw map[string]any
	// known counts the keys that were compared. There must be no others.
	known   int
	differs bool
}

func (m *matcher) complete() bool { return !m.differs && m.known == len(m.raw) }

func (m *matcher) take(key string) (value any, exists bool) {
	if value, exists = m.raw[key]; exists {
		m.known++
	}
	return value, exists
}

func (m *matcher) text(key, want string) {
	value, exists := m.take(key)
	text, ok := value.(string)
	m.differs = m.differs || text != want || exists && !ok
}

func (m *matcher) flag(key string, want bool) {
	value, exists := m.take(key)
	flag, ok := value.(bool)
	m.differs = m.differs || flag != want || exists && !ok
}

func (m *matcher) block(key string, want bool, fields func(*matcher)) {
	value, exists := m.take(key)
	inner, ok := value.(map[string]any)
	if exists != want || exists && !ok {
		m.differs = true
	}
	if m.differs || !want {
		return
	}
	n := matcher{raw: inner}
	fields(&n)
	m.differs = !n.complete()
}

func (m *matcher) reference(key string, want *mondoo.SecretRef) {
	m.block(key, want != nil && want.Name != "", func(m *matcher) { m.text("name", want.Name) })
}

func (m *matcher) patterns(key string, want *mondoo.Patterns) {
	m.block(key, want != nil, func(m *matcher) {
		m.list("include", want.Include)
		m.list("exclude", want.Exclude)
	})
}

func (m *matcher) list(key string, want []string) {
	value, exists := m.take(key)
	list, ok := value.([]any)
	if len(list) != len(want) || exists && !ok {
		m.differs = true
		return
	}
	for i := range want {
		if list[i] != any(want[i]) {
			m.differs = true
		}
	}
}
