package preflights

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestVault: the operator's token is used only if the AuditSync says so, and goes only to a server that it lists.
func TestVault(t *testing.T) {
	accounts := schema.GroupResource{Resource: "serviceaccounts"}
	for _, row := range []struct {
		reason  string
		opts    bool
		listed  []string
		token   error
		logsIn  bool
		checked int
	}{
		{"allowed", true, []string{"https://other", "https://Vault/"}, nil, true, 1},
		{"not asked for", false, []string{"https://vault"}, nil, false, 1},
		{"another server is listed", true, []string{"https://vault.example.com"}, nil, false, 1},
		{"no server is listed", true, nil, nil, false, 1},
		{"without the permission", true, []string{"https://vault"}, apierrors.NewForbidden(accounts, "x", errors.New("RBAC")), false, 1},
		{"without the ServiceAccount", true, []string{"https://vault"}, apierrors.NewNotFound(accounts, "x"), false, 1},
	} {
		inBubble(t, func(r *room) {
			tokens := ""
			r.checker.Token = func(_ context.Context, namespace, account string) (string, error) {
				tokens = namespace + "/" + account
				return "operators", row.token
			}
			a := newApplied("eu")
			a.Spec.VaultAuth.Addresses = row.listed
			if row.opts {
				a.Spec.Preflight.VaultAuth = &v1alpha1.PreflightVaultAuth{}
			}
			a.change(func(f *fleet.Opened, _ *inventory.Inventory) {
				f.Clusters[0].Entry = mondoo.Entry{Name: "eu", VaultAuth: &mondoo.VaultAuth{Server: "https://eu", VaultAddr: "https://vault"}}
			})
			r.look(a)
			r.sleep(time.Minute)
			r.wants(row.reason, "eu", row.checked)
			got := r.given["eu"]
			if (got.Vault != nil) != row.logsIn || row.logsIn != (got.NotChecked == "") || got.Vault != nil && got.Vault.ServiceAccountToken != "operators" {
				t.Errorf("%s: %+v", row.reason, got)
			}
			if asked := tokens != ""; asked != (row.logsIn || row.token != nil) || asked && tokens != "mondoo-operator/mondoo-operator-controller-manager" {
				t.Errorf("%s: a token of %q", row.reason, tokens)
			}
		})
	}
}

// TestVaultGate: another CA for Vault or the target is held until it has passed, whether it is in the cluster's file or a manifest.
func TestVaultGate(t *testing.T) {
	for _, row := range []struct {
		reason, cluster string
		change          int // of the Secrets
	}{
		{"Vault's CA", "eu", 0}, {"the target's CA", "eu", 1}, {"a manifest with Vault's CA", "", 0}, {"a manifest with the target's CA", "", 1},
	} {
		inBubble(t, func(r *room) {
			r.checker.Token = func(context.Context, string, string) (string, error) { return "operators", nil }
			a, l := newGated("eu")
			a.Spec.VaultAuth.Addresses, a.Spec.Preflight.VaultAuth = []string{"https://vault"}, &v1alpha1.PreflightVaultAuth{}
			a.Fleet.Clusters[0].Entry = mondoo.Entry{Name: "eu", VaultAuth: &mondoo.VaultAuth{Server: "https://eu", VaultAddr: "https://vault",
				CACertSecretRef: &mondoo.SecretRef{Name: "vault-ca"}, TargetCACertSecretRef: &mondoo.SecretRef{Name: "target-ca"}}}
			a.Fleet.Secrets = nil
			for _, name := range []string{"vault-ca", "target-ca"} {
				a.Fleet.Secrets = append(a.Fleet.Secrets, fleet.Secret{Name: name, Cluster: row.cluster, AuditConfig: "mondoo-client", Hash: "1", Data: map[string]string{"ca.crt": "old"}})
				a.Inventories[0].Secrets = append(a.Inventories[0].Secrets, inventory.Item{Name: name, Hash: "1"})
			}
			l.apply(a)
			if got := heldOf(r.checker.Gate(a.Sync, l.read())); got != "" {
				t.Errorf("%s: what is applied: %q", row.reason, got)
			}
			r.sleep(time.Minute)
			a.change(func(f *fleet.Opened, _ *inventory.Inventory) {
				f.Secrets[row.change].Hash, f.Secrets[row.change].Data = "2", map[string]string{"ca.crt": "new"}
				if row.cluster != "" {
					f.Clusters[0].Hash = "2"
				}
			})
			out := r.checker.Gate(a.Sync, l.read())
			if got := heldOf(out); got != "eu, eu error preflight-pending" || !out.Secrets[row.change].Quarantined {
				t.Errorf("%s: %q, Secrets %+v", row.reason, got, out.Secrets)
			}
			r.sleep(time.Minute)
			if got := heldOf(r.checker.Gate(a.Sync, l.read())); got != "" || r.given["eu"].Vault == nil {
				t.Errorf("%s: after it has passed: %q", row.reason, got)
			}
			r.wants(row.reason, "eu", 2)
		})
	}
}
