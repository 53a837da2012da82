package renew

import (
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
)

// State is what is known of one cluster's token.
type State struct {
	Seed Seed
	// Current is the last token that was granted; zero for none. Lost is why there is none any more.
	Current Token
	Lost    string
	// Off is why no token is requested; empty if one is.
	Off string
	// Failure is why the last attempt failed; nil if it didn't. Failures counts those in a row, and Since is the time of the first.
	Failure  *Failure
	Failures int
	Since    time.Time
	// rejections count how often in a row the server has rejected the current token, and the seed.
	rejected, seedRejected int
}

// distrust is how often in a row a server must reject a token until it counts as dead: a server that loses its own storage rejects
// all tokens for a while.
const distrust = 2

// current reports whether the renewed token can be used, and seeded whether the one in Git can.
func (s *State) current(now time.Time) bool { return s.Current.Alive(now) && s.rejected < distrust }
func (s *State) seeded(now time.Time) bool {
	return (s.Seed.Expires.IsZero() || now.Before(s.Seed.Expires)) && s.seedRejected < distrust
}

// Use returns the token to apply. It is the seed while there is no other, and empty if there is none at all.
func (s *State) Use(now time.Time) string {
	switch {
	case s.current(now):
		return s.Current.Value
	case s.seeded(now):
		return s.Seed.Token
	}
	return ""
}

// Attempts returns the tokens with which to request the next one, in this order. One that was rejected may be accepted later. There is
// none if all have expired.
func (s *State) Attempts(now time.Time) []string {
	var list []string
	if s.Current.Alive(now) {
		list = append(list, s.Current.Value)
	}
	if s.Seed.Expires.IsZero() || now.Before(s.Seed.Expires) {
		list = append(list, s.Seed.Token)
	}
	return list
}

// Granted records a new token.
func (s *State) Granted(t Token) {
	*s = State{Seed: s.Seed, Current: t, Off: s.Off}
}

// Attempt is a request for a token that failed, and the token with which it was made.
type Attempt struct {
	With string
	*Failure
}

// Failed records the attempts of one time. The last one's failure is shown.
func (s *State) Failed(attempts []Attempt, now time.Time) {
	for _, a := range attempts {
		count := &s.seedRejected
		if a.With == s.Current.Value {
			count = &s.rejected
		}
		if *count++; !a.Rejected {
			*count = 0
		}
		if s.Failure == nil {
			s.Since = now
		}
		s.Failure = a.Failure
	}
	s.Failures++
}

// Expire drops the current token once it has expired, and reports whether it has.
func (s *State) Expire(now time.Time) bool {
	if s.Current.Value == "" || s.Current.Alive(now) {
		return false
	}
	s.Lost = "the renewed token ended on " + moment(s.Current.Expires)
	s.Current, s.rejected = Token{}, 0
	return true
}

// Turn returns when the token in use ends; zero for never.
func (s *State) Turn(now time.Time) time.Time {
	if s.current(now) {
		return s.Current.Expires
	}
	if s.seeded(now) {
		return s.Seed.Expires
	}
	return time.Time{}
}

// Term is how long the token in use works; Until is zero if it doesn't end.
func (s *State) Term(now time.Time) credential.Term {
	t := credential.Term{Kind: credential.KindToken, Until: s.Turn(now)}
	if s.current(now) {
		t.From = s.Current.Issued
	}
	return t
}

// Retry returns how long to wait after a failure: 30 seconds, then twice as long each time, up to 15 minutes; and at most an eighth of
// the time that the token in use still has, so that the last minutes aren't slept through.
func (s *State) Retry(spread float64, now time.Time) time.Duration {
	wait := min(30*time.Second<<min(max(s.Failures-1, 0), 10), 15*time.Minute)
	if end := s.Turn(now); !end.IsZero() {
		wait = min(wait, max(end.Sub(now)/8, 10*time.Second))
	}
	return wait - time.Duration(spread*float64(wait)/5)
}

// Finding returns what a user should know, with the code and the severity; nil if all is well. An error means that there is no token.
// It doesn't change from one attempt to the next.
func (s *State) Finding(now time.Time, cluster string) *finding.Finding {
	f := &finding.Finding{Code: CodeFailing, Severity: finding.Warning, Cluster: cluster}
	switch told := s.Failures > 1 || s.Failure != nil && s.Failure.Refused; {
	case s.Use(now) == "":
		f.Code, f.Severity, f.Message, f.Fix = CodeEnded, finding.Error, s.ended(now), fixRotate
	case s.Off != "":
		f.Message, f.Fix = "the token is not renewed: "+s.Off+s.until(now), "set spec.preflight.mode to Report in the AuditSync, or remove renew"
	case told:
		f.Message, f.Fix = "the token can't be renewed since "+moment(s.Since)+": "+s.Failure.Message+s.until(now), s.Failure.Fix
	case s.Lost != "" && !s.current(now):
		f.Message, f.Fix = s.Lost+"; the token in the file is used until a new one is granted", "check that the server is reachable: muster preflight {CLUSTER}"
	default:
		return nil
	}
	f.Fix = strings.ReplaceAll(f.Fix, "{CLUSTER}", cluster)
	return f
}

// until is the end of the token in use, for a message.
func (s *State) until(now time.Time) string {
	switch {
	case s.current(now) && s.seeded(now):
		return "; it ends on " + moment(s.Current.Expires) + ", and then the token in the file is used"
	case s.current(now):
		return "; it ends on " + moment(s.Current.Expires)
	case s.Seed.Expires.IsZero():
		return "; the token in the file is used"
	}
	return "; the token in the file is used, and ends on " + moment(s.Seed.Expires)
}

// ended is the reason why there is no token.
func (s *State) ended(now time.Time) string {
	seed := "the server rejects the token in the file"
	if s.seedRejected < distrust {
		seed = "the token in the file ended on " + moment(s.Seed.Expires)
	}
	switch {
	case s.Current.Alive(now):
		return "the server rejects the renewed token, and " + seed
	case s.Lost != "":
		return s.Lost + ", and " + seed
	}
	return seed + ", and there is no renewed one"
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
