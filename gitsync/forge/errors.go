package forge

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Call is a request to a forge. It contains no credentials.
type Call struct {
	Provider Provider
	// Host is the API's, with its port if that isn't the default.
	Host string
	// Repository is the path on the forge, such as "platform/fleet".
	Repository string
	// Action is the purpose of the request, as an instruction, such as "read the statuses of 1a2b3c4d5e".
	Action string
}

func (c Call) String() string {
	if c.Action == "" {
		return c.Repository + " on " + c.Host
	}
	return c.Action + " in " + c.Repository + " on " + c.Host
}

// message builds a message. Detail is the forge's message.
func (c Call) message(problem string, status int, detail, remedy string) string {
	msg := c.String() + ": " + problem
	if status != 0 {
		msg += fmt.Sprintf(" (HTTP %d)", status)
	}
	if detail != "" {
		msg += ": " + strings.TrimRight(detail, ".")
	}
	if remedy != "" {
		msg += "; " + remedy
	}
	return msg
}

// ConfigError reports that the configuration of a forge, a status or a comment is invalid, whatever the forge does.
type ConfigError struct {
	// Field is the invalid field, below spec.forge if it is one of its fields.
	Field string
	// Problem completes "FIELD …"; Remedy is an instruction.
	Problem, Remedy string
}

func (e *ConfigError) Error() string { return e.Field + " " + e.Problem + "; " + e.Remedy }

// RateLimitedError reports that the forge's rate limit is exhausted. It is also returned without a request, before Until.
type RateLimitedError struct {
	Call
	// Until is when to try again. It is at most an hour away: a caller that comes too early gets another RateLimitedError.
	Until time.Time
	// Status is the HTTP status, or 0 if nothing was sent.
	Status int
	Detail string
}

func (e *RateLimitedError) Error() string {
	return e.message("the forge's rate limit is exhausted until "+e.Until.UTC().Format(time.RFC3339), e.Status, e.Detail, "")
}

// RefusedError reports that the credentials are rejected (401), or lack a permission (403).
type RefusedError struct {
	Call
	Status int
	Detail string
	// Missing is what the credentials lack. Remedy tells which permission to grant.
	Missing, Remedy string
}

func (e *RefusedError) Error() string { return e.message(e.Missing, e.Status, e.Detail, e.Remedy) }

// NotFoundError reports that the forge does not know the repository or the commit, or does not show it to these credentials:
// forges answer both in the same way.
type NotFoundError struct {
	Call
	Status int
	Detail string
	// What the request is about: "pull request", "comment" or "user". Empty means a commit.
	What string
}

func (e *NotFoundError) Error() string {
	remedy := "check the repository's address, that the commit is pushed there, and that the credentials have read access"
	if e.What != "" {
		remedy = "check the repository's address, and that the credentials have read access"
	}
	return e.message("the repository or "+cmp.Or(e.What, "commit")+" does not exist, or the credentials have no access to it", e.Status, e.Detail, remedy)
}

// UnavailableError reports that the forge could not be reached or failed. A requested status may have been set
// anyway, and a comment written.
type UnavailableError struct {
	Call
	// Status is the HTTP status, or 0 if there was no answer.
	Status int
	// Problem is a short description. Remedy is empty if waiting is the only remedy.
	Problem, Detail, Remedy string
	// RetryAfter is how long to wait: as long as the forge asks, or longer after each consecutive failure.
	RetryAfter time.Duration
	// Timeout reports that there was no answer in time.
	Timeout bool
}

func (e *UnavailableError) Error() string { return e.message(e.Problem, e.Status, e.Detail, e.Remedy) }

// RejectedError reports that the forge understood the request and rejected it. Repeating it changes nothing.
type RejectedError struct {
	Call
	Status int
	Detail string
}

func (e *RejectedError) Error() string {
	return e.message("the forge rejected the request", e.Status, e.Detail, "")
}

// LimitError reports that a limit of the forge is exhausted, or that the forge has more than can be read.
type LimitError struct {
	Call
	// What is counted, and Limit is the maximum.
	What  string
	Limit int
	// Detail is the forge's message. It is empty if the limit is Muster's.
	Detail string
	// Remedy is an instruction. Empty means to push another commit, which has no statuses yet.
	Remedy string
}

func (e *LimitError) Error() string {
	return e.message(fmt.Sprintf("there are more than %d %s", e.Limit, e.What), 0, e.Detail, cmp.Or(e.Remedy, "push another commit"))
}

// RedirectedError reports that the forge redirects to another address, which gets no credentials.
type RedirectedError struct {
	Call
	// Location is that address, without credentials and query.
	Location string
}

func (e *RedirectedError) Error() string {
	return e.message("the forge redirects to "+e.Location+", and Muster does not follow", 0, "",
		"use the repository's present address, or set spec.forge.apiURL to the address of the API")
}

// AnswerError reports an answer that isn't one of the forge's API.
type AnswerError struct {
	Call
	// Problem completes "the answer …".
	Problem string
}

func (e *AnswerError) Error() string {
	return e.message("the answer "+e.Problem, 0, "", fmt.Sprintf(
		"check spec.forge.provider (%s) and spec.forge.apiURL, and whether a proxy or a login page answers instead of the forge", e.Provider))
}
