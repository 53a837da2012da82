package keys_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/getsops/sops/v3/keyservice"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestAdvisories: an identity or a recipient that names a plugin runs nothing (GHSA-32gq-x56h-299c).
func TestAdvisories(t *testing.T) {
	dir := t.TempDir()
	mark := filepath.Join(dir, "was-run")
	for _, name := range []string{"age-plugin-x", "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\ntouch "+mark+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, identity := range []string{"AGE-PLUGIN-X-1QQQQQQQQ", "AGE-PLUGIN-../X-1QQQQQQQQ", "AGE-PLUGIN-" + dir + "/x-1"} {
		_, err := keys.FromSecret("sops-keys", map[string][]byte{"x.agekey": []byte(identity)})
		if target := (*keys.KeyError)(nil); !errors.As(err, &target) {
			t.Errorf("%s: %v", identity, err)
		}
	}
	ring := ringOf(t, map[string]string{"k.agekey": sealtest.NewKey(t).Private()})
	for _, recipient := range []string{"age1x1qqqqqqqq", "age1../x1qqqqqqqq", "age1" + dir + "/x1qqqqqqqq"} {
		if _, err := ring.Decrypt(t.Context(), &keyservice.DecryptRequest{Ciphertext: []byte("x"),
			Key: &keyservice.Key{KeyType: &keyservice.Key_AgeKey{AgeKey: &keyservice.AgeKey{Recipient: recipient}}}}); err == nil {
			t.Errorf("%s: no error", recipient)
		}
	}
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a plugin was run: %v", err)
	}
}
