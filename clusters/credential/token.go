package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// Token checks a bearer token that the scanner reads from a file, as the operator mounts it for serviceAccountAuth.
// Facts.Expires is the exp claim of a JSON Web Token; signatures and other claims are not looked at.
func Token(content []byte, now time.Time) (Facts, []Problem) {
	r := &report{now: now}
	if !r.text(content, "the token", CodeToken) {
		return r.facts, r.problems
	}
	trimmed := bytes.TrimSpace(content)
	if len(trimmed) != len(content) {
		// client-go trims what it reads from a token file; other readers don't.
		r.warn(CodeToken, "the token begins or ends with a blank or a line end", "write token: >- or put the token on the same line")
	}
	r.token(string(trimmed), "the token")
	return r.facts, r.problems
}

// token checks a token as it is sent in a header.
func (r *report) token(token, what string) {
	switch {
	case strings.ContainsAny(token, " \t\r\n"):
		r.fail(CodeToken, what+" has a blank or a line end in it", "give the token alone, in one line, without Bearer before it")
	case strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }):
		r.fail(CodeToken, what+" has characters that no token has", "copy it again")
	case encodedToken(token):
		r.fail(CodeEncoded, what+" is base64 of a token", "decode it, as with base64 -d: kubectl shows Secrets encoded")
	default:
		r.tokenTime(token, what)
	}
}

func (r *report) tokenTime(token, what string) {
	end, ok := tokenEnd(token)
	if !ok {
		return
	}
	r.until(end)
	switch {
	case !end.After(r.now):
		r.fail(CodeTokenExpired, what+" expired on "+day(end), "make a new one")
	case end.Before(r.now.Add(Notice)):
		r.warn(CodeTokenExpiring, what+" expires on "+day(end), "make a new one, or a long-lived one in a Secret of type kubernetes.io/service-account-token")
	}
}

// encodedToken tells whether the text is a JSON Web Token in base64, as it stands in the data of a Secret. Every JSON Web
// Token begins with the encoding of {".
func encodedToken(text string) bool {
	decoded, err := base64.StdEncoding.DecodeString(text)
	return err == nil && bytes.HasPrefix(decoded, []byte("eyJ")) && bytes.Count(decoded, []byte(".")) == 2
}

// latest is the end of what a date can say; a claim beyond it means never.
const latest = 253402300799

// tokenEnd reads the exp claim of a JSON Web Token (RFC 7519, section 4.1.4).
func tokenEnd(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Expires *float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expires == nil || *claims.Expires < 0 || *claims.Expires > latest {
		return time.Time{}, false
	}
	return time.Unix(int64(*claims.Expires), 0), true
}
