package keys

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// UnavailableError means that a key service could not be asked, or could not answer: a network error, a timeout, a sealed Vault,
// too many requests, a server error. It doesn't mean that the file is bad, and a later attempt may succeed.
type UnavailableError struct {
	// Address is the server, as scheme://host, without credentials.
	Address string
	// Reason never contains a credential.
	Reason string
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("get data key from %s: %s", e.Address, e.Reason)
}

// Refusal is the kind of a RefusedError.
type Refusal string

// The kinds of refusals.
const (
	// NotAllowed: the policy does not list the address or key that the file names. Nothing was contacted.
	NotAllowed Refusal = "NotAllowed"
	// NoCredentials: the policy lists the key, but there is no credential for it. Nothing was contacted.
	NoCredentials Refusal = "NoCredentials"
	// Denied: the server rejected the credential, or the credential lacks the permission for this key.
	Denied Refusal = "Denied"
	// Rejected: the server can't decrypt this ciphertext with this key. One of them is wrong, disabled or deleted.
	Rejected Refusal = "Rejected"
)

// RefusedError means that a key service does not decrypt a data key. Asking again won't help until the file, the Secret, the
// policy or the permissions change.
type RefusedError struct {
	// Recipient is the key as the file names it.
	Recipient string
	Cause     Refusal
	// Reason and Fix are messages for the user. They never contain a credential.
	Reason, Fix string
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("get data key from %s: %s", e.Recipient, e.Reason)
	if e.Fix != "" {
		text += "; " + e.Fix
	}
	return text
}

// rank orders the errors for several keys of a file by how useful they are.
func rank(err error) int {
	var refused *RefusedError
	switch {
	case errors.As(err, new(*UnavailableError)):
		return 4
	case errors.As(err, &refused) && (refused.Cause == Denied || refused.Cause == Rejected):
		return 3
	case errors.As(err, &refused):
		return 2
	case errors.Is(err, ErrNoKeyFits):
		return 1
	default:
		return 5
	}
}

// Verdict returns the error that best explains why none of the keys of a file opened it, from the errors of Ring.Decrypt. It
// prefers errors of other kinds, such as the context's. Next is an *UnavailableError, because the file may be fine, then a
// *RefusedError, first of services that were asked, then ErrNoKeyFits. The sops library drops these errors, so the caller that
// passes the ring to it must collect them.
func Verdict(errs []error) error {
	var worst error
	for _, err := range errs {
		if err != nil && (worst == nil || rank(err) > rank(worst)) {
			worst = err
		}
	}
	if worst == nil {
		return ErrNoKeyFits
	}
	return worst
}

// maxQuoted limits what is repeated of a file or of a server's response.
const maxQuoted = 200

// quoted makes foreign text safe for one line of a message.
func quoted(text string) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, " "))), " ")
	if runes := []rune(text); len(runes) > maxQuoted {
		return string(runes[:maxQuoted]) + "…"
	}
	return text
}
