package seal_test

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestStale: the changes since an earlier version that certainly break a file's MAC.
func TestStale(t *testing.T) {
	key := sealtest.NewKey(t)
	const plain = "apiVersion: v1\nkind: Secret\nmetadata:\n    name: s\n    annotations:\n        a: one\n        n: 1.0\nstringData:\n    token: x\n"
	file := key.Encrypt(t, "s.yaml", plain, credentials)
	macOnly := key.Encrypt(t, "s.yaml", plain, sealtest.Rule{EncryptedRegex: credentials.EncryptedRegex, MACOnlyEncrypted: true})
	for _, test := range []struct {
		reason, before, now string
		line                int
	}{
		{"nothing has changed", file, file, 0},
		{"a plain value", file, strings.Replace(file, "a: one", "a: two", 1), 6},
		{"a value more", file, strings.Replace(file, "        a: one\n", "        a: one\n        b: more\n", 1), 7},
		{"a value less", file, strings.Replace(file, "        a: one\n", "", 1), 6},
		{"a null more is not under the MAC", file, strings.Replace(file, "        a: one\n", "        a: one\n        b: null\n", 1), 0},
		{"nor is a key", file, strings.Replace(file, "a: one", "b: one", 1), 0},
		{"nor a comment", file, "# why\n" + file, 0},
		{"another way to write a number", file, strings.Replace(file, "n: 1.0", "n: 1.00", 1), 0},
		{"an encrypted value", file, strings.Replace(file, "token: ENC[AES256_GCM,data:", "token: ENC[AES256_GCM,data:AAAA", 1), 9},
		{"with sops", file, key.Edit(t, "s.yaml", file, strings.Replace(plain, "one", "two", 1)), 0},
		{"encrypted anew", file, key.Encrypt(t, "s.yaml", strings.Replace(plain, "one", "two", 1), credentials), 0},
		{"plain values that are not under the MAC", macOnly, strings.Replace(macOnly, "a: one", "a: two", 1), 0},
		{"it was plain", plain, file, 0},
		{"what was there can't be read", "a: [", file, 0},
		{"there was nothing", "", file, 0},
		{"what was there is no mapping", "- a\n", file, 0},
		{"what was there has an empty document before it", "---\n" + file, strings.Replace(file, "a: one", "a: two", 1), 6},
		{"values more than before, at the end", file, strings.Replace(file, "\nsops:", "\nmore: x\nsops:", 1), 10},
		{"neither has a MAC", plain, strings.Replace(plain, "a: one", "a: two", 1), 0},
	} {
		f := load1(t, map[string]string{"f/s.yaml": test.now}).Files["f/s.yaml"]
		bad := seal.Stale(f, test.before)
		line := 0
		if bad != nil {
			line = bad.Line
		}
		if line != test.line || bad != nil && bad.Code != seal.CodeTampered {
			t.Errorf("%s: %v, want line %d", test.reason, bad, test.line)
		}
	}
}
