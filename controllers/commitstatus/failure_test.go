package commitstatus

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// TestFailures has each failure ten times in a row: the wait grows as far as it may, and what only a user can fix waits for a change.
func TestFailures(t *testing.T) {
	now := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		err         error
		reason      string
		first, last time.Duration
	}{
		{&forge.RateLimitedError{Until: now.Add(20 * time.Minute)}, "RateLimited", 20 * time.Minute, 20 * time.Minute},
		{&forge.RateLimitedError{Until: now.Add(-time.Minute)}, "RateLimited", time.Second, time.Second},
		{&forge.UnavailableError{RetryAfter: 5 * time.Minute}, "Unreachable", 5 * time.Minute, 5 * time.Minute},
		{&forge.UnavailableError{}, "Unreachable", time.Second, time.Second},
		{&forge.RefusedError{}, "TokenRefused", time.Minute, 30 * time.Minute},
		{&forge.NotFoundError{}, "RepositoryNotFound", 5 * time.Second, 5 * time.Minute},
		{&secretMissingError{"fleet-forge", "mondoo"}, "SecretMissing", 0, 0},
		{&forge.ConfigError{}, "ForgeInvalid", 0, 0},
		{&gitsync.SecretError{}, "ForgeInvalid", 0, 0},
		{&noWayError{"another server"}, "ForgeInvalid", 0, 0},
		{&forge.RedirectedError{}, "UnexpectedAnswer", time.Minute, 30 * time.Minute},
		{&forge.AnswerError{}, "UnexpectedAnswer", time.Minute, 30 * time.Minute},
		{&forge.RejectedError{}, "Rejected", time.Minute, 30 * time.Minute},
		{&forge.LimitError{}, "Rejected", time.Minute, 30 * time.Minute},
		{errors.New("the API server is down"), "ReportFailed", time.Second, time.Minute},
	} {
		var b backoff
		err := fmt.Errorf("post: %w", tt.err)
		reason, wait := b.failed(err, now)
		if reason != tt.reason || wait != tt.first || !b.notBefore.Equal(now.Add(wait)) {
			t.Errorf("%T: %s, %s, not before %s", tt.err, reason, wait, b.notBefore)
		}
		for range 9 {
			reason, wait = b.failed(err, now)
		}
		if reason != tt.reason || wait != tt.last {
			t.Errorf("%T for the tenth time: %s, %s", tt.err, reason, wait)
		}
	}
}

func TestCredentialsAreRedacted(t *testing.T) {
	redactor := &redact.Redactor{}
	redactCredentials(redactor, &corev1.Secret{Data: map[string][]byte{"token": []byte(token), "username": []byte("the-robot-account")}})
	if got, want := redactor.String("the-robot-account sent "+token), "the-robot-account sent "+redactor.String(token); got != want || redactor.String(token) == token {
		t.Errorf("%q", got)
	}
}
