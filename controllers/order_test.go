package controllers_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// TestOrderOfWrites: Secrets are written and deleted concurrently, and yet all are there before the entries that name them, and none is
// deleted before them. An object is in an inventory before it is written, and until it is gone.
func TestOrderOfWrites(t *testing.T) {
	const n, removed = 60, 10
	f := newFleet(newWorld(t))
	files := f.files(n)
	commit := f.push(files)
	f.startController(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/secrets/") {
				time.Sleep(100 * time.Millisecond) // who doesn't wait for the last ones is earlier
			}
			return next.RoundTrip(r)
		})
	})
	order := func(when string, since server.Mark, want string) {
		t.Helper()
		var kinds []string
		for _, r := range f.requests(since) {
			if r.Writes() && slices.Contains([]string{"secrets", "configmaps", "mondooauditconfigs"}, r.Resource) {
				kinds = append(kinds, r.Verb+" "+r.Resource)
			}
		}
		if got := strings.Join(slices.Compact(kinds), ", "); got != want {
			t.Errorf("%s: %s; want %s", when, got, want)
		}
	}
	mark := f.mark()
	f.createSync(nil)
	f.untilReady(commit)
	order("all are new", mark, "patch configmaps, patch secrets, patch mondooauditconfigs, patch configmaps")

	var gone []string
	for i := range removed {
		gone = append(gone, pathOf(i))
	}
	changed := map[string]string{pathOf(removed): f.withToken(nameOf(removed), "CANARY-another")}
	mark = f.mark()
	f.untilAfterRequest(f.push(changed, gone...))
	order("some are removed", mark, "patch secrets, patch mondooauditconfigs, delete secrets, patch configmaps")
}
