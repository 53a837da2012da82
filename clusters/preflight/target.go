package preflight

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// TargetOf returns the target of a cluster of the fleet, which must be opened with keys: what its Secrets hold is used as it is.
// A cluster whose credential isn't in the repository, or can't be used from here, becomes a target that is not checked, and says
// why.
func TargetOf(f *fleet.Opened, c *fleet.Cluster, now time.Time) Target {
	t := Target{Cluster: c.Name}
	if c.Quarantined {
		t.problem = &failure{cause: FileErrors, detail: firstError(f, c)}
		return t
	}
	auth := c.Entry
	switch {
	case auth.KubeconfigSecretRef != nil:
		data := secret(f, auth.KubeconfigSecretRef.Name)
		if data == nil {
			return t.elsewhere(auth.KubeconfigSecretRef.Name)
		}
		return FromKubeconfig(c.Name, []byte(data[mondoo.KeyKubeconfig]), now)
	case auth.ServiceAccountAuth != nil:
		data := secret(f, auth.ServiceAccountAuth.CredentialsSecretRef.Name)
		if data == nil {
			return t.elsewhere(auth.ServiceAccountAuth.CredentialsSecretRef.Name)
		}
		// The scanner reads the token from a file, of which client-go trims blanks.
		t.Server, t.SkipTLSVerify = auth.ServiceAccountAuth.Server, auth.ServiceAccountAuth.SkipTLSVerify
		t.Token, t.CA = strings.TrimSpace(data[mondoo.KeyToken]), []byte(data[mondoo.KeyCACert])
	case auth.WorkloadIdentity != nil:
		t.facts = auth.WorkloadIdentity.Provider + ", as the ServiceAccount " + f.Namespace + "/" + mondoo.WorkloadIdentityServiceAccount(c.AuditConfig, c.Name)
		t.NotChecked = "only the operator's ServiceAccount in the management cluster can get a token of the cloud"
	case auth.SPIFFEAuth != nil:
		t.facts = "a certificate of the SPIFFE agent, for " + auth.SPIFFEAuth.Server
		const why = "only a Pod of the management cluster reaches the socket of the SPIFFE agent"
		bundle := secret(f, auth.SPIFFEAuth.TrustBundleSecretRef.Name)
		if bundle == nil {
			t.facts += "; the trust bundle is in the Secret " + auth.SPIFFEAuth.TrustBundleSecretRef.Name + ", which is not in the repository"
			t.NotChecked = why
			return t
		}
		t.Server, t.CA, t.noLogin = auth.SPIFFEAuth.Server, []byte(bundle[mondoo.KeyCACert]), why
	case auth.VaultAuth != nil:
		t.facts = "a token from " + auth.VaultAuth.VaultAddr + ", for " + auth.VaultAuth.Server
		t.NotChecked = "only the operator's ServiceAccount in the management cluster can log in to Vault"
	}
	return t
}

// CandidateOf returns the target of a cluster that isn't applied, and may never be. No plan has decided yet which Secrets it may use.
// So a token that comes from another file than the server is not used: whoever writes the file could have it sent anywhere. A
// kubeconfig has its server with it.
func CandidateOf(f *fleet.Opened, c *fleet.Cluster, now time.Time) Target {
	if name, what := LoginSecret(c.Entry); what == mondoo.KeyToken && !c.Quarantined {
		s := secretNamed(f, name)
		if s != nil && (s.Cluster != c.Name || s.AuditConfig != c.AuditConfig) {
			return Target{Cluster: c.Name, NotChecked: "the token in the Secret " + name + " comes from another file than the server, so it is checked once it is applied"}
		}
	}
	return TargetOf(f, c, now)
}

// LoginSecret returns the name of the Secret that an entry needs to log in, and the key that it is in; "" if it has none. With SPIFFE,
// it has what the server is verified by.
func LoginSecret(entry mondoo.Entry) (name, key string) {
	switch {
	case entry.KubeconfigSecretRef != nil:
		return entry.KubeconfigSecretRef.Name, mondoo.KeyKubeconfig
	case entry.ServiceAccountAuth != nil:
		return entry.ServiceAccountAuth.CredentialsSecretRef.Name, mondoo.KeyToken
	case entry.SPIFFEAuth != nil:
		return entry.SPIFFEAuth.TrustBundleSecretRef.Name, mondoo.KeyCACert
	}
	return "", ""
}

// Secrets returns the names of the Secrets that the check of an entry depends on: that of LoginSecret, and those with the CAs of a
// cluster that is checked through Vault.
func Secrets(entry mondoo.Entry) []string {
	var names []string
	if name, _ := LoginSecret(entry); name != "" {
		names = append(names, name)
	}
	if auth := entry.VaultAuth; auth != nil {
		for _, ca := range []*mondoo.SecretRef{auth.CACertSecretRef, auth.TargetCACertSecretRef} {
			if ca != nil && ca.Name != "" {
				names = append(names, ca.Name)
			}
		}
	}
	return names
}

// Place returns a text that changes with the address of a target and with the authority that vouches for it, so that what was seen
// there is compared with the same place only.
func (t Target) Place() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %t %q", t.Server, t.TLSServerName, t.ProxyURL, t.SkipTLSVerify, bytes.TrimSpace(t.CA)))
	return hex.EncodeToString(sum[:8])
}

// Fingerprint returns a text that changes with everything that the result depends on, of a target without Vault.
func (t Target) Fingerprint() string {
	var problem failure
	if t.problem != nil {
		problem = *t.problem
	}
	text, err := json.Marshal([]any{t, t.noLogin, t.facts, problem.cause, problem.detail, problem.fix})
	if err != nil {
		panic(err) // there is nothing in it that JSON doesn't have
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// elsewhere makes the target one whose credential isn't in the repository.
func (t Target) elsewhere(name string) Target {
	t.NotChecked = "the Secret " + name + " is not in the repository"
	return t
}

// FromKubeconfig returns the target that a kubeconfig's current context names.
func FromKubeconfig(cluster string, kubeconfig []byte, now time.Time) Target {
	t := Target{Cluster: cluster}
	c, problem := credential.ConnectionOf(kubeconfig, now)
	if problem != nil {
		t.problem = &failure{cause: unusable(problem.Code), detail: problem.Message, fix: problem.Fix}
		return t
	}
	t.Server, t.TLSServerName, t.CA, t.SkipTLSVerify = c.Server, c.TLSServerName, c.CA, c.SkipTLSVerify
	t.Token, t.Username, t.Password, t.Certificate, t.Key = c.Token, c.Username, c.Password, c.Certificate, c.Key
	t.Impersonate, t.ProxyURL = c.Impersonate, c.ProxyURL
	return t
}

// unusable returns the cause of a credential that has the problem.
func unusable(code finding.Code) Cause {
	switch code {
	case credential.CodeKubeconfigLogin:
		return CredentialMissing
	case credential.CodeKubeconfigServer:
		return ServerInvalid
	}
	return CredentialUnusable
}

// secret returns the data of a Secret in the fleet, or nil.
func secret(f *fleet.Opened, name string) map[string]string {
	if s := secretNamed(f, name); s != nil {
		return s.Data
	}
	return nil
}

func secretNamed(f *fleet.Opened, name string) *fleet.Secret {
	for i := range f.Secrets {
		if f.Secrets[i].Name == name {
			return &f.Secrets[i]
		}
	}
	return nil
}

// firstError returns the error that keeps a cluster out of the change: one about the cluster, its file or Secrets, or else one
// that stops all.
func firstError(f *fleet.Opened, c *fleet.Cluster) string {
	shared := "an error elsewhere in the path"
	for _, found := range finding.Sorted(f.Findings) {
		switch {
		case found.Severity != finding.Error:
		case found.Cluster == c.Name, found.Cluster == "" && found.Path == c.Origin.Path:
			return found.Message
		case found.Cluster == "":
			shared = found.Message
		}
	}
	return shared
}
