package clusters_test

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestKindsOfKeys: a fleet whose files are encrypted for PGP, for age, and for groups of both opens with the keys at hand, and
// each file that no key fits is a finding of its own.
func TestKindsOfKeys(t *testing.T) {
	ageKey, pgpKey, third := sealtest.NewKey(t), sealtest.NewPGPKey(t), sealtest.NewKey(t)
	file := func(name string, threshold int, groups ...sealtest.Group) string {
		text := "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: " + name + "\nspec:\n  schedule: 1 * * * *\n  kubeconfig: |\n" + indent(4, kubeconfig(name))
		return sealtest.Encrypt(t, name+".yaml", text, sealtest.Credentials, threshold, groups...)
	}
	repository := files{
		"f/mondoo-client.yaml": auditConfig("mondoo-client"),
		"f/age.yaml":           file("age", 0, sealtest.Group{ageKey}),
		"f/pgp.yaml":           file("pgp", 0, sealtest.Group{pgpKey}),
		"f/either.yaml":        file("either", 0, sealtest.Group{ageKey, pgpKey}),
		"f/two-of-three.yaml":  file("two-of-three", 2, sealtest.Group{ageKey}, sealtest.Group{pgpKey}, sealtest.Group{third}),
	}
	for _, row := range []struct {
		reason string
		given  []sealtest.Recipient
		closed string
	}{
		{"age and PGP", []sealtest.Recipient{ageKey, pgpKey}, ""},
		{"PGP alone", []sealtest.Recipient{pgpKey}, "f/age.yaml f/two-of-three.yaml"},
		{"age alone", []sealtest.Recipient{ageKey}, "f/pgp.yaml f/two-of-three.yaml"},
		{"PGP and the third", []sealtest.Recipient{pgpKey, third}, "f/age.yaml"},
	} {
		r := render(t, repository.fs(), "f", options, sealtest.Opener(t, row.given...))
		var closed []string
		for _, f := range r.findings() {
			if f.Code == "sops-key" {
				closed = append(closed, f.Path)
			} else {
				t.Errorf("%s: %v", row.reason, f)
			}
		}
		if got := strings.Join(closed, " "); got != row.closed {
			t.Errorf("%s: %q stay closed, want %q", row.reason, got, row.closed)
		}
		opened := 0
		for _, secret := range r.opened.Secrets {
			if !secret.Quarantined && strings.Contains(secret.Data["kubeconfig"], canary) {
				opened++
			}
		}
		if entries := len(r.opened.Entries("mondoo-client")); opened != 4-len(closed) || entries != opened {
			t.Errorf("%s: %d Secrets, %d entries", row.reason, opened, entries)
		}
	}
}
