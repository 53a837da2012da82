package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// Token checks a bearer token that the scanner reads from a file, which the operator mounts for serviceAccountAuth.
// Its Term is from the iat claim of a JSON Web Token, or else nbf, until exp. Token also checks nbf, but no other claims and no
// signatures.
func Token(content []byte, now time.Time) (Facts, []Problem) {
	r := &report{now: now}
	if !r.text(content, "the token", CodeToken) {
		return r.facts, r.problems
	}
	trimmed := bytes.TrimSpace(content)
	if len(trimmed) != len(content) {
		// client-go trims a token file; other readers don't.
		r.warn(CodeToken, "the token starts or ends with a blank or a newline", "write token: >- or put the token on the same line")
	}
	r.token(string(trimmed), "the token")
	return r.facts, r.problems
}

// token checks a token in the form that is sent in a header.
func (r *report) token(token, what string) {
	switch {
	case strings.ContainsAny(token, " \t\r\n"):
		r.fail(CodeToken, what+" contains a blank or a newline", "use only the token, on one line, without Bearer in front")
	case strings.HasPrefix(token, "{"):
		r.fail(CodeToken, what+" is JSON, another kind of credentials", "use only the token, on one line")
	case strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }):
		r.fail(CodeToken, what+" has characters that are invalid in a token", "copy it again")
	case encodedToken(token):
		r.fail(CodeEncoded, what+" is base64 of a token", "decode it, for example with base64 -d: kubectl shows Secrets encoded")
	default:
		r.tokenTime(token, what)
	}
}

// fixExpiring is the fix for a token that expires and isn't renewed.
const fixExpiring = "issue a new one with muster rotate --token, and set spec.renew.lifetime, so that Muster renews it from then on"

func (r *report) tokenTime(token, what string) {
	c := claimsOf(token)
	r.from(c.Nbf.time, CodeTokenEarly, what)
	t := c.term(KindToken, what)
	if !t.Until.IsZero() && r.until(t) {
		r.fail(CodeTokenExpired, t.Text(Expired), "issue a new one")
	}
}

// encodedToken reports whether the text is a JSON Web Token in base64, as in the data of a Secret. Every JSON Web Token starts
// with the encoding of {".
func encodedToken(text string) bool {
	decoded, err := base64.StdEncoding.DecodeString(text)
	return err == nil && bytes.HasPrefix(decoded, []byte("eyJ")) && bytes.Count(decoded, []byte(".")) == 2
}

// claims are the times in a JSON Web Token (RFC 7519, section 4.1). Each is zero if it is missing or no valid date.
type claims struct{ Iat, Nbf, Exp numericDate }

// claimsOf returns the times in a token; none if the text is not a JSON Web Token.
func claimsOf(token string) claims {
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c
	}
	_ = json.Unmarshal(payload, &c) // claims of other types are allowed
	return c
}

// term returns the token's term. Without an end, Until is zero.
func (c claims) term(kind Kind, what string) Term {
	t := Term{Kind: kind, From: c.Iat.time, Until: c.Exp.time, what: what}
	if t.From.IsZero() {
		t.From = c.Nbf.time
	}
	return t
}

// numericDate is a claim with a time. Anything else is zero.
type numericDate struct{ time time.Time }

// UnmarshalJSON never fails, so that one odd claim doesn't hide the others.
func (d *numericDate) UnmarshalJSON(data []byte) error {
	var seconds float64
	if json.Unmarshal(data, &seconds) == nil && seconds >= 0 && seconds < forever {
		d.time = time.Unix(int64(seconds), 0)
	}
	return nil
}
