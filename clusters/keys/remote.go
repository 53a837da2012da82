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
	// callTimeout bounds one question to a key service, retries and tokens included.
	callTimeout = 10 * time.Second
	// maxAttempts is how often a question is put while the server is unavailable.
	maxAttempts = 3
	// maxAnswer bounds what is read of an answer, and maxMessage an encrypted data key, which has a few hundred bytes.
	maxAnswer  = 64 << 10
	maxMessage = 16 << 10
	// maxClients bounds how many connection pools there are: one per CA certificate that is in use.
	maxClients = 32
)

// Remote asks key services over the network: Vault transit, AWS KMS, Google Cloud KMS and Azure Key Vault. One Remote serves
// all rings of a process. It keeps the data keys that were opened, for Lifetime at most, asks once where several want the
// same at once, and leaves servers alone that fail. It may be used concurrently.
//
// The services' own SDKs are not used to ask: all of them look into the process environment and the home folder even when
// they are given everything (VAULT_TOKEN, AZURE_REGIONAL_AUTHORITY_NAME, GOOGLE_API_USE_CLIENT_CERTIFICATE, …), and a
// question is one POST. Neither proxies from the environment nor redirects are followed.
type Remote struct {
	now      func() time.Time
	secret   [32]byte // makes names in the cache useless outside of the process
	cache    cache
	circuits circuits
	flights  singleflight.Group

	mu      sync.Mutex
	clients map[id]*http.Client

	// timeout is callTimeout. It, dial and roots change in tests alone, which have servers of their own behind the names of the
	// real ones.
	timeout time.Duration
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	roots   *x509.CertPool
}

// NewRemote returns a Remote that tells the time by now.
func NewRemote(now func() time.Time) *Remote {
	r := &Remote{now: now, cache: cache{max: maxHeld}, clients: map[id]*http.Client{}, timeout: callTimeout}
	r.dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	rand.Read(r.secret[:]) // never an error
	return r
}

// question is what one service is asked to open.
type question struct {
	// recipient is the key as the file names it.
	recipient string
	// line is the server with the credentials for it, by which failures are counted.
	line line
	// name is made of all that the answer depends on: service, key, ciphertext and credential.
	name id
	ask  func(context.Context) ([]byte, error)
}

// line is a server that is asked with credentials.
func (r *Remote) line(address string, credentials ...string) line {
	return line{address, r.name(append([]string{"line"}, credentials...)...)}
}

// name makes an id of parts.
func (r *Remote) name(parts ...string) id {
	mac := hmac.New(sha256.New, r.secret[:])
	for _, part := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write([]byte(part))
	}
	return id(mac.Sum(nil))
}

// open answers a question, from memory if it can.
func (r *Remote) open(ctx context.Context, q question) ([]byte, error) {
	if key, ok := r.cache.get(q.name, r.now()); ok {
		return key, nil
	}
	// Whoever asks first may give up, and the others still want the answer.
	detached := context.WithoutCancel(ctx)
	result := r.flights.DoChan(string(q.name[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(detached, r.timeout)
		defer cancel()
		return r.put(ctx, q)
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

// put puts a question to the service, several times if need be, and keeps the answer.
func (r *Remote) put(ctx context.Context, q question) ([]byte, error) {
	now := r.now()
	r.cache.expire(now)
	if key, ok := r.cache.get(q.name, now); ok {
		return key, nil
	}
	if err := r.circuits.admit(q.line, now); err != nil {
		return nil, err
	}
	key, err := retry(ctx, q.ask)
	if unavailable, ok := errors.AsType[*UnavailableError](err); ok {
		r.circuits.record(q.line, unavailable.Reason, r.now())
		return nil, err
	}
	r.circuits.record(q.line, "", r.now())
	if err != nil {
		return nil, err
	}
	now = r.now()
	r.cache.put(q.name, key, now, now.Add(Lifetime))
	return key, nil
}

// retry asks again, after a pause, while the server is unavailable and there is time.
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

// remembered returns a token or the like from memory, or gets one and keeps it for as long as get says.
func (r *Remote) remembered(ctx context.Context, name id, get func(context.Context) (value []byte, lifetime time.Duration, err error)) ([]byte, error) {
	if value, ok := r.cache.get(name, r.now()); ok {
		return value, nil
	}
	// The time is bounded by whoever asked first; all who wait began later, by the same bound.
	result, err, _ := r.flights.Do(string(name[:]), func() (any, error) {
		value, lifetime, err := get(ctx)
		if err != nil {
			return nil, err
		}
		now := r.now()
		// Not to the last moment: the clocks differ, and the request takes a while.
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

// client returns a client that trusts the system's certificates, or only the ones in caPEM.
func (r *Remote) client(caPEM string) *http.Client {
	name := r.name("client", caPEM)
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
		Transport: &http.Transport{
			Proxy:                  nil, // not from the environment
			DialContext:            r.dial,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: maxAnswer,
			MaxIdleConnsPerHost:    8,
			MaxConnsPerHost:        32,
			IdleConnTimeout:        time.Minute,
			ForceAttemptHTTP2:      true,
		},
		// Whoever is redirected sends the credential to where somebody else says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r.clients[name] = client
	return client
}

// answer is what a server said.
type answer struct {
	status int
	body   []byte
}

// post sends a request and reads a bounded answer. Every error is an *UnavailableError, and so are answers which say that the
// server can't answer now.
func post(client *http.Client, req *http.Request) (answer, error) {
	address := req.URL.Scheme + "://" + req.URL.Host
	req.Header.Set("User-Agent", "muster")
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, &UnavailableError{address, networkReason(req.Context(), err)}
	}
	defer resp.Body.Close() //nolint:errcheck // what is read has been read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, &UnavailableError{address, networkReason(req.Context(), err)}
	case len(body) > maxAnswer:
		return answer{}, &UnavailableError{address, fmt.Sprintf("its answer is longer than %d bytes", maxAnswer)}
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout:
		reason := fmt.Sprintf("it answers with status %d", resp.StatusCode)
		if said := vaultErrors(body); said != "" {
			reason += ": " + said
		}
		return answer{}, &UnavailableError{address, reason}
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return answer{}, &UnavailableError{address, fmt.Sprintf("it redirects (status %d), which Muster does not follow", resp.StatusCode)}
	}
	return answer{resp.StatusCode, body}, nil
}

// networkReason is why there was no answer, without the address of the request.
func networkReason(ctx context.Context, err error) string {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "it does not answer in time"
	case errors.As(err, &unknown):
		return "its certificate is of an unknown authority; for Vault, put the CA certificate into the field " + VaultCAField + " of the decryption Secret"
	default:
		return quoted(err.Error())
	}
}
