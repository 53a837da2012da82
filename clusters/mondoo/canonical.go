package mondoo

import (
	"reflect"
	"slices"
	"time"
)

// The defaults in the CRD. skipTLSVerify's is false.
const (
	DefaultAuthPath    = "auth/kubernetes"
	DefaultSecretsPath = "kubernetes"
	DefaultSocketPath  = "/run/spire/sockets/agent.sock"
)

// Canonical returns the entry as it is in the cluster after the API server has filled in defaults and the operator has
// written the object back. Empty lists and references without a name are removed. An absent filter stays absent, and an
// empty one stays empty. The result shares no memory with the entry.
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
	return Patterns{Include: nonEmpty(p.Include), Exclude: nonEmpty(p.Exclude)}
}

// Equal reports whether two entries mean the same to the operator, that is, whether their canonical forms are the same.
// The order of patterns matters, because the operator passes it on.
func Equal(a, b Entry) bool { return reflect.DeepEqual(a.compared(), b.compared()) }

// compared returns the canonical form with durations normalised too. Durations are applied as they are written.
func (e Entry) compared() Entry {
	e = e.Canonical()
	if e.VaultAuth != nil {
		if ttl, err := time.ParseDuration(e.VaultAuth.TTL); err == nil {
			e.VaultAuth.TTL = ttl.String()
		}
	}
	return e
}

// named copies a reference, or drops one without a name.
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

// nonEmpty copies a list, or returns nil for an empty one.
func nonEmpty(list []string) []string {
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
