package keys

import "testing"

// TestAllowed: an entry matches the whole key, unless it ends in a star.
func TestAllowed(t *testing.T) {
	const key = "arn:aws:kms:eu-west-1:111122223333:key/abcd"
	for _, row := range []struct {
		reason, entry string
		want          bool
	}{
		{"the key", key, true},
		{"a beginning without a star", "arn:aws:kms:eu-west-1:111122223333:key/abc", false},
		{"a beginning that ends in a separator", "arn:aws:kms:eu-west-1:111122223333:key/", false},
		{"a beginning with a star", "arn:aws:kms:eu-west-1:111122223333:key/abc*", true},
		{"the key with a star", key + "*", true},
		{"more than the key with a star", key + "e*", false},
		{"another account with a star", "arn:aws:kms:eu-west-1:444455556666:*", false},
		{"a star in the middle", "arn:aws:kms:*:111122223333:key/abcd", false},
		{"nothing", "", false},
	} {
		if got := allowed([]string{"arn:aws:kms:other", row.entry}, key); got != row.want {
			t.Errorf("%s: %t", row.reason, got)
		}
	}
	p := Policy{VaultAddresses: []string{"https://vault.example.com"}}
	for address, want := range map[string]bool{"https://vault.example.com": true, "https://vault.example.com.evil.org": false, "https://vault.example.co": false, "https://vault.example.com:8200": false} {
		if p.allowsVault(address) != want {
			t.Errorf("%s: %t", address, !want)
		}
	}
}
