package unseal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/keyservice"
	"google.golang.org/grpc"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
)

// dataKey recovers the data key of a file, or returns why it can't.
func (o *Opener) dataKey(ctx context.Context, f *load.File, m *sops.Metadata) ([]byte, *finding.Finding) {
	recipients := describeKeys(*m)
	if len(o.services) == 0 {
		return nil, problem(f, CodeNoKey, "no key was provided to decrypt this file, which is encrypted for "+recipients, "provide one of these keys")
	}
	services := make([]keyservice.KeyServiceClient, len(o.services))
	var tried attempts
	for i, s := range o.services {
		services[i] = boundService{KeyServiceClient: s, ctx: ctx, attempts: &tried}
	}
	key, err := m.GetDataKeyWithKeyServices(services, sops.DefaultDecryptionOrder)
	if err == nil {
		return key, nil
	}
	if ctx.Err() != nil {
		return nil, problem(f, CodeInterrupted, "decryption was interrupted", "")
	}
	verdict := keys.Verdict(tried.errs)
	var unavailable *keys.UnavailableError
	var refused *keys.RefusedError
	switch {
	case errors.As(verdict, &unavailable):
		return nil, problem(f, CodeUnavailable, "the key service at "+unavailable.Address+" is temporarily unavailable: "+unavailable.Reason, "")
	case tried.tooMany():
		return nil, problem(f, seal.CodeSopsBlock, fmt.Sprintf("the file has too many keys; Muster tries %d of key services and %d in total", maxAsked, maxTried),
			"remove unused keys with sops updatekeys")
	case errors.As(verdict, &refused):
		return nil, problem(f, CodeRefused, "can't get the data key from "+refused.Recipient+": "+refused.Reason, refused.Fix)
	default:
		return nil, problem(f, CodeWrongKey, "no provided key opens this file, which is encrypted for "+recipients,
			"provide one of these keys, or add your key's recipient with sops updatekeys")
	}
}

// Limits for one file. Each failing key of a key service is a request to a server, and a file has room for tens of thousands.
const (
	maxAsked = 50
	maxTried = 2000
)

// attempts are the failed attempts to recover a file's data key. The sops library drops the errors.
type attempts struct {
	errs         []error
	tried, asked int
}

func (a *attempts) tooMany() bool { return a.asked >= maxAsked || a.tried >= maxTried }

func (a *attempts) note(err error) {
	a.errs = append(a.errs, err)
	var refused *keys.RefusedError
	if errors.As(err, &refused) && (refused.Cause == keys.Denied || refused.Cause == keys.Rejected) || errors.As(err, new(*keys.UnavailableError)) {
		a.asked++
	}
}

// boundService ties a service to a context, because the sops library calls it with the background context, and to the limits of
// a file. It lives for one call of the library, so it may store a context.
type boundService struct {
	keyservice.KeyServiceClient
	ctx      context.Context //nolint:containedctx // see above
	attempts *attempts
}

func (b boundService) Decrypt(_ context.Context, req *keyservice.DecryptRequest, opts ...grpc.CallOption) (*keyservice.DecryptResponse, error) {
	if err := b.ctx.Err(); err != nil {
		return nil, err
	}
	if b.attempts.tooMany() {
		return nil, keys.ErrNoKeyFits
	}
	b.attempts.tried++
	answer, err := b.KeyServiceClient.Decrypt(b.ctx, req, opts...) //nolint:contextcheck // sops passes the background context
	if err != nil {
		b.attempts.note(err)
	}
	return answer, err
}

// describeKeys names the recipients of a file. They are public keys and addresses, which are plain in the file.
func describeKeys(m sops.Metadata) string {
	var names []string
	for _, group := range m.KeyGroups {
		for _, key := range group {
			names = append(names, key.TypeToIdentifier()+" "+key.ToString())
		}
	}
	switch {
	case len(names) == 0:
		return "no recipient"
	case len(names) > 3:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	default:
		return strings.Join(names, ", ")
	}
}
