package scanstate

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Answer is the state of a commit's scans, as a forge shows it.
type Answer string

// The answers.
const (
	AnswerPending Answer = "pending"
	AnswerSuccess Answer = "success"
	AnswerFailure Answer = "failure"
)

// Verdict is the answer for one commit and the parts of its text.
type Verdict struct {
	Answer Answer
	// Fleet is true if the commit changed no cluster. The verdict then covers all clusters.
	Fleet bool
	// The clusters that it covers, each list in the order of the entries. Waiting ones have not been scanned yet.
	Scanned, Failed, Waiting, Paused []string
	// Stuck names the first waiting cluster whose change the operator has not picked up, and the reason. Empty if there is none,
	// or the operator has not had enough time.
	Stuck string
	// Summary is a count, such as "2 of 3 changed clusters scanned". Cause is about the first cluster that failed or waits, and
	// may be empty.
	Summary string
	Cause   string
}

// Text joins the parts, the most important first, because a forge cuts long texts: the count, the cause, the other failures.
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

// Commit returns the verdict for a commit that changed some clusters.
//
// It is a success once each of them has had a successful scan that began after its entry was applied. The commit keeps its success
// if a later scan fails. It also keeps it if the record of the scan is lost, because a user removed the entry and Muster restored
// it, or because the operator changed its CronJob. It is a failure as soon as one of the clusters has no such scan and won't get
// one without help. Clusters that the commit removed have no status, and don't count. A commit that changed no cluster gets the
// verdict for the whole fleet as it is.
func Commit(statuses []Status, changed func(Status) bool) Verdict {
	var v Verdict
	var first, waiting *Status
	about := slices.DeleteFunc(slices.Clone(statuses), func(s Status) bool { return !changed(s) })
	if len(about) == 0 {
		v.Fleet, about = true, statuses
	}
	for i := range about {
		s := about[i].Standing()
		switch commitState(*s, v.Fleet) {
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

// commitState returns the state that a cluster contributes to the verdict: Succeeded, Failed, Paused or Awaiting.
func commitState(s Status, fleet bool) State {
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
		return Awaiting // it failed before the commit; the next scan counts
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
	noun := func(n int) string {
		if v.Fleet {
			return clusterNoun(n)
		}
		return "changed " + clusterNoun(n)
	}
	switch {
	case total == 0:
		v.Answer, v.Summary = AnswerSuccess, "no clusters to scan"
		return v
	case len(v.Failed) > 0:
		v.Answer, v.Summary = AnswerFailure, fmt.Sprintf("%d of %d %s not scanned", len(v.Failed), total, noun(total))
		v.Cause = causeText(*failed)
	case len(v.Waiting) > 0 || len(v.Paused) > 0 && !v.Fleet:
		v.Answer, v.Summary = AnswerPending, fmt.Sprintf("%d of %d %s scanned", len(v.Scanned), total, noun(total))
		if v.Cause = causeText(*waiting); v.Stuck != "" {
			v.Cause = v.Stuck
		} else if waiting.State == Failed {
			v.Cause = waiting.Cluster + ": waits for its next scan; the last one before this commit failed"
		}
	default:
		v.Answer, v.Summary = AnswerSuccess, fmt.Sprintf("%d %s scanned", len(v.Scanned), noun(len(v.Scanned)))
	}
	if len(v.Paused) > 0 && v.Fleet {
		v.Summary += fmt.Sprintf(", %d paused", len(v.Paused))
	}
	return v
}

func causeText(s Status) string {
	text := s.Cluster + ": "
	switch {
	case s.State == Failed && s.Reason != "":
		return text + string(s.Reason) + ": " + s.Detail
	case s.Detail != "" && s.State != Succeeded && s.State != Running:
		return text + s.Detail
	}
	return text + "waits for a scan"
}

func clusterNoun(n int) string {
	if n == 1 {
		return "cluster"
	}
	return "clusters"
}
