package scan

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Answer is what is said of a commit.
type Answer string

// The answers.
const (
	AnswerPending Answer = "pending"
	AnswerSuccess Answer = "success"
	AnswerFailure Answer = "failure"
)

// Verdict is the answer for one commit, with the parts of its text.
type Verdict struct {
	Answer Answer
	// Fleet says that the commit changed no cluster, and that the verdict is about all of them.
	Fleet bool
	// The clusters it is about: scanned, failed, still to be scanned, and paused; each in the order of the entries.
	Scanned, Failed, Waiting, Paused []string
	// Stuck is, of the first of those still to be scanned, why the operator has not taken its change over; empty where it has, or
	// has had no time to.
	Stuck string
	// Summary counts, such as "2 of 3 changed clusters scanned", and Cause is about the first cluster that stands in the way;
	// empty when none does.
	Summary string
	Cause   string
}

// Text joins the parts, the most telling first, so that a forge can cut it anywhere behind the first: what stands in the way,
// who else, and the count.
func (v Verdict) Text() string {
	parts := []string{v.Summary}
	if v.Cause != "" {
		parts = append(parts, v.Cause)
	}
	if len(v.Failed) > 1 {
		parts = append(parts, "failed as well: "+strings.Join(v.Failed[1:], ", "))
	}
	return strings.Join(parts, "; ")
}

// Commit answers for a commit that changed some clusters. It is a success once every one of them has had a scan that began
// after its entry was applied and ended well; a later failure is not the commit's, and neither is that nothing is left of that scan
// after somebody has removed the entry and Muster has put it back, or the operator has changed its CronJob. It is a failure as soon as one of them has
// none and can't have one without help. Clusters that the commit has removed have no status, and don't count. A commit that
// changed no cluster gets the answer for the fleet as it is.
func Commit(statuses []Status, changed func(Status) bool) Verdict {
	var v Verdict
	var first, waiting *Status
	about := slices.DeleteFunc(slices.Clone(statuses), func(s Status) bool { return !changed(s) })
	if len(about) == 0 {
		v.Fleet, about = true, statuses
	}
	for i := range about {
		s := about[i].Standing()
		switch stands(*s, v.Fleet) {
		case Succeeded:
			v.Scanned = append(v.Scanned, s.Cluster)
		case Failed:
			if v.Failed = append(v.Failed, s.Cluster); first == nil {
				first = s
			}
		case Paused:
			v.Paused = append(v.Paused, s.Cluster)
			if waiting == nil && !v.Fleet {
				waiting = s
			}
		default:
			if v.Stuck == "" && !v.Fleet && s.Stuck != "" {
				v.Stuck = s.Cluster + ": " + s.Stuck
			}
			if v.Waiting = append(v.Waiting, s.Cluster); waiting == nil || waiting.State == Paused {
				waiting = s
			}
		}
	}
	return v.decided(len(about), first, waiting)
}

// stands is one of Succeeded, Failed, Paused and Awaiting: where a cluster stands for the verdict.
func stands(s Status, fleet bool) State {
	since := s.HasScanned()
	switch s.State {
	case NotPickedUp, Overdue:
		if !fleet && since {
			return Succeeded
		}
		return Failed
	case Failed:
		switch {
		case !fleet && since:
			return Succeeded
		case fleet || !s.NotTaken && s.Began.After(s.Taken.Truncate(time.Second)):
			return Failed
		}
		return Awaiting // it failed before the commit; what comes next counts
	case Paused:
		if !fleet && since {
			return Succeeded
		}
		return Paused
	case Running, Succeeded:
		if since || fleet && !s.LastSuccess.IsZero() {
			return Succeeded
		}
	case Awaiting:
		if since {
			return Succeeded
		}
	}
	return Awaiting
}

func (v Verdict) decided(total int, failed, waiting *Status) Verdict {
	what := func(n int) string {
		if v.Fleet {
			return nouns(n)
		}
		return "changed " + nouns(n)
	}
	switch {
	case total == 0:
		v.Answer, v.Summary = AnswerSuccess, "no clusters to scan"
		return v
	case len(v.Failed) > 0:
		v.Answer, v.Summary = AnswerFailure, fmt.Sprintf("%d of %d %s not scanned", len(v.Failed), total, what(total))
		v.Cause = because(*failed)
	case len(v.Waiting) > 0 || len(v.Paused) > 0 && !v.Fleet:
		v.Answer, v.Summary = AnswerPending, fmt.Sprintf("%d of %d %s scanned", len(v.Scanned), total, what(total))
		if v.Cause = because(*waiting); v.Stuck != "" {
			v.Cause = v.Stuck
		} else if waiting.State == Failed {
			v.Cause = waiting.Cluster + ": waits for its next scan; the one before this commit has failed"
		}
	default:
		v.Answer, v.Summary = AnswerSuccess, fmt.Sprintf("%d %s scanned", len(v.Scanned), what(len(v.Scanned)))
	}
	if len(v.Paused) > 0 && v.Fleet {
		v.Summary += fmt.Sprintf(", %d paused", len(v.Paused))
	}
	return v
}

func because(s Status) string {
	text := s.Cluster + ": "
	switch {
	case s.State == Failed && s.Reason != "":
		return text + string(s.Reason) + ": " + s.Detail
	case s.Detail != "" && s.State != Succeeded && s.State != Running:
		return text + s.Detail
	}
	return text + "waits for a scan"
}

func nouns(n int) string {
	if n == 1 {
		return "cluster"
	}
	return "clusters"
}
