package credential_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
)

// TestThresholds: the first threshold is a third of the lifetime before the end, at most 30 days. The second is a quarter of that, at
// most 7 days.
func TestThresholds(t *testing.T) {
	year1, far := time.Time{}, time.Date(9999, 12, 31, 23, 59, 58, 0, time.UTC)
	tests := []struct {
		reason        string
		life          time.Duration // until now; 0 for unknown
		warnBefore    time.Duration
		first, second time.Duration // before the end
	}{
		{"a year", 365 * days, 0, 30 * days, 7 * days},
		{"as long as the maximum", 90 * days, 0, 30 * days, 7 * days},
		{"30 days", 30 * days, 0, 10 * days, 60 * time.Hour},
		{"a day", days, 0, 8 * time.Hour, 2 * time.Hour},
		{"an hour", time.Hour, 0, 20 * time.Minute, 5 * time.Minute},
		{"a second", time.Second, 0, 334 * time.Millisecond, 84 * time.Millisecond},
		{"unknown", 0, 0, 30 * days, 7 * days},
		{"ends before it begins", -days, 0, 30 * days, 7 * days},
		{"a year, but the cluster wants 14 days", 365 * days, 14 * days, 14 * days, 84 * time.Hour},
		{"a year, but the cluster wants 90 days", 365 * days, 90 * days, 90 * days, 7 * days},
		{"an hour, but the cluster wants 14 days", time.Hour, 14 * days, 14 * days, 84 * time.Hour},
		{"a negative wish counts as none", 365 * days, -days, 30 * days, 7 * days},
	}
	for _, test := range tests {
		term := credential.Term{Kind: credential.KindToken, Until: now}
		if test.life != 0 {
			term.From = now.Add(-test.life)
		}
		for _, step := range []struct {
			before, after credential.Stage
			at            time.Duration
		}{{credential.Lasting, credential.Expiring, test.first}, {credential.Expiring, credential.Urgent, test.second}, {credential.Urgent, credential.Expired, 0}} {
			at := now.Add(-step.at).Truncate(time.Second)
			if step.at >= time.Second { // shorter ones begin together
				if got, _ := term.Stage(at.Add(-1), test.warnBefore); got != step.before {
					t.Errorf("%s: %s before the end it is %s, want %s", test.reason, step.at+1, got, step.before)
				}
				if got := term.Next(at.Add(-1), test.warnBefore); !got.Equal(at) {
					t.Errorf("%s: the next stage after %s is at %s, want %s", test.reason, step.before, got, at)
				}
				if got, since := term.Stage(at, test.warnBefore); got != step.after || !since.Equal(at) {
					t.Errorf("%s: %s before the end it is %s since %s, want %s", test.reason, step.at, got, since, step.after)
				}
			}
		}
		if next := term.Next(now, test.warnBefore); !next.IsZero() {
			t.Errorf("%s: after the end comes %s", test.reason, next)
		}
	}
	if _, since := (credential.Term{From: now, Until: now.Add(100 * time.Second)}).Stage(now.Add(80*time.Second), 0); since.Nanosecond() != 0 {
		t.Errorf("a threshold is not in whole seconds: %s", since)
	}
	if got, _ := (credential.Term{From: year1, Until: far}).Stage(now, 0); got != credential.Lasting {
		t.Errorf("of all time: %s", got)
	}
	if got, _ := (credential.Term{From: far, Until: year1}).Stage(now, 0); got != credential.Expired {
		t.Errorf("of no time: %s", got)
	}
}

// TestExpiring: a warning tells the day, for what lives a few days also the time, and whether it is urgent. It stays the same within
// a stage.
func TestExpiring(t *testing.T) {
	claims := func(life, left time.Duration) string {
		end := now.Add(left)
		return jwt(fmt.Sprintf(`{"iat":%d,"exp":%d}`, end.Add(-life).Unix(), end.Unix()))
	}
	tests := []struct {
		reason, token, want string
		warnBefore          time.Duration
	}{
		{"a year, and 31 days are left", claims(365*days, 31*days), "", 0},
		{"a year, and 30 days are left", claims(365*days, 30*days), "the token expires on 2026-12-15", 0},
		{"a year, and a week is left", claims(365*days, 7*days), "the token expires soon, on 2026-11-22", 0},
		{"a year, and a day is left", claims(365*days, days), "the token expires soon, on 2026-11-16", 0},
		{"30 days are left, and the cluster wants 14", claims(365*days, 30*days), "", 14 * days},
		{"31 days are left, and the cluster wants 60", claims(365*days, 31*days), "the token expires on 2026-12-16", 60 * days},
		{"an hour, just issued", claims(time.Hour, time.Hour), "", 0},
		{"an hour, and 20 minutes are left", claims(time.Hour, 20*time.Minute), "the token expires on 2026-11-15 at 12:20 UTC", 0},
		{"an hour, and 5 minutes are left", claims(time.Hour, 5*time.Minute), "the token expires soon, on 2026-11-15 at 12:05 UTC", 0},
		{"an hour, over", claims(time.Hour, 0), "the token expired on 2026-11-15 at 12:00 UTC", 0},
		{"the lifetime is unknown", expiring(now.Add(20 * time.Minute)), "the token expires soon, on 2026-11-15", 0},
		{"issued after its end", claims(-time.Hour, 20*time.Minute), "the token expires soon, on 2026-11-15", 0},
		{"issued before dates", jwt(fmt.Sprintf(`{"iat":-1e30,"exp":%d}`, now.Add(29*days).Unix())), "the token expires on 2026-12-14", 0},
		{"without iat, but with nbf", jwt(fmt.Sprintf(`{"nbf":%d,"exp":%d}`, now.Add(-time.Hour).Unix(), now.Add(23*time.Hour).Unix())), "", 0},
	}
	for _, test := range tests {
		facts, problems := credential.Token([]byte(test.token), now)
		problems = append(problems, facts.Expiring(now, test.warnBefore)...)
		short(t, problems)
		var got []string
		for _, p := range problems {
			got = append(got, p.Message)
		}
		if strings.Join(got, "; ") != test.want {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
	}
}

// TestChanges: problems change at thresholds, at the end, when a credential becomes valid, and when one of several certificates
// expires.
func TestChanges(t *testing.T) {
	soon, _ := pair(t, now.Add(-days), now.Add(10*days))
	forever, _ := pair(t, now.Add(-days), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
	token := func(claims string, args ...any) credential.Facts {
		facts, _ := credential.Token([]byte(jwt(fmt.Sprintf(claims, args...))), now)
		return facts
	}
	bundle := func(text string) credential.Facts {
		facts, _ := credential.CACert([]byte(text), now)
		return facts
	}
	tests := []struct {
		reason string
		facts  credential.Facts
		want   time.Time
	}{
		{"no end", token(`{}`), time.Time{}},
		{"over", token(`{"exp":%d}`, now.Unix()), time.Time{}},
		{"the first threshold", token(`{"iat":%d,"exp":%d}`, now.Unix(), now.Add(3*time.Hour).Unix()), now.Add(2 * time.Hour)},
		{"not valid before the threshold", token(`{"nbf":%d,"exp":%d}`, now.Add(time.Hour).Unix(), now.Add(90*days).Unix()), now.Add(55 * time.Minute)},
		{"one of several certificates", bundle(soon + valid(t)), now.Add(10 * days)},
		{"a certificate without an end", bundle(forever), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
	}
	for _, test := range tests {
		if got := test.facts.Changes(now, 0); !got.Equal(test.want) {
			t.Errorf("%s: %s, want %s", test.reason, got, test.want)
		}
	}
	if facts := bundle(forever); !facts.Expires.IsZero() || len(facts.Terms) > 0 {
		t.Errorf("a certificate without an end: %+v", facts)
	}
}
