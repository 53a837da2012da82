package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// The fields of an AuditSync that Sources are made from.
const (
	FieldSourceVault      = "spec.credentialSources.vault"
	FieldSourceNamespaces = "spec.credentialSources.secrets.namespaces"
)

// Sources are what an AuditSync allows to read credentials from. The zero value allows nothing.
type Sources struct {
	Vault []VaultServer
	// Namespaces are those whose Secrets may be read.
	Namespaces []string
}

// VaultServer is a Vault server, or one namespace of it, that Muster logs in to.
type VaultServer struct {
	Address, Namespace string
	Mounts             []VaultMount
}

// VaultMount is a KV secrets engine, with the paths that may be read. A path that ends in * allows all that begin with the rest.
type VaultMount struct {
	Mount string
	// Version is the version of the engine, 1 or 2.
	Version int
	Paths   []string
}

// Server returns the index of the server for a secret; -1 if none is allowed.
func (s Sources) Server(of v1alpha1.VaultSecret) int {
	origin, ok := Origin(of.Address)
	return slices.IndexFunc(s.Vault, func(server VaultServer) bool {
		allowed, known := Origin(server.Address)
		return ok && known && allowed == origin && strings.Trim(server.Namespace, "/") == strings.Trim(of.Namespace, "/")
	})
}

// Mount returns the mount for a secret, if it and the path are allowed.
func (s VaultServer) Mount(of v1alpha1.VaultSecret) (VaultMount, bool) {
	i := slices.IndexFunc(s.Mounts, func(m VaultMount) bool { return m.Mount == of.Mount })
	if i < 0 {
		return VaultMount{}, false
	}
	return s.Mounts[i], slices.ContainsFunc(s.Mounts[i].Paths, func(allowed string) bool {
		prefix, wide := strings.CutSuffix(allowed, "*")
		return allowed == of.Path || wide && strings.HasPrefix(of.Path, prefix)
	})
}

// Common returns what both allow, entry by entry.
func (s Sources) Common(other Sources) Sources {
	both := Sources{Namespaces: intersect(s.Namespaces, other.Namespaces)}
	for _, server := range s.Vault {
		i := other.Server(v1alpha1.VaultSecret{Address: server.Address, Namespace: server.Namespace})
		if i < 0 {
			continue
		}
		common := VaultServer{Address: server.Address, Namespace: server.Namespace}
		for _, mount := range server.Mounts {
			for _, o := range other.Vault[i].Mounts {
				if o.Mount == mount.Mount && o.Version == mount.Version {
					common.Mounts = append(common.Mounts, VaultMount{Mount: mount.Mount, Version: mount.Version, Paths: intersect(mount.Paths, o.Paths)})
				}
			}
		}
		both.Vault = append(both.Vault, common)
	}
	return both
}

func intersect(a, b []string) (both []string) {
	for _, text := range a {
		if slices.Contains(b, text) {
			both = append(both, text)
		}
	}
	return both
}

// VaultSecret returns why a secret of Vault must not be read, or nil. Whoever may write a cluster file could otherwise have Muster
// log in to a server of their choice, or read any secret that Muster can.
func (p Policy) VaultSecret(of v1alpha1.VaultSecret, field []string) *v1alpha1.Problem {
	at := func(name, message, entry, list string) *v1alpha1.Problem {
		return &v1alpha1.Problem{Code: CodeSource, Severity: finding.Error, Field: append(slices.Clone(field), name), Message: message,
			Fix: p.toAllow("if it is intended", entry, list+FieldSourceVault)}
	}
	i := p.Credentials.Server(of)
	if i < 0 {
		where := of.Address
		if of.Namespace != "" {
			where += ", namespace " + of.Namespace
		}
		return at("address", fmt.Sprintf("credentials may not be read from Vault %s, which is not one of the servers that %s allows", where, p.source()), "address: "+of.Address, "")
	}
	mount, allowed := p.Credentials.Vault[i].Mount(of)
	switch {
	case mount.Mount == "":
		return at("mount", fmt.Sprintf("credentials may not be read from the mount %s, which is not one of those that %s allows for this server", of.Mount, p.source()), "mount: "+of.Mount, "the mounts of the server in ")
	case !allowed:
		problem := at("path", fmt.Sprintf("credentials may not be read from the path %s, which is not one of those that %s allows for the mount %s", of.Path, p.source(), of.Mount), of.Path, "the paths of the mount in ")
		if of.Path, allowed = strings.CutPrefix(of.Path, "data/"); allowed {
			if _, allowed = p.Credentials.Vault[i].Mount(of); allowed {
				problem.Fix = "remove data/, which only Vault's API has in paths of version 2 of the engine"
			}
		}
		return problem
	case of.Version > 0 && mount.Version == 1:
		return &v1alpha1.Problem{Code: CodeSource, Severity: finding.Error, Field: append(slices.Clone(field), "version"),
			Message: fmt.Sprintf("the mount %s has version 1 of the KV engine, which keeps no versions of a secret", of.Mount), Fix: "remove version"}
	}
	return nil
}

// ForeignSecret returns why a Secret must not be read, or nil. Namespace is the one of the AuditSync.
func (p Policy) ForeignSecret(ref v1alpha1.ForeignSecret, namespace string, field []string) *v1alpha1.Problem {
	problem := v1alpha1.Problem{Code: CodeSource, Severity: finding.Error, Field: append(slices.Clone(field), "namespace"),
		Message: fmt.Sprintf("credentials may not be read from the namespace %s, which is not one of those that %s allows", ref.Namespace, p.source()),
		Fix:     p.toAllow("if it is intended", ref.Namespace, FieldSourceNamespaces)}
	if user := p.Reserved[ref.Name]; user != "" && ref.Namespace == namespace {
		problem.Code, problem.Field, problem.Fix = CodeReserved, append(slices.Clone(field), "name"), "name another Secret"
		problem.Message = fmt.Sprintf("the Secret %s is one that only %s may use", ref.Name, user)
		return &problem
	}
	if slices.Contains(p.Credentials.Namespaces, ref.Namespace) {
		return nil
	}
	return &problem
}
