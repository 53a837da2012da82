package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/inventory"
)

const (
	// maxDropped is after how many corrections Muster gives up on a field that is dropped each time. It is more than
	// one because the first read after a correction may return an older version.
	maxDropped = 2
	// maxAtOnce is how many corrections are made without a pause. After that, the pauses grow from firstPause to
	// lastPause.
	maxAtOnce  = 3
	firstPause = 5 * time.Second
	lastPause  = 5 * time.Minute
	// quiet is how long a field must keep its value until it no longer counts as contested.
	quiet = 3 * lastPause
)

// pause is how long Muster waits before the next correction of a field.
func pause(times int) time.Duration {
	if times < maxAtOnce {
		return 0
	}
	return min(firstPause<<min(times-maxAtOnce, 16), lastPause)
}

// recent reports whether a field was corrected within the quiet period. It is false if the time is unknown.
func (p Policy) recent(c inventory.Correction) bool {
	since := p.now().Sub(c.At) // negative if a clock was wrong
	return !p.Now.IsZero() && since >= 0 && since < quiet
}

// mayDrop reports whether Muster may stop correcting a lost field. This is the complete list. Muster never gives up on
// a field that has another value, nor on a field that every operator version has: a user or another tool must have
// removed it. Every field that decides where a credential is sent, what is scanned and what runs is among those.
func mayDrop(kind string, f Field, byHand bool) bool {
	switch {
	case kind == KindAuditConfig && f.Path == "spec.containers.enable":
		return f.From == "true" && f.To == "false" // the operator turns it on for the repositories of external clusters
	case f.From != "":
		return false
	case kind == KindAuditConfig:
		return optional(strings.Split(f.Path, "."))
	case kind == KindCluster:
		return f.Path == "schedule" && !byHand
	}
	return false
}

// RetryNotKept is the interval for retrying a field that was dropped: the operator may have been upgraded.
const RetryNotKept = 24 * time.Hour

// retries reports whether it is time to apply a dropped field again.
func (p Policy) retries(c inventory.Correction) bool {
	return !p.Now.IsZero() && !c.At.IsZero() && p.Now.Sub(c.At) >= RetryNotKept
}

// correctionOf returns the correction of a field, a new one if it has none.
func correctionOf(list []inventory.Correction, path string) inventory.Correction {
	if at := slices.IndexFunc(list, func(c inventory.Correction) bool { return c.Path == path }); at >= 0 {
		return list[at]
	}
	return inventory.Correction{Path: path}
}

func sortCorrections(list []inventory.Correction) {
	slices.SortFunc(list, func(a, b inventory.Correction) int { return strings.Compare(a.Path, b.Path) })
}

// settlement decides which differing fields to correct, and when.
type settlement struct {
	wrong     []Field
	notKept   []string // the paths of the fields that Muster no longer corrects
	corrected []inventory.Correction
	until     time.Time // no correction before that; zero: at once
}

// settle decides about the fields of an object that differ although Git has not changed since it was applied. The
// caller forgets past corrections when the object changes in Git. settle forgets them when the field has kept its value
// for long enough. With byHand, someone other than Muster and the operator has written the object.
func (p Policy) settle(kind string, differ []Field, past []inventory.Correction, byHand bool) settlement {
	var s settlement
	var open []inventory.Correction // the corrections of s.wrong, updated
	seen := map[string]bool{}
	for _, f := range differ {
		seen[f.Path] = true
		c := correctionOf(past, f.Path)
		drop := mayDrop(kind, f, byHand)
		if drop && c.Dropped >= maxDropped && !p.retries(c) {
			s.notKept, s.corrected = append(s.notKept, f.Path), append(s.corrected, c)
			continue
		}
		if !drop || c.Commit != p.Revision {
			c.Dropped = 0
		}
		if !p.Now.IsZero() && !p.recent(c) {
			c.Times, c.At = 0, time.Time{}
		}
		if due := c.At.Add(pause(c.Times)); len(s.wrong) == 0 || due.Before(s.until) {
			s.until = due
		}
		s.wrong, open = append(s.wrong, f), append(open, c)
	}
	if !s.until.After(p.Now) || p.Now.IsZero() {
		s.until = time.Time{}
	}
	for i, c := range open {
		if p.CorrectDrift && s.until.IsZero() {
			if mayDrop(kind, s.wrong[i], byHand) {
				c.Dropped++
			}
			c.Commit, c.Times, c.At = p.Revision, c.Times+1, p.now()
		}
		if c.Dropped+c.Times > 0 {
			s.corrected = append(s.corrected, c)
		}
	}
	for _, c := range past {
		if !seen[c.Path] && (c.Commit == p.Revision || p.recent(c)) {
			s.corrected = append(s.corrected, c)
		}
	}
	sortCorrections(s.corrected)
	return s
}

// reasonContested is the reason of steps that wait for Step.Until.
const reasonContested Reason = "it keeps being changed"

// settled records a settlement in a step and in the notes, and reports whether the step waits.
func (n *notes) settled(step *Step, s settlement, policy Policy) (waits bool) {
	if len(s.notKept) > 0 {
		n.notKept = append(n.notKept, about(step.Kind, step.AuditConfig, step.Name, s.notKept))
	}
	if s.until.IsZero() || !policy.CorrectDrift {
		return false
	}
	step.Until, step.Reason = s.until, reasonContested
	return true
}

// about returns a step with only an object's identity and some of its fields.
func about(kind, auditConfig, name string, paths []string) Step {
	step := Step{Kind: kind, AuditConfig: auditConfig, Name: name}
	for _, path := range paths {
		step.Fields = append(step.Fields, Field{Path: path})
	}
	return step
}

// byHand reports whether a field manager other than Muster and an operator has written the list of an audit config.
// Clients choose their manager's name: that is good enough to tell a user from the operator, and protects against
// nothing.
func (f *facts) byHand(auditConfig string) bool {
	for _, author := range authorsOf(managedFieldsOf(f.live.AuditConfigs[auditConfig]), []string{listPath}) {
		if !strings.Contains(author.Manager, "operator") {
			return true
		}
	}
	return false
}

// tellNotKept reports fields that Muster no longer corrects, at the place of the first.
func (n *notes) tellNotKept(what string, place func(field []string) finding.Finding, fields []string) {
	if len(fields) == 0 {
		return
	}
	n.warn(place(strings.Split(fields[0], ".")), CodeNotKept, fmt.Sprintf("the API server or the operator doesn't keep %s of %s", some(fields), what),
		"remove it from the file, or upgrade the operator; Muster retries once a day")
}
