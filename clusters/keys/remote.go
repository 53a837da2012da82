package keys

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// callTimeout limits one request to a key service, including retries and tokens.
	callTimeout = 10 * time.Second
	// maxAttempts is how often a request is sent while the server is unavailable.
	maxAttempts = 3
	// maxAnswer limits a response, and maxMessage an encrypted data key, which has a few hundred bytes.
	maxAnswer  = 64 << 10
	maxMessage = 16 << 10
	// maxClients limits the connection pools. There is one for each CA certificate in use.
	maxClients = 32
)

// Remote asks key services over the network: Vault transit, AWS KMS, Google Cloud KMS and Azure Key Vault. One Remote serves all
// rings of a process. It caches data keys for at most Lifetime, sends one request if several callers need the same key, and
// stops asking failing servers for a while. It is safe for concurrent use.
//
// Vault is asked through its own client, without the settings that it finds in the process environment. The clouds' SDKs aren't used. They
// read the environment and the home folder even if everything is configured (AZURE_REGIONAL_AUTHORITY_NAME,
// GOOGLE_API_USE_CLIENT_CERTIFICATE, …), and a request is just one POST. Remote ignores proxies from the environment, and doesn't follow
// redirects.
type Remote struct {
	now      func() time.Time
	secret   [32]byte // makes the cache's ids useless outside of the process
	cache    cache
	circuits circuits
	flights  singleflight.Group

	mu      sync.Mutex
	clients map[id]*http.Client

	// timeout is callTimeout. Only tests change timeout, dial and roots, to run their own servers under the names of the real
	// ones.
	timeout time.Duration
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	roots   *x509.CertPool
}

// NewRemote returns a Remote that uses now as its clock.
func NewRemote(now func() time.Time) *Remote {
	r := &Remote{now: now, cache: cache{max: maxHeld}, clients: map[id]*http.Client{}, timeout: callTimeout}
	r.dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	rand.Read(r.secret[:]) // never an error
	return r
}

// question is a request to a service to decrypt a data key.
type question struct {
	// recipient is the key as the file names it.
	recipient string
	// endpoint is the server with the credentials for it. Failures are counted by endpoint.
	endpoint endpoint
	// id identifies everything that the answer depends on: service, key, ciphertext and credential.
	id  id
	ask func(context.Context) ([]byte, error)
}

// endpoint returns the endpoint for a server and credentials.
func (r *Remote) endpoint(address string, credentials ...string) endpoint {
	return endpoint{address, r.idOf(append([]string{"line"}, credentials...)...)}
}

// idOf returns the id for some parts.
func (r *Remote) idOf(parts ...string) id {
	mac := hmac.New(sha256.New, r.secret[:])
	for _, part := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write([]byte(part))
	}
	return id(mac.Sum(nil))
}

// open answers a question, from the cache if possible.
func (r *Remote) open(ctx context.Context, q question) ([]byte, error) {
	if key, ok := r.cache.get(q.id, r.now()); ok {
		return key, nil
	}
	// The first caller may give up while others still want the answer.
	detached := context.WithoutCancel(ctx)
	result := r.flights.DoChan(string(q.id[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(detached, r.timeout)
		defer cancel()
		return r.request(ctx, q)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case got := <-result:
		if got.Err != nil {
			return nil, got.Err
		}
		return bytes.Clone(got.Val.([]byte)), nil
	}
}

// request sends a question to the service, with retries, and caches the answer.
func (r *Remote) request(ctx context.Context, q question) ([]byte, error) {
	now := r.now()
	r.cache.expire(now)
	if key, ok := r.cache.get(q.id, now); ok {
		return key, nil
	}
	if err := r.circuits.admit(q.endpoint, now); err != nil {
		return nil, err
	}
	key, err := retry(ctx, q.ask)
	if unavailable, ok := errors.AsType[*UnavailableError](err); ok {
		r.circuits.record(q.endpoint, unavailable.Reason, r.now())
		return nil, err
	}
	r.circuits.record(q.endpoint, "", r.now())
	if err != nil {
		return nil, err
	}
	now = r.now()
	r.cache.put(q.id, key, now, now.Add(Lifetime))
	return key, nil
}

// retry asks again, after a pause, while the server is unavailable and time is left.
func retry(ctx context.Context, ask func(context.Context) ([]byte, error)) ([]byte, error) {
	for attempt := 1; ; attempt++ {
		key, err := ask(ctx)
		if !errors.As(err, new(*UnavailableError)) || attempt == maxAttempts {
			return key, err
		}
		pause := time.NewTimer(time.Duration(attempt) * 200 * time.Millisecond)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil, err
		case <-pause.C:
		}
	}
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
		now := r.now()
		// Expire early, because clocks differ and the request takes a while.
		if lifetime = min(lifetime-time.Minute, Lifetime); lifetime > 0 {
			r.cache.put(name, value, now, now.Add(lifetime))
		}
		return value, nil
	})
	if err != nil {
		return nil, err
	}
	return bytes.Clone(result.([]byte)), nil
}

// client returns a client that trusts the system's certificates, or only those in caPEM.
func (r *Remote) client(caPEM string) *http.Client {
	name := r.idOf("client", caPEM)
	r.mu.Lock()
	defer r.mu.Unlock()
	if client := r.clients[name]; client != nil {
		return client
	}
	if len(r.clients) >= maxClients {
		for name, client := range r.clients {
			client.CloseIdleConnections()
			delete(r.clients, name)
		}
	}
	roots := r.roots
	if caPEM != "" {
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(caPEM))
	}
	client := &http.Client{
		Transport: bounded{&http.Transport{
			Proxy:                  nil, // not from the environment
			DialContext:            r.dial,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: maxAnswer,
			MaxIdleConnsPerHost:    8,
			MaxConnsPerHost:        32,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
		}},
	}
	r.clients[name] = client
	return client
}

// answer is a server's response.
type answer struct {
	status int
	body   []byte
}

// post sends a request. Every error is an *UnavailableError.
func post(client *http.Client, req *http.Request) (answer, error) {
	req.Header.Set("User-Agent", "muster")
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, unavailable(req.Context(), req.URL.Scheme+"://"+req.URL.Host, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it is in memory
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, body}, err
}

// unavailable returns why a server gave no response.
func unavailable(ctx context.Context, address string, err error) error {
	if known, ok := errors.AsType[*UnavailableError](err); ok {
		return known
	}
	return &UnavailableError{address, networkReason(ctx, err)}
}

// bounded reads each response to its end, at most maxAnswer bytes, before a client sees it. A response that means the server is temporarily
// unavailable is an *UnavailableError. So is a redirect: it would send the credential to an address that the policy may not allow.
type bounded struct{ *http.Transport }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	address := req.URL.Scheme + "://" + req.URL.Host
	resp, err := b.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close() // what is read has been read
	switch {
	case err != nil:
		return nil, &UnavailableError{address, networkReason(req.Context(), err)}
	case len(body) > maxAnswer:
		return nil, &UnavailableError{address, fmt.Sprintf("its response is longer than %d bytes", maxAnswer)}
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout:
		reason := fmt.Sprintf("it returned status %d", resp.StatusCode)
		if said := vaultErrors(body); said != "" {
			reason += ": " + said
		}
		return nil, &UnavailableError{address, reason}
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, &UnavailableError{address, fmt.Sprintf("it returned a redirect (status %d), which Muster does not follow", resp.StatusCode)}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// networkReason returns why there was no response, without the address of the request.
func networkReason(ctx context.Context, err error) string {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "it did not respond in time"
	case errors.As(err, &unknown):
		return "its certificate is signed by an unknown authority; for Vault, put the CA certificate in the field " + VaultCAField + " of the decryption Secret"
	default:
		return quoted(err.Error())
	}
}
