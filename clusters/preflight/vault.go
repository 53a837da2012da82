package preflight

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// VaultLogin is how the operator gets a credential from Vault. It contains a secret.
type VaultLogin struct {
	// Address is that of Vault, and CA its authority; empty for those of the system.
	Address string
	CA      []byte
	// ServiceAccountToken is the operator's, with which it logs in.
	ServiceAccountToken string

	auth *mondoo.VaultAuth
}

// ThroughVault returns the target of a cluster with vaultAuth, for which the caller sets Vault.ServiceAccountToken. It is not checked
// if a CA is needed that isn't in the repository. Only a cluster that is applied, or is about to be, may be checked in this way:
// its file says where the credential goes that Vault gives to the operator.
func ThroughVault(f *fleet.Opened, c *fleet.Cluster) Target {
	auth := c.Entry.VaultAuth
	t := Target{Cluster: c.Name, Server: auth.Server, Vault: &VaultLogin{Address: auth.VaultAddr, auth: auth}}
	for _, ca := range []struct {
		ref  *mondoo.SecretRef
		into *[]byte
	}{{auth.CACertSecretRef, &t.Vault.CA}, {auth.TargetCACertSecretRef, &t.CA}} {
		if ca.ref == nil || ca.ref.Name == "" {
			continue
		}
		data := secret(f, ca.ref.Name)
		if data == nil {
			return Target{Cluster: c.Name}.elsewhere(ca.ref.Name)
		}
		*ca.into = []byte(data[mondoo.KeyCACert])
	}
	t.SkipTLSVerify = len(t.CA) == 0 // the operator writes such a kubeconfig
	return t
}

// vaultClient talks to Vault as one login. It is the client for clusters: guarded, bounded, and without redirects.
type vaultClient struct {
	*client
	token string
}

// mint logs in to Vault as the operator does, and asks for a credential. Release revokes it, and must be called whatever happens.
func (r *report) mint(ctx context.Context, t *Target, o Options) (release func(), _ *failure) {
	c, failed := r.vault(ctx, t.Vault, o)
	if failed != nil {
		return func() {}, failed
	}
	release = func() { r.revoke(ctx, c, o); c.close() }
	auth := t.Vault.auth
	login := map[string]string{"jwt": t.Vault.ServiceAccountToken, "role": auth.AuthRole}
	var logged struct {
		Auth struct {
			Token string `json:"client_token"`
		}
	}
	path := strings.Trim(or(auth.AuthPath, "auth/kubernetes"), "/") + "/login"
	if failed := c.ask(ctx, path, login, &logged, VaultLoginRefused, auth.AuthRole); failed != nil {
		return release, failed
	}
	c.token = logged.Auth.Token
	r.show.own.Add(c.token)
	c.header.Set("X-Vault-Token", c.token)
	request := map[string]string{}
	for key, value := range map[string]string{"kubernetes_namespace": auth.KubernetesNamespace, "ttl": auth.TTL} {
		if value != "" {
			request[key] = value
		}
	}
	var minted struct {
		Data struct {
			Token string `json:"service_account_token"`
		}
	}
	if failed := c.ask(ctx, strings.Trim(or(auth.SecretsPath, "kubernetes"), "/")+"/creds/"+auth.CredsRole, request, &minted, VaultCredentialsRefused, auth.CredsRole); failed != nil {
		return release, failed
	}
	if t.Token = minted.Data.Token; t.Token == "" {
		return release, &failure{cause: VaultCredentialsRefused, name: auth.CredsRole, detail: "the answer has no token"}
	}
	r.show.own.Add(t.Token)
	return release, nil
}

func or(value, standard string) string {
	if value == "" {
		return standard
	}
	return value
}

// vault returns a client for Vault.
func (r *report) vault(ctx context.Context, v *VaultLogin, o Options) (*vaultClient, *failure) {
	as := Target{Server: v.Address, CA: v.CA, Token: v.ServiceAccountToken}
	where, failed := as.endpoint(o.Now())
	var addresses []netip.Addr
	d := dialer{guard: guard{allow: o.Allow, management: o.Management}, timeout: o.StepTimeout}
	if failed == nil {
		addresses, failed = d.resolve(ctx, where.host, o.Resolve)
	}
	if failed != nil {
		return nil, unavailable(v.Address, where, failed)
	}
	c := newClient(as, where, d, addresses, where.port, o)
	c.header = http.Header{"Accept": {"application/json"}, "User-Agent": {"muster-preflight"}, "X-Vault-Request": {"true"}}
	if v.auth.VaultNamespace != "" {
		c.header.Set("X-Vault-Namespace", v.auth.VaultNamespace)
	}
	return &vaultClient{client: c}, nil
}

// unavailable is a failure on the way to Vault, as one of the credential.
func unavailable(address string, where *endpoint, f *failure) *failure {
	known := facts{}
	if where != nil {
		known = facts{host: where.host, port: where.port, url: where.base}
	}
	message, fix := f.text(known)
	if !strings.HasPrefix(string(f.cause), "address-") {
		fix = "" // it is about an API server
	}
	return &failure{cause: VaultUnavailable, name: address, detail: message, fix: fix}
}

// ask posts to a path below /v1/. What Vault refuses has the cause refused, and is about a role.
func (c *vaultClient) ask(ctx context.Context, path string, request, into any, refused Cause, role string) *failure {
	a, failed := c.post(ctx, "/v1/"+path, request)
	switch {
	case failed != nil:
		return unavailable(c.where.base, c.where, failed)
	case a.status >= http.StatusBadRequest:
		return &failure{cause: refused, name: role, detail: c.reason(a)}
	case into != nil && !a.into(into):
		return &failure{cause: refused, name: role, detail: "the answer can't be read"}
	}
	return nil
}

// reason is the first error that Vault names.
func (c *vaultClient) reason(a *answer) string {
	var said struct{ Errors []string }
	if !a.into(&said) || len(said.Errors) == 0 || said.Errors[0] == "" {
		return http.StatusText(a.status)
	}
	return c.show.text(strings.Join(strings.Fields(said.Errors[0]), " "))
}

// revoke ends the login, and with it the credentials that it got. It does so after the check was stopped, too. That it failed is told
// if nothing else did: it must not take the place of a failure that keeps scans from working.
func (r *report) revoke(ctx context.Context, c *vaultClient, o Options) {
	if c.token == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.StepTimeout)
	defer cancel()
	if failed := c.ask(ctx, "auth/token/revoke-self", map[string]string{}, nil, VaultNotRevoked, ""); failed != nil && r.result.Failure() == nil {
		r.fail(Credential, &failure{cause: VaultNotRevoked, detail: failed.detail})
	}
}

// settle is how long the target may take to know the rights of a credential that Vault has just made.
const settle = 5 * time.Second

// newRights asks for the rights until they are there.
func (r *report) newRights(ctx context.Context, c *client) {
	for end := time.Now().Add(settle); ; {
		r.rights(ctx, c)
		if failed := r.result.Failure(); failed == nil || failed.Name != Rights || time.Now().After(end) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(settle / 10):
		}
	}
}
