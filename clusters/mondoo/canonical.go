package mondoo

import (
	"reflect"
	"slices"
	"time"
)

// The values that the CRD fills in. skipTLSVerify's is false.
const (
	DefaultAuthPath    = "auth/kubernetes"
	DefaultSecretsPath = "kubernetes"
	DefaultSocketPath  = "/run/spire/sockets/agent.sock"
)

// Canonical gives the entry as it stands in the cluster once the API server has filled in defaults and the operator has
// written the object back: empty lists and references without a name are gone, an absent filter stays absent and an empty
// one stays empty. The result shares nothing with the entry.
func (e Entry) Canonical() Entry {
	e.KubeconfigSecretRef = named(e.KubeconfigSecretRef)
	e.PrivateRegistriesPullSecretRef = named(e.PrivateRegistriesPullSecretRef)
	e.ServiceAccountAuth = copied(e.ServiceAccountAuth)
	if e.WorkloadIdentity = copied(e.WorkloadIdentity); e.WorkloadIdentity != nil {
		e.WorkloadIdentity.GKE = copied(e.WorkloadIdentity.GKE)
		e.WorkloadIdentity.EKS = copied(e.WorkloadIdentity.EKS)
		e.WorkloadIdentity.AKS = copied(e.WorkloadIdentity.AKS)
	}
	if e.SPIFFEAuth = copied(e.SPIFFEAuth); e.SPIFFEAuth != nil {
		fill(&e.SPIFFEAuth.SocketPath, DefaultSocketPath)
	}
	if e.VaultAuth = copied(e.VaultAuth); e.VaultAuth != nil {
		fill(&e.VaultAuth.AuthPath, DefaultAuthPath)
		fill(&e.VaultAuth.SecretsPath, DefaultSecretsPath)
		e.VaultAuth.CACertSecretRef = named(e.VaultAuth.CACertSecretRef)
		e.VaultAuth.TargetCACertSecretRef = named(e.VaultAuth.TargetCACertSecretRef)
	}
	if e.Filtering = copied(e.Filtering); e.Filtering != nil {
		e.Filtering.Namespaces = e.Filtering.Namespaces.canonical()
	}
	if e.Repositories != nil {
		patterns := e.Repositories.canonical()
		e.Repositories = &patterns
	}
	return e
}

func (p Patterns) canonical() Patterns {
	return Patterns{Include: some(p.Include), Exclude: some(p.Exclude)}
}

// Equal tells whether two entries mean the same to the operator: whether their canonical forms are the same. The order of
// patterns counts, since the operator hands it on.
func Equal(a, b Entry) bool { return reflect.DeepEqual(a.compared(), b.compared()) }

// compared is the canonical form with durations in one form too. They are applied as they are written.
func (e Entry) compared() Entry {
	e = e.Canonical()
	if e.VaultAuth != nil {
		if ttl, err := time.ParseDuration(e.VaultAuth.TTL); err == nil {
			e.VaultAuth.TTL = ttl.String()
		}
	}
	return e
}

// named copies a reference, or drops one that names nothing.
func named(ref *SecretRef) *SecretRef {
	if ref == nil || ref.Name == "" {
		return nil
	}
	return copied(ref)
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	value := *p
	return &value
}

// some copies a list, or gives nil for an empty one.
func some(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return slices.Clone(list)
}

func fill(value *string, fallback string) {
	if *value == "" {
		*value = fallback
	}
}
