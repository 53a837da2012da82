package clusters

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestForks: a fork renders a variant as a fresh pipeline does, and neither the pipeline nor the redactor's knowledge of its
// secrets changes by it.
func TestForks(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			e := newEditor(t, 100+seed)
			base, redactor, opener := NewPipeline(), &redact.Redactor{}, sealtest.Opener(t, e.open...)
			before := described(t, e.render(base, opener, redactor))
			files, opts, open := maps.Clone(e.files), e.opts, e.open
			for variant := range 6 {
				name := fmt.Sprint("pull ", variant)
				fork := base.Fork(name)
				said := e.edit() + ", " + e.edit()
				got := e.render(fork, opener, redactor)
				want := e.render(&Pipeline{mu: base.mu, sealer: base.sealer}, opener, &redact.Redactor{})
				if a, b := described(t, got), described(t, want); a != b {
					t.Fatalf("%s, %s:\nfresh: %s\nfork:  %s", name, said, b, a)
				}
				for _, value := range secretsOf(got) {
					if strings.Contains(redactor.String(value), value) {
						t.Errorf("%s, %s: the redactor doesn't know a value of the fork", name, said)
					}
				}
				fork.Close()
				e.files, e.opts, e.open = maps.Clone(files), opts, open
				again := e.render(base, opener, redactor)
				if after := described(t, again); after != before {
					t.Fatalf("%s, %s: changed the base:\nbefore: %s\nafter:  %s", name, said, before, after)
				}
				fresh := &redact.Redactor{}
				e.render(&Pipeline{mu: base.mu, sealer: base.sealer}, opener, fresh)
				for _, value := range append(secretsOf(got), secretsOf(again)...) {
					if a, b := redactor.String(value), fresh.String(value); a != b {
						t.Fatalf("%s, %s: after it is closed, %q is %q to the redactor, and %q to a fresh one", name, said, value, a, b)
					}
				}
			}
		})
	}
}

func secretsOf(f *fleet.Opened) []string {
	var values []string
	for _, s := range f.Secrets {
		for _, value := range s.Data {
			if strings.Contains(value, "secret-") {
				values = append(values, value)
			}
		}
	}
	return values
}
