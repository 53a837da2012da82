package fleet

import (
	"strings"

	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Source is where the values of a Secret come from, if they come from outside the repository. It is comparable, and has exactly
// one of Vault's address and the Secret's name.
type Source struct {
	Vault  v1alpha1.VaultSecret
	Secret v1alpha1.ForeignSecret
	// Field is the field of the cluster file that names it, with dots.
	Field string
}

// Path is Field as a path.
func (s *Source) Path() []string { return strings.Split(s.Field, ".") }

// String names the source in messages, such as "Vault https://vault.example.com, kv/clusters/eu".
func (s *Source) String() string {
	if s.Secret.Name != "" {
		return "the Secret " + s.Secret.Namespace + "/" + s.Secret.Name
	}
	text := "Vault " + s.Vault.Address + ", "
	if s.Vault.Namespace != "" {
		text += "namespace " + strings.TrimSuffix(s.Vault.Namespace, "/") + ", "
	}
	return text + s.Vault.Mount + "/" + s.Vault.Path
}

// Unknown reports whether the values of a Secret come from elsewhere, and aren't known here.
func (s *Secret) Unknown() bool { return s.From != nil && len(s.Data) == 0 }
