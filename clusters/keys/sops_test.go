package keys_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/stores/yaml"
	"google.golang.org/grpc"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// sopsFile encrypts "a: b" with the sops library, for groups of recipients of which threshold are needed.
func sopsFile(t *testing.T, threshold int, groups ...sealtest.Group) string {
	t.Helper()
	return sealtest.Encrypt(t, "k.yaml", "a: b\n", sealtest.Everything, threshold, groups...)
}

// collector passes a ring to the sops library and keeps the errors that the library drops.
type collector struct {
	*keys.Ring
	mu   sync.Mutex
	errs []error
}

func (c *collector) Decrypt(ctx context.Context, req *keyservice.DecryptRequest, opts ...grpc.CallOption) (*keyservice.DecryptResponse, error) {
	answer, err := c.Ring.Decrypt(ctx, req, opts...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
	return answer, err
}

// open decrypts a file with the sops library, including the MAC. Its error is the verdict on the keys' errors.
func open(t *testing.T, ring *keys.Ring, text string) error {
	t.Helper()
	tree, err := yaml.NewStore(&config.YAMLStoreConfig{}).LoadEncryptedFile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	service := &collector{Ring: ring}
	dataKey, err := tree.Metadata.GetDataKeyWithKeyServices([]keyservice.KeyServiceClient{service}, sops.DefaultDecryptionOrder)
	if err != nil {
		return keys.Verdict(service.errs)
	}
	if _, err := tree.Decrypt(dataKey, aes.NewCipher()); err != nil {
		t.Fatal(err)
	}
	if value := fmt.Sprint(tree.Branches[0][0].Value); value != "b" {
		t.Fatalf("a is %q", value)
	}
	return nil
}

// outcome is the result for a file, in one word.
func outcome(err error) string {
	var refused *keys.RefusedError
	switch {
	case err == nil:
		return "open"
	case errors.As(err, new(*keys.UnavailableError)):
		return "unavailable"
	case errors.As(err, &refused):
		return string(refused.Cause)
	case errors.Is(err, keys.ErrNoKeyFits):
		return "no key"
	default:
		return err.Error()
	}
}

// clock only moves when a test sets it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// text converts strings to a Secret's data.
func text(fields map[string]string) map[string][]byte {
	data := map[string][]byte{}
	for name, value := range fields {
		data[name] = []byte(value)
	}
	return data
}
