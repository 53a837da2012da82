package sources

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/policy"
	pure "github.com/muster-gitops/muster/clusters/sources"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// vault reads from one Vault server, or one namespace of it, and stays logged in. It is used by one round at a time.
type vault struct {
	spec   v1alpha1.VaultSource
	http   *http.Client
	logins logins
	// token is the login since a time, until a time that is zero if it doesn't end.
	token        string
	since, until time.Time
	// refused are what Vault denied when Muster last logged in because of that.
	refused map[pure.Ref]bool
	// given is the token of a Secret that token was taken from.
	given string
}

// begin logs in, unless the last login still holds.
func (v *vault) begin(ctx context.Context, now time.Time) *pure.Problem {
	if v.spec.Auth.Token != nil {
		return v.takeToken(ctx)
	}
	if v.token != "" && (v.until.IsZero() || now.Before(v.until)) {
		return nil
	}
	return v.login(ctx, now)
}

// again logs in once more, after Vault has denied reads. It reports whether there is another token. Vault keeps each login for its
// whole time, and may count those of a secret ID. So a login isn't repeated for a while if it doesn't change what is denied.
func (v *vault) again(ctx context.Context, now time.Time, denied []pure.Ref) (bool, *pure.Problem) {
	news := slices.ContainsFunc(denied, func(ref pure.Ref) bool { return !v.refused[ref] })
	if v.spec.Auth.Token != nil || !news && now.Before(v.since.Add(loginAgain)) {
		return false, nil
	}
	if problem := v.login(ctx, now); problem != nil {
		return false, problem
	}
	v.refused = map[pure.Ref]bool{}
	for _, ref := range denied {
		v.refused[ref] = true
	}
	return true, nil
}

// read reads a secret of the KV engine.
func (v *vault) read(ctx context.Context, mount policy.VaultMount, ref pure.Ref) (*pure.Value, *pure.Problem) {
	name, params := mount.Mount+"/"+ref.Vault.Path, map[string][]string(nil)
	if mount.Version == 2 {
		name = mount.Mount + "/data/" + ref.Vault.Path
		if ref.Vault.Version > 0 {
			params = map[string][]string{"version": {strconv.Itoa(ref.Vault.Version)}}
		}
	}
	secret, err := v.get(ctx, name, params)
	if err != nil {
		return nil, v.readProblem(ctx, ref, name, err)
	}
	return valueOf(ref, mount, secret)
}

// get reads a path. Of a path that Vault doesn't have, it returns what Vault says about it, and no error.
func (v *vault) get(ctx context.Context, path string, params map[string][]string) (*api.Secret, error) {
	client, err := keys.VaultClient(v.http, v.spec.Address, v.token, v.spec.Namespace)
	if err != nil {
		return nil, err
	}
	resp, err := client.Logical().ReadRawWithDataWithContext(ctx, path, params)
	if resp != nil {
		defer resp.Body.Close() //nolint:errcheck // it is in memory
	}
	refused, ok := errors.AsType[*api.ResponseError](err)
	missing := ok && refused.StatusCode == http.StatusNotFound && len(refused.Errors) == 0
	if err != nil && !missing {
		return nil, err
	}
	secret, err := api.ParseSecret(resp.Body)
	switch {
	case err == nil && secret != nil:
		return secret, nil
	case missing:
		return &api.Secret{}, nil
	}
	return nil, errNotVault
}

// errNotVault means that an answer is not in the format of Vault's API.
var errNotVault = errors.New("the answer is not in the format of Vault's API")

// readProblem explains a read that failed.
func (v *vault) readProblem(ctx context.Context, ref pure.Ref, path string, err error) *pure.Problem {
	if errors.Is(err, errNotVault) {
		return &pure.Problem{Code: pure.CodeForm, Message: fmt.Sprintf("%s: %v", ref, err), Fix: "check what runs at this address"}
	}
	refused, ok := errors.AsType[*api.ResponseError](err)
	if !ok {
		return v.unavailable(ctx, err)
	}
	said := cmp.Or(pure.Shown(strings.Join(refused.Errors, ", ")), "no reason given")
	switch refused.StatusCode {
	case http.StatusForbidden:
		return &pure.Problem{Code: pure.CodeDenied, Message: fmt.Sprintf("Vault denies Muster to read %s: %s", ref, said),
			Fix: fmt.Sprintf("give the policy of the login: path %q { capabilities = [\"read\"] }", path)}
	case http.StatusNotFound:
		return &pure.Problem{Code: pure.CodeMissing, Message: fmt.Sprintf("%s: Vault has no secrets engine at the mount %s: %s", ref, ref.Vault.Mount, said),
			Fix: "correct mount, as vault secrets list shows it, or namespace"}
	}
	return &pure.Problem{Code: pure.CodeMissing, Message: fmt.Sprintf("Vault refuses the read of %s (status %d): %s", ref, refused.StatusCode, said),
		Fix: "check mount, path and version, and engineVersion of the mount in spec.credentialSources.vault"}
}

// unavailable explains why there was no answer.
func (v *vault) unavailable(ctx context.Context, err error) *pure.Problem {
	reason := networkReason(ctx, err)
	if known, ok := errors.AsType[*unavailableError](err); ok {
		reason = known.reason
	}
	return &pure.Problem{Code: pure.CodeUnavailable, Message: fmt.Sprintf("can't read from Vault %s: %s", v.spec.Address, reason),
		Fix: "check that Vault runs, is unsealed, and can be reached from Muster's Pod; Muster retries by itself"}
}

// valueOf returns the value in an answer of the KV engine,
// https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version.
func valueOf(ref pure.Ref, mount policy.VaultMount, secret *api.Secret) (*pure.Value, *pure.Problem) {
	missing := func(message, fix string) (*pure.Value, *pure.Problem) {
		return nil, &pure.Problem{Code: pure.CodeMissing, Message: fmt.Sprintf("%s: %s", ref, message), Fix: fix}
	}
	data := secret.Data
	if warned := strings.Join(secret.Warnings, " "); strings.Contains(warned, "versioned K/V") {
		return missing("the mount has version 2 of the KV engine", "set engineVersion: 2 for the mount in spec.credentialSources.vault")
	}
	if mount.Version == 2 {
		metadata, _ := secret.Data["metadata"].(map[string]any)
		inner, _ := secret.Data["data"].(map[string]any)
		deleted, _ := metadata["deletion_time"].(string)
		switch destroyed, _ := metadata["destroyed"].(bool); {
		case inner == nil && destroyed:
			return missing(fmt.Sprintf("version %v of the secret was destroyed", metadata["version"]), "store the credential again: vault kv put")
		case inner == nil && deleted != "":
			return missing(fmt.Sprintf("version %v of the secret was deleted", metadata["version"]), "restore it: vault kv undelete; or store a new version")
		case inner == nil && len(secret.Data) > 0:
			return nil, &pure.Problem{Code: pure.CodeForm, Message: fmt.Sprintf("%s: %v", ref, errNotVault), Fix: "check that the mount is a KV secrets engine of version 2"}
		}
		data = inner
	}
	if len(data) == 0 {
		return missing("there is no such secret", "correct path, or store the credential there; in an engine of version 1, also set engineVersion: 1 for the mount in spec.credentialSources.vault")
	}
	value := &pure.Value{Data: map[string]string{}}
	for key, item := range data {
		if text, ok := item.(string); ok {
			value.Data[key] = text
		} else {
			value.Other = append(value.Other, key)
			text, err := json.Marshal(item)
			if err == nil {
				value.Hidden = append(value.Hidden, string(text))
			}
		}
	}
	return value, nil
}
