// Package scan tells what became of the scans of external clusters.
//
// The operator reports nothing about a single cluster, so the answer is derived from the objects that it and Kubernetes
// make: one CronJob for each entry of an audit config, its Jobs and their Pods. A Reader lists them by label and keeps of
// each what is needed here; Derive, a pure function, turns them into one Status for each entry; Commit turns those into
// the answer for one commit, and OnChange decides which changed clusters to scan at once. The package changes nothing and
// prints nothing.
//
// What it works around: history is one success and one failure, and a CronJob that the operator updates, which for service account
// clusters is at each of its reconciles, loses the Jobs that aren't active, so that the CronJob's status may be all there is: it
// tells successes alone; Pods go before their Jobs do; the operator stops at the first
// entry that it can't use, and says so nowhere.
package scan

import (
	"time"
)

// State is what a cluster's scans have come to.
type State string

// The states.
const (
	// NotPickedUp: the operator has made no CronJob for the entry, though it had time to.
	NotPickedUp State = "NotPickedUp"
	// Failed: the latest scan has failed, or can't start.
	Failed State = "Failed"
	// Overdue: the schedule wanted a scan, and none has begun.
	Overdue State = "Overdue"
	// Awaiting: there was no scan yet, and none is late.
	Awaiting State = "Awaiting"
	// Paused: nobody scans, because somebody has paused it.
	Paused State = "Paused"
	// Running: a scan is on its way.
	Running State = "Running"
	// Succeeded: the latest scan has succeeded.
	Succeeded State = "Succeeded"
)

// States are all states, worst first.
func States() []State {
	return []State{NotPickedUp, Failed, Overdue, Awaiting, Paused, Running, Succeeded}
}

// Reason says why a cluster is in its state, where the state alone doesn't say it.
type Reason string

// Reasons of Failed.
const (
	ReasonOutOfMemory   Reason = "OutOfMemory"   // a container ran out of memory (OOMKilled)
	ReasonImagePull     Reason = "ImagePull"     // an image can't be had
	ReasonMissingSecret Reason = "MissingSecret" // a Secret or a key of one is not there
	ReasonConfig        Reason = "ConfigError"   // a container can't be configured, for another reason
	ReasonStart         Reason = "StartError"    // a container can't be started
	ReasonNotStarting   Reason = "NotStarting"   // a Pod waits for longer than it should, and does not say for what
	ReasonUnschedulable Reason = "Unschedulable" // no node takes the Pod
	ReasonNoPod         Reason = "NoPod"         // the Job gets no Pod: admission refuses it, or a quota
	ReasonDeadline      Reason = "Deadline"      // the scan took longer than activeDeadlineSeconds allows
	ReasonEvicted       Reason = "Evicted"       // the node needed the room
	ReasonNodeLost      Reason = "NodeLost"      // the node went away, or was drained
	ReasonExitCode      Reason = "ExitCode"      // the scanner ended with an error
	ReasonUnknown       Reason = "Unknown"       // the Pod is gone, and the cause with it
	ReasonReported      Reason = "Reported"      // the Job is gone; the operator says that it failed
)

// Reasons of NotPickedUp: what probably stops the operator.
const (
	ReasonInvalidEntry Reason = "InvalidEntry" // an entry that the operator refuses
	ReasonNoSchedule   Reason = "NoSchedule"   // an entry whose CronJob would have no schedule
	ReasonVaultLogin   Reason = "VaultLogin"   // an entry that the operator has to log in to Vault for
	ReasonOperator     Reason = "Operator"     // the operator has made no CronJob at all
)

// Reasons of Awaiting, Paused and Overdue.
const (
	ReasonNoCronJob     Reason = "NoCronJob"     // the operator has not had the time to make the CronJob
	ReasonFirstScan     Reason = "FirstScan"     // the CronJob is there, and its time has not come
	ReasonJobGone       Reason = "JobGone"       // the latest scan is gone, and nothing tells how it ended
	ReasonAllPaused     Reason = "AllPaused"     // scanning is paused for the whole audit config
	ReasonSuspended     Reason = "Suspended"     // the CronJob or the Job is suspended
	ReasonNotStarted    Reason = "NotStarted"    // Kubernetes has not started the CronJob in time
	ReasonMissed        Reason = "Missed"        // the time of its startingDeadlineSeconds is over as well
	ReasonBadSchedule   Reason = "BadSchedule"   // Kubernetes can't read the CronJob's schedule
	ReasonStillStarting Reason = "StillStarting" // the scan's Pod is not running yet
)

// Status is what became of one entry.
type Status struct {
	Cluster string `json:"cluster"`
	// AuditConfig is the one that the entry is in, where Input names it.
	AuditConfig string `json:"auditConfig,omitempty"`
	State       State  `json:"state"`
	Reason      Reason `json:"reason,omitempty"`
	// Detail is the cause for people: at most a few short lines. It may hold what a workload has written, redacted by
	// Input.Redact and free of control characters.
	Detail string `json:"detail,omitempty"`
	// Since is when the state began, as far as that is known.
	Since time.Time `json:"since,omitzero"`
	// Began is the start of the scan that the state is about; zero where it is about none.
	Began time.Time `json:"began,omitzero"`
	// Duration is how long that scan took; zero while it runs and where its Job is gone.
	Duration time.Duration `json:"durationNanoseconds,omitempty"`
	// LastSuccess is when a scan last ended well, and LastSuccessBegan when it had begun; the second may be unknown.
	LastSuccess      time.Time `json:"lastSuccess,omitzero"`
	LastSuccessBegan time.Time `json:"lastSuccessBegan,omitzero"`
	// Next is when the schedule wants the next scan; for an overdue one, when it wanted it.
	Next     time.Time `json:"next,omitzero"`
	Schedule string    `json:"schedule,omitempty"`
	CronJob  string    `json:"cronJob,omitempty"`
	Job      string    `json:"job,omitempty"`
	// Culprit is the entry that probably stops the operator, for NotPickedUp. It may be the cluster itself.
	Culprit string `json:"culprit,omitempty"`
	// Taken is since when the entry's present form is in what its scans run with. NotTaken says that nothing shows that it is, and
	// Stuck, once that takes longer than it should, what probably stops the operator.
	Taken    time.Time `json:"taken,omitzero"`
	NotTaken bool      `json:"notTaken,omitempty"`
	Stuck    string    `json:"stuck,omitempty"`
	// Applied is the entry's, and Scanned too, which whoever remembers more than is left to see may set.
	Applied time.Time `json:"applied,omitzero"`
	Scanned bool      `json:"-"`
	// Before is, while a scan runs, what the cluster would be without it. Nil where nothing is known of the time before.
	Before *Status `json:"-"`
	// Until is when the status may become another though nothing happens; zero for never.
	Until time.Time `json:"-"`
}

// Standing is what counts of a cluster: while a scan runs, how the one before has ended, so that a fleet that is scanned again
// and again doesn't change its answer with each start.
func (s *Status) Standing() *Status {
	if s.State == Running && s.Before != nil && (s.Before.State == Failed || s.Before.State == Succeeded || s.Before.Reason == ReasonJobGone) {
		return s.Before
	}
	return s
}

// HasScanned reports whether a scan that ran with the entry's present form has ended well.
func (s *Status) HasScanned() bool {
	// API objects have times of whole seconds: what began in the second of the change may have begun before it.
	return s.Scanned || !s.NotTaken && s.LastSuccessBegan.After(s.Taken.Truncate(time.Second))
}

// Entry is one entry of an audit config.
type Entry struct {
	Name string
	// NoSchedule says that neither the entry nor its audit config has a schedule. The API server refuses its CronJob.
	NoSchedule bool
	// Vault says that the operator logs in to Vault for it.
	Vault bool
	// Invalid says why the operator would refuse the entry; empty for a good one.
	Invalid string
	// Applied is when the entry got its present form; zero when nobody knows, which counts as long ago.
	Applied time.Time
	// Changed is when the entry itself last changed, and not only a Secret that it names; zero for long ago. Taken is when a look
	// before this one has seen that the operator had taken that over; zero for none.
	Changed, Taken time.Time
	// Scanned says that a scan of its present form has ended well, of which nothing is left: somebody had removed the entry.
	Scanned bool
}

// Input is what Derive decides from.
type Input struct {
	// Entries are those of one audit config in its order, which is the one in which the operator works.
	Entries []Entry
	// AuditConfig is its name, for the statuses; empty where there is no more than one.
	AuditConfig string
	// Paused is the audit config's status.scanningPaused.
	Paused bool
	// Reported is what the operator says in the audit config's status.scans, by entry; see ReportedScans.
	Reported map[string]Reported
	Observed
	// Secrets are the keys of the Secrets of the namespace, by name. Nil when they aren't known; a Pod that does not start is
	// then reported with the Secrets that it mounts.
	Secrets map[string][]string
	// Redact takes secrets out of what workloads have written, before any of it is cut; nil leaves it.
	Redact func(string) string
	Bounds Bounds
	Now    time.Time
}

// Bounds are how long things may take. Zero values stand for DefaultBounds.
type Bounds struct {
	// PickUp is how long the operator has to make a CronJob for an entry.
	PickUp time.Duration
	// Start is how long a Job has to get its Pod running.
	Start time.Duration
	// Grace is how late a scan may begin. Clocks that differ are covered by it.
	Grace time.Duration
	// Settle is how long the operator has to take over an entry that has changed.
	Settle time.Duration
}

// DefaultBounds suit the operator, which works through an audit config within seconds of a change, and a scanner image of
// some hundred megabytes.
var DefaultBounds = Bounds{PickUp: 5 * time.Minute, Start: 5 * time.Minute, Grace: 10 * time.Minute, Settle: 30 * time.Second}

func (b Bounds) orDefault() Bounds {
	for _, pair := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&b.PickUp, DefaultBounds.PickUp}, {&b.Start, DefaultBounds.Start}, {&b.Grace, DefaultBounds.Grace}, {&b.Settle, DefaultBounds.Settle}} {
		if *pair.value <= 0 {
			*pair.value = pair.fallback
		}
	}
	return b
}
