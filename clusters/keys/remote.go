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
// The makers' clients get explicit options, no retries and an HTTP client of Remote, which ignores proxies from the environment, doesn't
// follow redirects, and limits what it reads.
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
	// server identifies the server with the credentials for it. Failures are counted by server.
	server id
	// id identifies everything that the answer depends on: service, key, ciphertext and credential.
	id  id
	ask func(context.Context) ([]byte, error)
}

// server returns the id of a server with the credentials for it.
func (r *Remote) server(address string, credentials ...string) id {
	return r.idOf(append([]string{"server", address}, credentials...)...)
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
	if key, ok := r.cache.get(q.id, now); ok {
		return key, nil
	}
	if err := r.circuits.admit(q.server, now); err != nil {
		return nil, err
	}
	key, err := askWithRetries(ctx, q.ask)
	failure, _ := errors.AsType[*UnavailableError](err)
	r.circuits.record(q.server, failure, r.now())
	if err != nil {
		return nil, err
	}
	r.cache.put(q.id, key, r.now().Add(Lifetime))
	return key, nil
}

// askWithRetries asks again, after a pause, while the server is unavailable and time is left.
func askWithRetries(ctx context.Context, ask func(context.Context) ([]byte, error)) ([]byte, error) {
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

// noAnswer classifies an error of a client that isn't an error of the service: there was no response, or not one of this service.
func noAnswer(ctx context.Context, recipient, service, address string, err error) error {
	if known, ok := errors.AsType[*UnavailableError](err); ok {
		return known
	}
	if ctx.Err() != nil || errors.As(err, new(*url.Error)) {
		return &UnavailableError{address, networkReason(ctx, err)}
	}
	return unexpectedAnswer(recipient, service)
}

func unexpectedAnswer(recipient, service string) error {
	return &RefusedError{recipient, Rejected, "the response is not from " + service, "check what runs at this address"}
}

// dataKey returns the data key in a response.
func dataKey(recipient, service string, key []byte) ([]byte, error) {
	if len(key) == 0 || len(key) > maxDataKey {
		return nil, unexpectedAnswer(recipient, service)
	}
	return key, nil
}

// bounded reads each response to its end, at most maxAnswer bytes, before a client sees it. A response that means the server is temporarily
// unavailable is an *UnavailableError. So is a redirect: it would send the credential to an address that the policy may not allow. It
// sends no header in which an SDK repeats what it finds in the environment.
type bounded struct{ *http.Transport }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, address := req.Context(), req.URL.Scheme+"://"+req.URL.Host
	req = req.Clone(ctx)
	req.Header.Set("User-Agent", "muster")
	req.Header.Del("X-Amzn-Trace-Id")
	resp, err := b.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close() // what is read has been read
	switch {
	case err != nil:
		return nil, &UnavailableError{address, networkReason(ctx, err)}
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
