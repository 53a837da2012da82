package unseal_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/getsops/sops/v3/keyservice"
	"google.golang.org/grpc"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/unseal"
)

// refusing is a key service that counts the requests and opens nothing.
type refusing struct {
	keyservice.KeyServiceClient
	err   error
	asked int
}

func (r *refusing) Decrypt(context.Context, *keyservice.DecryptRequest, ...grpc.CallOption) (*keyservice.DecryptResponse, error) {
	r.asked++
	return nil, r.err
}

// TestManyKeys: a file can't cause unlimited requests or attempts.
func TestManyKeys(t *testing.T) {
	rejected := &keys.RefusedError{Recipient: "k", Cause: keys.Rejected, Reason: "no such key"}
	notAllowed := &keys.RefusedError{Recipient: "k", Cause: keys.NotAllowed, Reason: "not allowed"}
	for _, row := range []struct {
		reason string
		keys   int
		err    error
		asked  int
		code   string
	}{
		{"as many as anybody has", 40, rejected, 40, string(unseal.CodeRefused)},
		{"a server that knows none of them", 3000, rejected, 50, string(seal.CodeSopsBlock)},
		{"a server that does not answer", 3000, &keys.UnavailableError{Address: "https://v", Reason: "down"}, 50, string(unseal.CodeUnavailable)},
		{"a hundred of others, which nobody is asked about", 100, notAllowed, 100, string(unseal.CodeRefused)},
		{"thousands of others", 3000, notAllowed, 2000, string(seal.CodeSopsBlock)},
		{"thousands that no key at hand fits", 3000, keys.ErrNoKeyFits, 2000, string(seal.CodeSopsBlock)},
	} {
		t.Run(row.reason, func(t *testing.T) {
			var b strings.Builder
			b.WriteString("a: ENC[AES256_GCM,data:AA==,iv:AAAAAAAAAAAAAAAAAAAAAA==,tag:AAAAAAAAAAAAAAAAAAAAAA==,type:str]\nsops:\n  hc_vault:\n")
			for i := range row.keys {
				fmt.Fprintf(&b, "  - {vault_address: 'https://vault.example.com', engine_path: transit, key_name: k%d, created_at: '2026-01-01T00:00:00Z', enc: 'vault:v1:AAAA'}\n", i)
			}
			b.WriteString("  lastmodified: '2026-01-01T00:00:00Z'\n  mac: ENC[AES256_GCM,data:AA==,iv:AAAAAAAAAAAAAAAAAAAAAA==,tag:AAAAAAAAAAAAAAAAAAAAAA==,type:str]\n  version: 3.9.0\n")
			service := &refusing{err: row.err}
			_, bad := unseal.NewOpener(service).Open(t.Context(), &load.File{Path: "f.yaml", Data: b.String()})
			if bad == nil || string(bad.Code) != row.code || service.asked != row.asked {
				t.Errorf("asked %d times, finding %v", service.asked, bad)
			}
		})
	}
}
