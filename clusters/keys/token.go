package keys

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// token gets an access token from a token server, and caches it. request signs, so it is only called if there is none in the cache.
// refused converts the server's error code to an error.
func (r *Remote) token(ctx context.Context, name id, address string, request func(now time.Time) (*clientcredentials.Config, error),
	refused func(code string) error) ([]byte, error) {
	return r.cached(ctx, name, func(ctx context.Context) ([]byte, time.Duration, error) {
		config, err := request(r.now())
		if err != nil {
			return nil, 0, err
		}
		token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, r.client("")))
		if err == nil {
			return []byte(token.AccessToken), time.Until(token.Expiry), nil
		}
		if failed := noAnswer(ctx, "", "", address, err); errors.As(failed, new(*UnavailableError)) {
			return nil, 0, failed
		}
		var code string
		if said, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
			code = quoted(said.ErrorCode)
		}
		return nil, 0, refused(code)
	})
}

// withToken returns a client whose requests have an access token.
func (r *Remote) withToken(token []byte) *http.Client {
	return &http.Client{Transport: &oauth2.Transport{Base: r.client("").Transport, Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: string(token)})}}
}

// cached returns a token or the like from the cache, or gets one and caches it for its lifetime.
func (r *Remote) cached(ctx context.Context, name id, get func(context.Context) (value []byte, lifetime time.Duration, err error)) ([]byte, error) {
	if value, ok := r.cache.get(name, r.now()); ok {
		return value, nil
	}
	// The first caller's deadline applies. Callers that wait started later, so their own deadlines are later.
	result, err, _ := r.flights.Do(string(name[:]), func() (any, error) {
		value, lifetime, err := get(ctx)
		if err != nil {
			return nil, err
		}
		// Expire early, because clocks differ and the request takes a while.
		if lifetime = min(lifetime-time.Minute, Lifetime); lifetime > 0 {
			r.cache.put(name, value, r.now().Add(lifetime))
		}
		return value, nil
	})
	if err != nil {
		return nil, err
	}
	return bytes.Clone(result.([]byte)), nil
}
