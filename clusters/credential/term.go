package credential

import (
	"cmp"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Kind is what kind of credential a Term is about. Kinds are values of labels and of JSON, so they are a contract with users.
type Kind string

// The kinds.
const (
	KindToken             Kind = "token"
	KindClientCertificate Kind = "client-certificate"
	KindCACertificate     Kind = "ca-certificate"
	KindRegistryLogin     Kind = "registry-login"
)

// Term is how long one part of a credential works.
type Term struct {
	Kind Kind
	// From is when it was issued; zero if unknown. Until is when it ends.
	From, Until time.Time
	// what is its name in messages.
	what string
}

// Compare orders terms by their end, and then by kind.
func (t Term) Compare(other Term) int {
	return cmp.Or(t.Until.Compare(other.Until), cmp.Compare(t.Kind, other.Kind))
}

// Notice is the maximum time before its end from which a credential is reported as expiring, unless a cluster sets another.
const Notice = 30 * 24 * time.Hour

// lastCall is the maximum time before its end from which a credential's end is urgent.
const lastCall = 7 * 24 * time.Hour

// Stage is how near the end of a Term is.
type Stage int

// The stages, in their order.
const (
	Lasting  Stage = iota
	Expiring       // from the first threshold
	Urgent         // from the second threshold
	Expired
)

func (s Stage) String() string { return [...]string{"lasting", "expiring", "urgent", "expired"}[s] }

// thresholds are the beginnings of the stages after Lasting. The first is a third of the lifetime before the end, at most Notice; without
// a known lifetime, it is Notice. warnBefore replaces it, unless it is zero. The second is a quarter of that, at most lastCall. All
// are in whole seconds.
func (t Term) thresholds(warnBefore time.Duration) [3]time.Time {
	notice := warnBefore
	if notice <= 0 {
		if notice = Notice; t.lifetime() > 0 {
			notice = min(t.lifetime()/3, Notice)
		}
	}
	at := func(before time.Duration) time.Time { return t.Until.Add(-before).Truncate(time.Second) }
	return [3]time.Time{at(notice), at(min(notice/4, lastCall)), at(0)}
}

// lifetime is zero if it is unknown, which includes one that ends before it begins.
func (t Term) lifetime() time.Duration {
	if t.From.IsZero() {
		return 0
	}
	return max(t.Until.Sub(t.From), 0)
}

// Stage returns the stage at a time, and since when it is in it. since is zero for Lasting.
func (t Term) Stage(now time.Time, warnBefore time.Duration) (stage Stage, since time.Time) {
	for i, at := range t.thresholds(warnBefore) {
		if at.After(now) {
			break
		}
		stage, since = Stage(i+1), at
	}
	return stage, since
}

// Next returns when the next stage begins; zero after the last.
func (t Term) Next(now time.Time, warnBefore time.Duration) time.Time {
	for _, at := range t.thresholds(warnBefore) {
		if at.After(now) {
			return at
		}
	}
	return time.Time{}
}

// Text tells what ends and when, at a stage other than Lasting. It doesn't depend on the current time.
func (t Term) Text(stage Stage) string {
	return t.what + [...]string{"", " expires on ", " expires soon, on ", " expired on "}[stage] + t.end()
}

// end formats the end: as a day, or with the time of day for what lives only a few days.
func (t Term) end() string {
	if life := t.lifetime(); life > 0 && life < 3*24*time.Hour {
		return t.Until.UTC().Format("2006-01-02 at 15:04 UTC")
	}
	return day(t.Until)
}

// Code is the code of a finding about the term at a stage; empty for Lasting.
func (t Term) Code(stage Stage) finding.Code {
	expiring, expired := CodeCertificateExpiring, CodeCertificateExpired
	switch t.Kind {
	case KindToken:
		expiring, expired = CodeTokenExpiring, CodeTokenExpired
	case KindRegistryLogin:
		expiring, expired = CodeRegistryLoginExpiring, CodeRegistryLoginExpired
	}
	switch stage {
	case Lasting:
		return ""
	case Expired:
		return expired
	}
	return expiring
}

// Expiring returns the problems of terms that are Expiring or Urgent. The functions that check a credential report those that have
// expired.
func (f Facts) Expiring(now time.Time, warnBefore time.Duration) []Problem {
	var problems []Problem
	for _, t := range f.Terms {
		stage, _ := t.Stage(now, warnBefore)
		if stage != Expiring && stage != Urgent {
			continue
		}
		fix := "replace it before then"
		if t.Kind == KindToken {
			fix = fixExpiring
		}
		problems = append(problems, Problem{Code: t.Code(Expiring), Severity: finding.Warning, Message: t.Text(stage), Fix: fix})
	}
	return problems
}

// Changes returns the next time at which the problems of the credential change by themselves; zero for never.
func (f Facts) Changes(now time.Time, warnBefore time.Duration) time.Time {
	var next time.Time
	sooner := func(at time.Time) {
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, t := range f.Terms {
		sooner(t.Next(now, warnBefore))
	}
	for _, at := range f.turns {
		sooner(at)
	}
	return next
}
