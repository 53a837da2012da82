package sources

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	pure "github.com/muster-gitops/muster/clusters/sources"
)

const (
	// callTimeout bounds one request to Vault.
	callTimeout = 10 * time.Second
	// maxAnswer bounds an answer. Vault keeps at most 1 MiB in an entry, which JSON may make longer.
	maxAnswer = 2 << 20
)

// unavailableError means that a server could not be asked or could not answer. A later attempt may succeed.
type unavailableError struct{ reason string }

func (e *unavailableError) Error() string { return e.reason }

// newHTTPClient returns a client that trusts the system's certificates, or only those in caPEM. It uses no proxy of the environment.
func newHTTPClient(caPEM string) *http.Client {
	var roots *x509.CertPool
	if caPEM != "" {
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(caPEM))
	}
	return &http.Client{Timeout: callTimeout, Transport: bounded{&http.Transport{
		Proxy:                  nil,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    parallel,
		MaxConnsPerHost:        parallel,
		IdleConnTimeout:        2 * time.Minute,
		ForceAttemptHTTP2:      true,
	}}}
}

// bounded reads each answer to its end, before the client sees it. It follows no redirect: that would send the token to an address
// that the AuditSync doesn't allow.
type bounded struct{ *http.Transport }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", "muster")
	resp, err := b.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close() // what is read has been read
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxAnswer:
		return nil, &unavailableError{fmt.Sprintf("its answer is longer than %d bytes", maxAnswer)}
	}
	if reason := notNow(resp, body); reason != "" {
		return nil, &unavailableError{reason}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// notNow returns why an answer means that the server can't serve requests at the moment,
// https://developer.hashicorp.com/vault/api-docs/system/health and /api-docs#http-status-codes.
func notNow(resp *http.Response, body []byte) string {
	said := vaultErrors(body)
	status := fmt.Sprintf(" (status %d)", resp.StatusCode)
	switch code := resp.StatusCode; {
	case code == http.StatusServiceUnavailable && (said == "" || strings.Contains(strings.ToLower(said), "sealed")):
		return "it is sealed or in maintenance" + status
	case code == http.StatusTooManyRequests:
		return "it limits requests, or is a standby node" + status
	case code == 472:
		return "it is a standby node of a disaster recovery cluster" + status
	case code == 473:
		return "it is a performance standby node" + status
	case code >= 500 && strings.Contains(said, "not active"):
		return "it is a standby node that can't reach the active one" + status
	case code >= 500, code == http.StatusRequestTimeout:
		return strings.TrimSuffix("it failed"+status+": "+said, ": ")
	case code >= 300 && code < 400:
		return "it returned a redirect" + status + ", which Muster does not follow; a standby node does that: name the address of the active one, or of the load balancer"
	}
	return ""
}

// vaultErrors returns the messages in an error answer of Vault, which never repeats a token.
func vaultErrors(body []byte) string {
	var said struct {
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	return pure.Shown(strings.Join(said.Errors, ", "))
}

// networkReason returns why there was no answer, without the address of the request.
func networkReason(ctx context.Context, err error) string {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	var timeout net.Error
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "its certificate has expired, or is not valid yet" // the error has the time, which is another one each time
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && !op.Timeout() {
		return pure.Shown(fmt.Sprintf("%s: %v", op.Op, op.Err)) // without the local port, which is another one each time
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "it did not respond in time"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "its certificate is signed by an unknown authority; set caCert of the server in spec.credentialSources.vault"
	}
	return pure.Shown(err.Error())
}
