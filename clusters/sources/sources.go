// Package sources fills in credentials that come neither from the repository nor from a Secret beside the audit config: from Vault's
// KV secrets engine, and from Secrets of other namespaces.
//
// The package is pure. It decides what to read (Wanted), finds the credential in what was read, checks it like one from the repository,
// and puts it into the fleet (Supply). Package controllers/sources reads.
//
// A source that fails affects only the clusters that use it: they are held with a finding, and what is applied of them stays.
package sources

import (
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// The codes of findings about sources. Those about the content are codes of package credential.
const (
	// CodeUnavailable: the server doesn't answer. Warning with a value from before, else error.
	CodeUnavailable finding.Code = "credential-source-unavailable"
	// CodeDenied: the server refuses the login or the read. Error.
	CodeDenied finding.Code = "credential-source-denied"
	// CodeMissing: there is no such mount, path, version, key or Secret. Error.
	CodeMissing finding.Code = "credential-source-missing"
	// CodeForm: what is stored there is not a credential. Error.
	CodeForm finding.Code = "credential-source-form"
)

// Ref is one thing to read: a secret of Vault in one version, or a Secret. Clusters that use the same one share a read.
type Ref struct {
	Vault  v1alpha1.VaultSecret // without Key
	Secret v1alpha1.ForeignSecret
}

// RefOf returns what to read for a source.
func RefOf(s *fleet.Source) Ref {
	ref := Ref{s.Vault, s.Secret}
	ref.Vault.Key, ref.Secret.Key = "", ""
	return ref
}

// String names what is read, for messages.
func (r Ref) String() string { return (&fleet.Source{Vault: r.Vault, Secret: r.Secret}).String() }

// Value is what was read.
type Value struct {
	// Data are the texts by key, and Other the keys with something other than a text. Hidden are the latter's values as JSON, which
	// are as secret.
	Data          map[string]string
	Other, Hidden []string
	// Type and Labels are those of a Secret.
	Type   string
	Labels map[string]string
}

// Secrets are the parts of a value that must not be shown.
func (v *Value) Secrets() []string {
	list := slices.Clone(v.Hidden)
	for key, text := range v.Data {
		switch {
		case key == "config" && v.Labels[argoLabel] == argoCluster:
			list = append(list, ArgoSecrets(map[string][]byte{key: []byte(text)})...)
		case key != "name" && key != "server" || strings.ContainsAny(text, "\n{"): // a credential may be stored as that, too
			list = append(list, text)
		}
	}
	return list
}

// Problem is why something can't be read or used. It contains no secret.
type Problem struct {
	Code         finding.Code
	Message, Fix string
}

// Result is what is known about a Ref: the last value that was read, and the problem of the last attempt. Both are nil if nothing is
// known.
type Result struct {
	Value   *Value
	Problem *Problem
}

// Wanted returns what to read for a fleet, sorted by first use. Clusters with an error need nothing.
func Wanted(f *fleet.Opened) []Ref {
	var list []Ref
	seen := map[Ref]bool{}
	for i := range f.Secrets {
		if s := &f.Secrets[i]; s.From != nil && !s.Quarantined && !seen[RefOf(s.From)] {
			seen[RefOf(s.From)] = true
			list = append(list, RefOf(s.From))
		}
	}
	return slices.Clip(list)
}
