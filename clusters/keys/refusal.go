package keys

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// UnavailableError says that a key service could not be asked, or could not answer, for now: the network, a time-out, a sealed
// Vault, too many requests, a fault of the server. Nothing is known about the file; asking again later may help.
type UnavailableError struct {
	// Address is the server, as scheme://host, without credentials.
	Address string
	// Reason never holds a credential.
	Reason string
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("ask %s for a data key: %s", e.Address, e.Reason)
}

// Refusal is why a key service can't be used for a file.
type Refusal string

// The refusals.
const (
	// NotAllowed: the policy does not name the address or key that the file names. Nothing was contacted.
	NotAllowed Refusal = "NotAllowed"
	// NoCredentials: the policy names it, and there is no credential for it. Nothing was contacted.
	NoCredentials Refusal = "NoCredentials"
	// Denied: the server does not take the credential, or the credential has no right to this key.
	Denied Refusal = "Denied"
	// Rejected: the server can't decrypt this ciphertext with this key: one of them is wrong, disabled or deleted.
	Rejected Refusal = "Rejected"
)

// RefusedError says that a key service does not open a data key, and that asking again changes nothing until somebody changes
// the file, the Secret, the policy or the rights.
type RefusedError struct {
	// Recipient is the key as the file names it.
	Recipient string
	Cause     Refusal
	// Reason and Fix are for people. They never hold a credential.
	Reason, Fix string
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("ask for the data key of %s: %s", e.Recipient, e.Reason)
	if e.Fix != "" {
		text += "; " + e.Fix
	}
	return text
}

// gravity orders what several keys of one file answered, by what is most worth knowing.
func gravity(err error) int {
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

// Verdict sums up why none of the keys of a file opened it, out of the errors of Ring.Decrypt: an *UnavailableError, since
// then the file may be fine; else a *RefusedError, of a service that was asked before one that was not; else ErrNoKeyFits. An
// error of another kind, such as the context's, goes before all. The sops library keeps none of them: whoever hands the ring
// to it has to collect them.
func Verdict(errs []error) error {
	var worst error
	for _, err := range errs {
		if err != nil && (worst == nil || gravity(err) > gravity(worst)) {
			worst = err
		}
	}
	if worst == nil {
		return ErrNoKeyFits
	}
	return worst
}

// maxQuoted bounds what is repeated of a file or of a server's answer.
const maxQuoted = 200

// quoted makes text that others wrote fit for one line of a message.
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
