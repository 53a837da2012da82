package keys_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/getsops/sops/v3/keyservice"

	"github.com/muster-gitops/muster/clusters/keys"
)

func TestPolicyValidate(t *testing.T) {
	for _, row := range []struct {
		reason string
		policy keys.Policy
		field  string // of the error; empty for a valid policy
	}{
		{"nothing is allowed", keys.Policy{}, ""},
		{"a server", keys.Policy{VaultAddresses: []string{"https://vault.example.com:8200", "https://vault.example.com/", "http://127.0.0.1:8200", "http://[::1]:8200"}}, ""},
		{"a server without TLS", keys.Policy{VaultAddresses: []string{"http://vault.example.com"}}, "spec.decryption.vault.addresses"},
		{"any server", keys.Policy{VaultAddresses: []string{"*"}}, "spec.decryption.vault.addresses"},
		{"a path", keys.Policy{VaultAddresses: []string{"https://vault.example.com/v1"}}, "spec.decryption.vault.addresses"},
		{"credentials", keys.Policy{VaultAddresses: []string{"https://a:b@vault.example.com"}}, "spec.decryption.vault.addresses"},
		{"a key", keys.Policy{AWSKeys: []string{awsARN}}, ""},
		{"an alias", keys.Policy{AWSKeys: []string{"arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/fleet"}}, ""},
		{"all keys of an account and region", keys.Policy{AWSKeys: []string{"arn:aws:kms:eu-west-1:111122223333:*", "arn:aws:kms:eu-west-1:111122223333:key/*"}}, ""},
		{"all accounts", keys.Policy{AWSKeys: []string{"arn:aws:kms:eu-west-1:*"}}, "spec.decryption.aws.keys"},
		{"a star in the middle", keys.Policy{AWSKeys: []string{"arn:aws:kms:*:111122223333:key/x"}}, "spec.decryption.aws.keys"},
		{"everything", keys.Policy{AWSKeys: []string{"*"}}, "spec.decryption.aws.keys"},
		{"a role", keys.Policy{AWSRoles: []string{awsRole}}, ""},
		{"any role", keys.Policy{AWSRoles: []string{"arn:aws:iam::111122223333:role/*"}}, "spec.decryption.aws.roles"},
		{"a resource", keys.Policy{GCPKeys: []string{gcpKey, "projects/fleet/*", "projects/fleet/locations/global/*"}}, ""},
		{"all projects", keys.Policy{GCPKeys: []string{"projects/*"}}, "spec.decryption.gcp.keys"},
		{"an identifier", keys.Policy{AzureKeys: []string{azureName, "https://fleet.vault.azure.net/*", "https://fleet.vault.azure.net/keys/sops/*"}}, ""},
		{"a host that is not Azure's", keys.Policy{AzureKeys: []string{"https://vault.azure.net.example.com/*"}}, "spec.decryption.azure.keys"},
		{"all vaults", keys.Policy{AzureKeys: []string{"https://*"}}, "spec.decryption.azure.keys"},
	} {
		err := row.policy.Validate()
		var bad *keys.PolicyError
		if errors.As(err, &bad) != (row.field != "") || bad != nil && bad.Field != row.field {
			t.Errorf("%s: %v, want an error about %q", row.reason, err, row.field)
		}
	}
}

// TestKeysThatAreNone: a key that could redirect a request, or has an invalid form, is refused before any request.
func TestKeysThatAreNone(t *testing.T) {
	c := startClouds(t)
	ring, err := c.remote(newClock().Now).Ring("sops-keys", text(c.fields()), keys.Policy{
		AWSKeys: []string{"arn:aws:kms:eu-west-1:111122223333:*", "arn:aws:kms:cn-north-1:111122223333:*"}, GCPKeys: []string{"projects/fleet/*"}, AzureKeys: []string{"https://fleet.vault.azure.net/*"}})
	if err != nil {
		t.Fatal(err)
	}
	aws := func(arn string) *keyservice.Key {
		return &keyservice.Key{KeyType: &keyservice.Key_KmsKey{KmsKey: &keyservice.KmsKey{Arn: arn}}}
	}
	gcp := func(resource string) *keyservice.Key {
		return &keyservice.Key{KeyType: &keyservice.Key_GcpKmsKey{GcpKmsKey: &keyservice.GcpKmsKey{ResourceId: resource}}}
	}
	azure := func(vault, name, version string) *keyservice.Key {
		return &keyservice.Key{KeyType: &keyservice.Key_AzureKeyvaultKey{AzureKeyvaultKey: &keyservice.AzureKeyVaultKey{VaultUrl: vault, Name: name, Version: version}}}
	}
	for _, row := range []struct {
		reason string
		key    *keyservice.Key
	}{
		{"a region that is a host", aws("arn:aws:kms:evil.example.com/:111122223333:key/x")},
		{"a region of another partition", aws("arn:aws:kms:cn-north-1:111122223333:key/x")},
		{"a partition that there is not", aws("arn:aws-evil:kms:eu-west-1:111122223333:key/x")},
		{"a key with a line feed", aws(awsARN + "\nX-Evil: 1")},
		{"another service", aws("arn:aws:s3:eu-west-1:111122223333:key/x")},
		{"a star", aws("arn:aws:kms:eu-west-1:111122223333:*")},
		{"nothing", aws("")},
		{"a way up", gcp("projects/fleet/locations/x/keyRings/../../cryptoKeys/x")},
		{"a query", gcp(gcpKey + "?x")},
		{"another method", gcp(gcpKey + ":destroy")},
		{"a version", gcp(gcpKey + "/cryptoKeyVersions/1")},
		{"a host that begins alike", azure("https://fleet.vault.azure.net.example.com", "sops", "1")},
		{"a user", azure("https://fleet.vault.azure.net@evil.example.com", "sops", "1")},
		{"a port", azure("https://fleet.vault.azure.net:8443", "sops", "1")},
		{"no TLS", azure("http://fleet.vault.azure.net", "sops", "1")},
		{"a way up in the name", azure("https://fleet.vault.azure.net", "../secrets/x", "1")},
		{"no version", azure("https://fleet.vault.azure.net", "sops", "")},
	} {
		_, err := ring.Decrypt(t.Context(), &keyservice.DecryptRequest{Ciphertext: []byte("AAAA"), Key: row.key})
		var refused *keys.RefusedError
		if !errors.As(err, &refused) || refused.Cause != keys.NotAllowed {
			t.Errorf("%s: %v", row.reason, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%s: the error has more than one line", row.reason)
		}
	}
	_, err = ring.Decrypt(t.Context(), &keyservice.DecryptRequest{Ciphertext: make([]byte, 1<<20), Key: aws(awsARN)})
	if !errors.Is(err, keys.ErrNoKeyFits) {
		t.Errorf("a data key of a megabyte: %v", err)
	}
	huawei := &keyservice.Key{KeyType: &keyservice.Key_HckmsKey{HckmsKey: &keyservice.HckmsKey{KeyId: "x"}}}
	if _, err := ring.Decrypt(t.Context(), &keyservice.DecryptRequest{Key: huawei}); !errors.Is(err, keys.ErrNoKeyFits) {
		t.Errorf("a service that Muster does not know: %v", err)
	}
	if asked := c.took(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
}

func TestVerdict(t *testing.T) {
	down := &keys.UnavailableError{Address: "https://vault"}
	denied, notAllowed := &keys.RefusedError{Cause: keys.Denied}, &keys.RefusedError{Cause: keys.NotAllowed}
	for _, row := range []struct {
		reason string
		errs   []error
		want   error
	}{
		{"nobody was asked", nil, keys.ErrNoKeyFits},
		{"nothing fits", []error{keys.ErrNoKeyFits, nil}, keys.ErrNoKeyFits},
		{"a service that is not ours beside a key that is not ours", []error{keys.ErrNoKeyFits, notAllowed}, notAllowed},
		{"a service that denies is ours", []error{notAllowed, denied, keys.ErrNoKeyFits}, denied},
		{"a service that is down may open it yet", []error{denied, down, notAllowed}, down},
		{"the end of the context is no verdict on the file", []error{down, t.Context().Err(), errEnd}, errEnd},
	} {
		if got := keys.Verdict(row.errs); !errors.Is(got, row.want) {
			t.Errorf("%s: %v, want %v", row.reason, got, row.want)
		}
	}
}

var errEnd = errors.New("context canceled")
