package gitsync

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// fail turns any error from the network into a *RemoteError. Errors that aren't the remote's fault pass unchanged.
func (r *remote) fail(ctx context.Context, err error) error {
	var remoteErr *RemoteError
	var limitErr *LimitError
	switch {
	case errors.As(err, &limitErr):
		return limitErr
	case errors.As(err, &remoteErr):
		if remoteErr.URL != "" {
			return remoteErr
		}
	case errors.Is(context.Cause(ctx), context.Canceled):
		return context.Canceled
	case ctx.Err() != nil || isTimeout(err):
		remoteErr = &RemoteError{Reason: TimedOut, Err: err}
	default:
		remoteErr = classify(err)
		remoteErr.Err = err
	}
	if remoteErr.Reason == Unreachable || remoteErr.Reason == Protocol {
		if message := r.serverMessage(); message != "" {
			classified := classifyWords(message)
			remoteErr.Reason, remoteErr.Detail = classified.Reason, classified.Detail
		}
	}
	remoteErr.URL, remoteErr.Anonymous = r.url, r.auth.anonymous()
	remoteErr.Detail = tidy(r.auth.mask(remoteErr.Detail))
	remoteErr.Location = tidy(r.auth.mask(remoteErr.Location))
	return remoteErr
}

func (r *remote) serverMessage() string {
	if r.wire == nil {
		return ""
	}
	return r.wire.serverMessage()
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &netErr) && netErr.Timeout()
}

// classify finds the reason in the error's type or, where Git has no type, in its message.
func classify(err error) *RemoteError {
	var (
		line     *pktline.ErrorLine
		dns      *net.DNSError
		op       *net.OpError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		alert    tls.AlertError
		urlErr   *url.Error
	)
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		return &RemoteError{Reason: Empty}
	case errors.As(err, &line):
		return classifyWords(line.Text)
	case errors.As(err, &dns):
		return &RemoteError{Reason: Unreachable, Detail: dns.Error()}
	case errors.As(err, &unknown):
		return &RemoteError{Reason: Untrusted, Detail: innermost(err)}
	case errors.As(err, &hostname), errors.As(err, &invalid), errors.As(err, &verify), errors.As(err, &alert):
		return &RemoteError{Reason: TLSFailed, Detail: innermost(err)}
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return &RemoteError{Reason: NoTLS}
	case errors.As(err, &op), errors.As(err, &urlErr), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return &RemoteError{Reason: Unreachable, Detail: innermost(err)}
	default:
		if text, ok := strings.CutPrefix(err.Error(), "unexpected error: "); ok {
			return classifyWords(text) // the side band's error channel
		}
		return &RemoteError{Reason: Protocol, Detail: err.Error()}
	}
}

// classifyWords reads the "ERR" line of a Git server.
func classifyWords(text string) *RemoteError {
	lower := strings.ToLower(text)
	switch {
	case saysNotFound(text):
		return &RemoteError{Reason: NotFound, Detail: text}
	case strings.Contains(lower, "not our ref"), strings.Contains(lower, "unadvertised object"):
		return &RemoteError{Reason: Refused, Detail: text}
	default:
		return &RemoteError{Reason: ServerFailed, Detail: text}
	}
}

// saysNotFound recognizes the messages of common forges over SSH, where there is no status code.
func saysNotFound(text string) bool {
	lower := strings.ToLower(text)
	for _, phrase := range []string{
		"repository not found", "does not appear to be a git repository", "not a git repository", "no such repository",
		"repository does not exist", "project you were looking for could not be found", "cannot find repository", "access denied",
	} {
		if strings.Contains(lower, phrase) {
			return true
		}
	}
	return false
}

// innermost drops the layers that only repeat the URL and the address.
func innermost(err error) string {
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err
	}
	return err.Error()
}
