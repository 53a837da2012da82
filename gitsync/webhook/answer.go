package webhook

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// outcome is the result of a delivery, as named in metrics.
type outcome string

const (
	outcomeAccepted    outcome = "accepted"     // the target was notified
	outcomeIgnored     outcome = "ignored"      // another branch, repository or event
	outcomePing        outcome = "ping"         //
	outcomeReplayed    outcome = "replayed"     // received before
	outcomeUnverified  outcome = "unverified"   // no such receiver, or the signature does not match
	outcomeCredentials outcome = "credentials"  // no signature, or an invalid one
	outcomeMalformed   outcome = "malformed"    // verified, but can't be parsed
	outcomePath        outcome = "path"         // another path or method
	outcomeTooLarge    outcome = "too_large"    //
	outcomeMediaType   outcome = "media_type"   // a form, or compressed
	outcomeTimeout     outcome = "timeout"      // the body came too slowly
	outcomeAborted     outcome = "aborted"      // the client closed the connection
	outcomeRateLimited outcome = "rate_limited" //
	outcomeBusy        outcome = "busy"         // too many deliveries, or no memory
	outcomeFailed      outcome = "failed"       // the target could not be looked up or notified
	outcomePanic       outcome = "panic"        //
)

// outcomes are all outcomes.
var outcomes = []outcome{outcomeAccepted, outcomeIgnored, outcomePing, outcomeReplayed, outcomeUnverified, outcomeCredentials, outcomeMalformed,
	outcomePath, outcomeTooLarge, outcomeMediaType, outcomeTimeout, outcomeAborted, outcomeRateLimited, outcomeBusy, outcomeFailed, outcomePanic}

// unproven reports whether nothing has shown that the sender is the forge.
func (o outcome) unproven() bool {
	switch o {
	case outcomeUnverified, outcomeCredentials, outcomePath, outcomeTooLarge, outcomeMediaType, outcomeTimeout, outcomeAborted:
		return true
	default:
		return false
	}
}

// answer is the response to a sender.
type answer struct {
	status  int
	outcome outcome
	text    string
	retry   time.Duration // after which to try again; 0 for none
	hangUp  bool          // closes the connection, so that nothing waits for the rest of the body
}

// The answer is the same for a receiver that doesn't exist and for a signature that doesn't match.
var unverified = answer{status: http.StatusUnauthorized, outcome: outcomeUnverified,
	text: "no such receiver, or the signature does not match its secret", hangUp: true}

var busy = answer{status: http.StatusServiceUnavailable, outcome: outcomeBusy, text: "too many deliveries at once; try again", retry: time.Second, hangUp: true}

func tooLargeAnswer(limit int64) answer {
	return answer{status: http.StatusRequestEntityTooLarge, outcome: outcomeTooLarge, text: fmt.Sprintf("the body has more than %d bytes", limit), hangUp: true}
}

func rateLimited(wait time.Duration) answer {
	return answer{status: http.StatusTooManyRequests, outcome: outcomeRateLimited, text: "too many deliveries; try again later", retry: max(wait, time.Second), hangUp: true}
}

func (a answer) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	if a.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.retry.Seconds()))))
	}
	if a.hangUp {
		h.Set("Connection", "close")
	}
	w.WriteHeader(a.status)
	fmt.Fprintln(w, a.text)
}
