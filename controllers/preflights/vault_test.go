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
