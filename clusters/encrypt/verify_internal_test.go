package encrypt

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// A file that does not open to what was encrypted is never returned.
func TestVerify(t *testing.T) {
	key := sealtest.NewKey(t)
	sealed := key.Encrypt(t, "a.yaml", "token: canary\nschedule: x\n", sealtest.Credentials)
	tree, err := load.Load(t.Context(), fstest.MapFS{"a.yaml": {Data: []byte(sealed)}}, ".", load.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, failure := Open(t.Context(), tree.Files["a.yaml"], nil, key.Opener(t))
	if failure != nil {
		t.Fatal(failure)
	}
	if err := f.verify([]byte(sealed), f.key, f.plain); err != nil {
		t.Errorf("the same file: %v", err)
	}
	if err := f.verify([]byte(sealed), f.key, []byte("token: other\nschedule: x\n")); !errors.Is(err, errDifferent) {
		t.Errorf("other content: %v", err)
	}
	changed := strings.Replace(sealed, "schedule: x", "schedule: y", 1)
	if err := f.verify([]byte(changed), f.key, []byte(strings.Replace(string(f.plain), "schedule: x", "schedule: y", 1))); !errors.Is(err, errDifferent) {
		t.Errorf("a MAC that doesn't fit: %v", err)
	}
	if err := f.verify([]byte(sealed), []byte("0123456789abcdef0123456789abcdef"), f.plain); err == nil {
		t.Error("another data key fits")
	}
}
