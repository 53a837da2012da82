package forge

import (
	"fmt"
	"strings"
	"time"
)

// Call is what was asked of which forge. It holds no credentials.
type Call struct {
	Provider Provider
	// Host is the API's, with its port if that isn't the usual one.
	Host string
	// Repository is the path on the forge, such as "platform/fleet".
	Repository string
	// Action is what was to be done, as an instruction, such as "read the statuses of 1a2b3c4d5e".
	Action string
}

func (c Call) String() string {
	if c.Action == "" {
		return c.Repository + " on " + c.Host
	}
	return c.Action + " in " + c.Repository + " on " + c.Host
}

// say puts the parts of a message together. Detail is the forge's own words.
func (c Call) say(problem string, status int, detail, remedy string) string {
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

// ConfigError says that a forge can't be used as it is written, or a status not be set, whatever the forge does.
type ConfigError struct {
	// Field is what is wrong, below spec.forge where it is a field of that.
	Field string
	// Problem completes "FIELD …"; Remedy is an instruction.
	Problem, Remedy string
}

func (e *ConfigError) Error() string { return e.Field + " " + e.Problem + "; " + e.Remedy }

// RateLimitedError says that the forge has been asked enough. It is also returned without a request, before Until.
type RateLimitedError struct {
	Call
	// Until is when to come back. It is at most an hour away: who then asks too early hears so again.
	Until time.Time
	// Status is the HTTP status, 0 when nothing was sent.
	Status int
	Detail string
}

func (e *RateLimitedError) Error() string {
	return e.say("the forge limits the rate of requests until "+e.Until.UTC().Format(time.RFC3339), e.Status, e.Detail, "")
}

// RefusedError says that the credentials are not accepted (401), or lack a right (403).
type RefusedError struct {
	Call
	Status int
	Detail string
	// Missing is what the credentials lack; Remedy says which right to give.
	Missing, Remedy string
}

func (e *RefusedError) Error() string { return e.say(e.Missing, e.Status, e.Detail, e.Remedy) }

// NotFoundError says that the forge does not know the repository or the commit, or does not show it to these credentials:
// forges answer both in the same way.
type NotFoundError struct {
	Call
	Status int
	Detail string
}

func (e *NotFoundError) Error() string {
	return e.say("there is no such repository or commit, or the credentials may not see it", e.Status, e.Detail,
		"check the repository's address, that the commit is pushed there, and that the credentials may read it")
}

// UnavailableError says that the forge could not be reached or failed. A status that was to be set may have been set.
type UnavailableError struct {
	Call
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Problem says what happened, in few words; Remedy is empty where waiting is all there is to do.
	Problem, Detail, Remedy string
	// RetryAfter is how long to wait: what the forge asks for, or else longer after each failure in a row.
	RetryAfter time.Duration
	// Timeout tells that there was no answer in time.
	Timeout bool
}

func (e *UnavailableError) Error() string { return e.say(e.Problem, e.Status, e.Detail, e.Remedy) }

// RejectedError says that the forge understood what it was asked and will not do it. Asking again changes nothing.
type RejectedError struct {
	Call
	Status int
	Detail string
}

func (e *RejectedError) Error() string {
	return e.say("the forge rejects this", e.Status, e.Detail, "")
}

// LimitError says that the forge takes no more of what it was given, or has more than can be read.
type LimitError struct {
	Call
	// What is counted, and Limit is how many there can be.
	What  string
	Limit int
	// Detail is the forge's words; empty where the limit is Muster's.
	Detail string
}

func (e *LimitError) Error() string {
	return e.say(fmt.Sprintf("there are more than %d %s", e.Limit, e.What), 0, e.Detail, "push another commit")
}

// RedirectedError says that the forge sends to another address, where the credentials don't follow.
type RedirectedError struct {
	Call
	// Location is that address, without credentials and query.
	Location string
}

func (e *RedirectedError) Error() string {
	return e.say("the forge redirects to "+e.Location+", and credentials don't follow", 0, "",
		"write the repository's present address, or put that of the API into spec.forge.apiURL")
}

// AnswerError says that something answers, but not as the forge's API does.
type AnswerError struct {
	Call
	// Problem completes "the answer …".
	Problem string
}

func (e *AnswerError) Error() string {
	return e.say("the answer "+e.Problem, 0, "", fmt.Sprintf(
		"check spec.forge.provider (%s) and spec.forge.apiURL, and whether a proxy or a login page stands before the forge", e.Provider))
}
