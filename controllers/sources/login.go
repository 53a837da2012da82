package sources

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/muster-gitops/muster/clusters/keys"
	pure "github.com/muster-gitops/muster/clusters/sources"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// logins gets what an AuditSync logs in with.
type logins struct {
	// secret reads a key of a Secret in the AuditSync's namespace.
	secret func(ctx context.Context, name, key string) (string, error)
	// token makes a token of a ServiceAccount in the AuditSync's namespace.
	token func(ctx context.Context, serviceAccount, audience string) (string, error)
	// conceal hides a value from whatever is printed.
	conceal func(string)
}

// takeToken takes over the token of the Secret, which may be another one than in the last round.
func (v *vault) takeToken(ctx context.Context) *pure.Problem {
	token, problem := v.secret(ctx, v.spec.Auth.Token.SecretRef, "token")
	if problem == nil && token != v.given {
		v.given, v.token = token, token
	}
	return problem
}

// login logs in. The new login is used for two thirds of its time.
func (v *vault) login(ctx context.Context, now time.Time) *pure.Problem {
	mount, body, problem := v.credentials(ctx)
	if problem != nil {
		return problem
	}
	path := "auth/" + mount + "/login"
	client, err := keys.VaultClient(v.http, v.spec.Address, "", v.spec.Namespace)
	if err != nil {
		return v.unavailable(ctx, err)
	}
	secret, err := client.Logical().WriteWithContext(ctx, path, body)
	if refused, ok := errors.AsType[*api.ResponseError](err); ok {
		return v.loginDenied(path, refused)
	}
	switch {
	case err != nil:
		return v.unavailable(ctx, err)
	case secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "":
		return v.denied(path, "the answer has no token; the method may ask for a second factor", "use a login without a second factor")
	}
	v.logins.conceal(secret.Auth.ClientToken)
	v.token, v.since, v.until = secret.Auth.ClientToken, now, time.Time{}
	if lease := time.Duration(secret.Auth.LeaseDuration) * time.Second; lease > 0 {
		v.until = now.Add(lease * 2 / 3)
	}
	return nil
}

// credentials returns the mount of the auth method, and what it is sent.
func (v *vault) credentials(ctx context.Context) (mount string, body map[string]any, problem *pure.Problem) {
	switch auth := v.spec.Auth; {
	case auth.Kubernetes != nil:
		jwt, problem := v.serviceAccount(ctx, auth.Kubernetes.ServiceAccountName, auth.Kubernetes.Audience)
		return auth.Kubernetes.Mount, map[string]any{"role": auth.Kubernetes.Role, "jwt": jwt}, problem
	case auth.AppRole != nil:
		id, problem := v.secret(ctx, auth.AppRole.SecretRef, "secret-id")
		return auth.AppRole.Mount, map[string]any{"role_id": auth.AppRole.RoleID, "secret_id": id}, problem
	case auth.JWT != nil && auth.JWT.SecretRef != nil:
		jwt, problem := v.secret(ctx, *auth.JWT.SecretRef, "jwt")
		return auth.JWT.Mount, map[string]any{"role": auth.JWT.Role, "jwt": jwt}, problem
	case auth.JWT != nil:
		jwt, problem := v.serviceAccount(ctx, auth.JWT.ServiceAccountName, auth.JWT.Audience)
		return auth.JWT.Mount, map[string]any{"role": auth.JWT.Role, "jwt": jwt}, problem
	}
	return "", nil, v.denied("", "the AuditSync sets no login", "set one in auth of the server in spec.credentialSources.vault")
}

func (v *vault) secret(ctx context.Context, ref v1alpha1.SecretRef, key string) (string, *pure.Problem) {
	value, err := v.logins.secret(ctx, ref.Name, key)
	if err != nil && !isRefused(err) {
		return "", v.waiting("can't read the Secret "+ref.Name, err)
	}
	if value = strings.TrimSpace(value); err == nil && value == "" {
		err = fmt.Errorf("it has no key %s", key)
	}
	if err != nil {
		return "", v.denied("", fmt.Sprintf("the Secret %s can't be used: %s", ref.Name, pure.Shown(err.Error())), "create the Secret with the key "+key)
	}
	v.logins.conceal(value)
	return value, nil
}

func (v *vault) serviceAccount(ctx context.Context, name, audience string) (string, *pure.Problem) {
	token, err := v.logins.token(ctx, name, audience)
	if err != nil && !isRefused(err) {
		return "", v.waiting("can't make a token of the ServiceAccount "+name, err)
	}
	if err != nil {
		return "", v.denied("", fmt.Sprintf("can't make a token of the ServiceAccount %s: %s", name, pure.Shown(err.Error())),
			"create the ServiceAccount, and a Role that lets Muster create serviceaccounts/token with this name; config/components/credential-sources has one for muster-vault")
	}
	v.logins.conceal(token)
	return token, nil
}

func (v *vault) loginDenied(path string, refused *api.ResponseError) *pure.Problem {
	said := pure.Shown(strings.Join(refused.Errors, ", "))
	if said == "" {
		said = fmt.Sprintf("status %d", refused.StatusCode)
	}
	return v.denied(path, said, "check mount of the auth method (vault auth list, without auth/), namespace, the role, what it is bound to, and what Muster logs in with, in spec.credentialSources.vault")
}

func (v *vault) denied(path, reason, fix string) *pure.Problem {
	message := "can't log in to Vault " + v.spec.Address
	if path != "" {
		message += " at " + path
	}
	return &pure.Problem{Code: pure.CodeDenied, Message: message + ": " + reason, Fix: fix}
}

// isRefused reports whether the management cluster has refused something. Any other failure may be over at the next attempt.
func isRefused(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

// waiting is the problem of a login for which the management cluster doesn't give what it takes at the moment.
func (v *vault) waiting(what string, err error) *pure.Problem {
	return &pure.Problem{Code: pure.CodeUnavailable, Message: fmt.Sprintf("can't log in to Vault %s: %s: %s", v.spec.Address, what, pure.Shown(err.Error())),
		Fix: "check the API server of the management cluster; Muster retries by itself"}
}

// invalidToken returns the problem if Vault knows the token no longer. Vault gives the same answer to that as to a missing right.
func (v *vault) invalidToken(ctx context.Context) *pure.Problem {
	_, err := v.get(ctx, "auth/token/lookup-self", nil)
	if refused, ok := errors.AsType[*api.ResponseError](err); !ok || refused.StatusCode != http.StatusForbidden {
		return nil
	}
	fix := "check the login's policies; they must include default, or read on auth/token/lookup-self"
	if v.spec.Auth.Token != nil {
		fix = "put a valid token into the key token of the Secret " + v.spec.Auth.Token.SecretRef.Name
	}
	return v.denied("", "the token is invalid, expired or revoked", fix)
}
