package keys_test

import (
	"testing"
	"time"

	"filippo.io/age"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestOpens: what a ring says of a recipient is what it does with a file for it.
func TestOpens(t *testing.T) {
	mine, other, pgp := sealtest.NewKey(t), sealtest.NewKey(t), sealtest.NewPGPKey(t)
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.NewRemote(time.Now).Ring("s", map[string][]byte{"a.agekey": []byte(mine.Private() + "\n" + hybrid.String()), "b.asc": []byte(pgp.Private()), "sops.vault-token": []byte("t"),
		"sops.aws-kms": []byte("{aws_access_key_id: a, aws_secret_access_key: b}"), "sops.azure-kv": []byte("{tenantId: t, clientId: c, clientSecret: s}")},
		keys.Policy{VaultAddresses: []string{"https://vault.example.com"}, AWSKeys: []string{"arn:aws:kms:eu-west-1:111122223333:key/*"},
			AzureKeys: []string{"https://fleet.vault.azure.net/keys/sops/0123456789abcdef0123456789abcdef"}})
	if err != nil {
		t.Fatal(err)
	}
	of := func(key sealtest.Recipient) string {
		text := sealtest.Encrypt(t, "x.json", `{"data": "x"}`, sealtest.Everything, 0, sealtest.Group{key})
		r, ok := recipient.OfFile([]byte(text))
		if !ok {
			t.Fatalf("no recipients in %s", text)
		}
		return r.Groups[0][0]
	}
	for _, row := range []struct {
		reason, recipient string
		want              bool
	}{
		{"its age key", of(mine), true},
		{"another age key", of(other), false},
		{"a post-quantum age key", hybrid.Recipient().String(), true},
		{"its PGP key, by the fingerprint that sops writes", of(pgp), true},
		{"another PGP key", of(sealtest.NewPGPKey(t)), false},
		{"a PGP key by too few digits", "PGP " + of(pgp)[len(of(pgp))-8:], false},
		{"a PGP key without digits", "PGP ", false},
		{"a key that the policy lists", "AWS KMS arn:aws:kms:eu-west-1:111122223333:key/1", true},
		{"of another account", "AWS KMS arn:aws:kms:eu-west-1:444455556666:key/1", false},
		{"a listed Vault", "Vault https://vault.example.com/v1/sops/keys/a", true},
		{"a Vault with the listed one in its path", "Vault https://evil.example.com/https://vault.example.com/v1/sops/keys/a", false},
		{"another Vault", "Vault https://other.example.com/v1/sops/keys/a", false},
		{"a listed key vault", "Azure Key Vault https://fleet.vault.azure.net/keys/sops", true},
		{"another key of it", "Azure Key Vault https://fleet.vault.azure.net/keys/so", false},
		{"a service that is not allowed", "GCP KMS projects/p/locations/l/keyRings/r/cryptoKeys/k", false},
		{"nothing", "", false},
	} {
		if got := ring.Opens(row.recipient); got != row.want {
			t.Errorf("%s (%s): %t", row.reason, row.recipient, got)
		}
	}
	if (&keys.Ring{}).Opens("") || (&keys.Ring{}).Opens(of(mine)) {
		t.Error("an empty ring opens something")
	}
}
