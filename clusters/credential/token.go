package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// Token checks a bearer token that the scanner reads from a file, which the operator mounts for serviceAccountAuth.
// Facts.Expires is the exp claim of a JSON Web Token. Token also checks the nbf claim, but no other claims and no signatures.
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

func (r *report) tokenTime(token, what string) {
	from, end := tokenTimes(token)
	if from.After(r.now) {
		r.warn(CodeTokenEarly, what+" is valid from "+day(from), "check the clock of the machine that issued it")
	}
	if end.IsZero() {
		return
	}
	r.until(end)
	switch {
	case !end.After(r.now):
		r.fail(CodeTokenExpired, what+" expired on "+day(end), "issue a new one")
	case end.Before(r.now.Add(Notice)):
		r.warn(CodeTokenExpiring, what+" expires on "+day(end), "issue a new one, or a long-lived one in a Secret of type kubernetes.io/service-account-token")
	}
}

// encodedToken reports whether the text is a JSON Web Token in base64, as in the data of a Secret. Every JSON Web Token starts
// with the encoding of {".
func encodedToken(text string) bool {
	decoded, err := base64.StdEncoding.DecodeString(text)
	return err == nil && bytes.HasPrefix(decoded, []byte("eyJ")) && bytes.Count(decoded, []byte(".")) == 2
}

// latest is the last second that a date can represent. A later claim means never.
const latest = 253402300799

// tokenTimes returns the nbf and exp claims of a JSON Web Token (RFC 7519, section 4.1). Each is zero if it is missing, or if
// the text is not such a token.
func tokenTimes(token string) (from, end time.Time) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return from, end
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return from, end
	}
	var claims struct{ Nbf, Exp numericDate }
	_ = json.Unmarshal(payload, &claims) // claims of other types are allowed
	return claims.Nbf.time, claims.Exp.time
}

// numericDate is a claim with a time. Anything else is zero.
type numericDate struct{ time time.Time }

// UnmarshalJSON never fails, so that one odd claim doesn't hide the others.
func (d *numericDate) UnmarshalJSON(data []byte) error {
	var seconds float64
	if json.Unmarshal(data, &seconds) == nil && seconds >= 0 && seconds <= latest {
		d.time = time.Unix(int64(seconds), 0)
	}
	return nil
}
