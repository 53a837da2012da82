package keys_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/clusters/unseal"
)

func opens(t *testing.T, ring *keys.Ring, key *sealtest.Key) bool {
	t.Helper()
	file := &load.File{Path: "x", Data: key.Encrypt(t, "k.yaml", "a: b\n", sealtest.Everything)}
	_, bad := unseal.NewOpener(ring).Open(t.Context(), file)
	if bad != nil && bad.Code != unseal.CodeWrongKey {
		t.Fatal(bad)
	}
	return bad == nil
}

func TestFromSecret(t *testing.T) {
	a, b, c := sealtest.NewKey(t), sealtest.NewKey(t), sealtest.NewKey(t)
	ring, err := keys.FromSecret("sops-keys", map[string][]byte{
		"team.agekey": []byte("# created by age-keygen\r\n# public key: " + a.Public() + "\n" + a.Private() + "\n\n" + b.Private()),
		"other":       []byte(c.Private()),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !opens(t, ring, a) || !opens(t, ring, b) || opens(t, ring, c) {
		t.Error("the ring does not hold the two keys of the field, or more")
	}
	if secrets := strings.Join(ring.Secrets(), " "); secrets != a.Private()+" "+b.Private() {
		t.Error("the redactor is not told of every key")
	}
}

// TestBadKeys: the error for an unusable key does not quote it.
func TestBadKeys(t *testing.T) {
	key := sealtest.NewKey(t).Private()
	for name, data := range map[string]map[string][]byte{
		"no field":       {"identity": []byte(key)},
		"nothing":        {},
		"empty field":    {"x.agekey": nil},
		"half a key":     {"x.agekey": []byte(key[:40])},
		"a public key":   {"x.agekey": []byte(sealtest.NewKey(t).Public())},
		"101 keys":       {"a.agekey": []byte(strings.Repeat(key+"\n", 101))},
		"one bad of two": {"a.agekey": []byte(key), "b.agekey": []byte("AGE-SECRET-KEY-1" + key[20:])},
	} {
		_, err := keys.FromSecret("sops-keys", data)
		if target := (*keys.KeyError)(nil); !errors.As(err, &target) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(err.Error(), key[20:40]) {
			t.Errorf("%s: the error repeats the key", name)
		}
	}
}

func TestFromEnvironment(t *testing.T) {
	a, b, c := sealtest.NewKey(t), sealtest.NewKey(t), sealtest.NewKey(t)
	files := map[string]string{"/keys": b.Private(), "/home/sops/age/keys.txt": c.Private()}
	env := keys.Environment{
		Getenv: func(name string) string {
			return map[string]string{"SOPS_AGE_KEY": a.Private(), "SOPS_AGE_KEY_FILE": "/keys"}[name]
		},
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := files[name]; ok {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		},
		ConfigDir: "/home",
	}
	ring, err := keys.FromEnvironment(env)
	if err != nil {
		t.Fatal(err)
	}
	if !opens(t, ring, a) || !opens(t, ring, b) || !opens(t, ring, c) {
		t.Error("a key is missing")
	}
	delete(files, "/home/sops/age/keys.txt")
	if _, err := keys.FromEnvironment(env); err != nil {
		t.Errorf("without the file of the user: %v", err)
	}
	delete(files, "/keys")
	if _, err := keys.FromEnvironment(env); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file that the environment names: %v", err)
	}
	env.Getenv = func(string) string { return "" }
	if ring, err := keys.FromEnvironment(env); err != nil || !ring.Empty() {
		t.Errorf("without anything: %v", err)
	}
}
