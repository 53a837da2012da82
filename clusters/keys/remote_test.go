package keys

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestRemote: an answer is cached for its lifetime, and a server that fails in a row is left alone.
func TestRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the pauses between attempts take no time
		r, asked := NewRemote(time.Now), 0
		ask := func(name string, failure error) error {
			_, err := r.open(t.Context(), question{server: r.server("https://a.example.com"), id: r.idOf(name), ask: func(context.Context) ([]byte, error) {
				asked++
				return []byte("canary"), failure
			}})
			return err
		}
		steps := func(reason string, want int, errs ...error) {
			t.Helper()
			if err := errors.Join(errs...); asked != want || err != nil {
				t.Errorf("%s: asked %d times, want %d; %v", reason, asked, want, err)
			}
		}
		steps("the same twice", 1, ask("a", nil), ask("a", nil))
		time.Sleep(Lifetime)
		steps("its lifetime is over", 2, ask("a", nil))
		time.Sleep(Lifetime)
		_, _ = r.Ring("sops-keys", nil, Policy{})
		if n := r.Held(); n != 0 {
			t.Errorf("%d values are held at the next sync after their lifetime", n)
		}
		asked = 0
		down := &UnavailableError{Address: "https://a.example.com", Reason: "down"}
		for i := range failuresInARow {
			if err := ask("b", down); !errors.Is(err, error(down)) || asked != (i+1)*maxAttempts {
				t.Errorf("asked %d times, %v", asked, err)
			}
		}
		if err := ask("c", nil); !errors.As(err, new(*UnavailableError)) || asked != failuresInARow*maxAttempts {
			t.Errorf("a server that failed in a row is asked again: %v", err)
		}
		time.Sleep(cooldown)
		steps("after a while", failuresInARow*maxAttempts+1, ask("c", nil))
	})
}

// TestClients: each CA certificate has a client that trusts it alone, and not more of them than allowed.
func TestClients(t *testing.T) {
	r := NewRemote(time.Now)
	r.roots = x509.NewCertPool()
	r.roots.AddCert(&x509.Certificate{Raw: []byte("system"), RawSubject: []byte("system")})
	if client := r.client(""); client != r.client("") || client.Transport.(bounded).TLSClientConfig.RootCAs != r.roots {
		t.Error("without a CA certificate, it isn't the one client that trusts the system's")
	}
	if trusted := r.client("CA").Transport.(bounded).TLSClientConfig.RootCAs; !trusted.Equal(x509.NewCertPool()) {
		t.Error("with a CA certificate, the system's are trusted too")
	}
	for i := range 2 * maxClients {
		r.client(fmt.Sprint(i))
	}
	if n := len(r.clients); n > maxClients {
		t.Errorf("%d clients", n)
	}
}
