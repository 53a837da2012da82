// Package scanstate derives the results of the scans of external clusters.
//
// The operator reports nothing about a single cluster. So the package reads the objects that the operator and Kubernetes create: one
// CronJob for each entry of an audit config, its Jobs and their Pods. A Reader lists them by label and keeps the fields that are
// needed here. Derive, a pure function, returns one Status for each entry. Commit turns these into the verdict for one commit, and
// OnChange decides which changed clusters to scan now. The package changes nothing and prints nothing.
//
// It works around some limits:
//   - The job history is one success and one failure.
//   - When the operator updates a CronJob, it deletes the Jobs that aren't active. For service account clusters it does so at each
//     reconcile. Then only the CronJob's status is left, which records only successes.
//   - Pods are deleted before their Jobs.
//   - The operator stops at the first entry that it can't use, and doesn't report that.
package scanstate

import (
	"time"
)

// State is the state of a cluster's scans.
type State string

// The states.
const (
	// NotPickedUp: the operator has not created a CronJob for the entry in time.
	NotPickedUp State = "NotPickedUp"
	// Failed: the latest scan failed, or can't start.
	Failed State = "Failed"
	// Overdue: a scan was scheduled but has not begun.
	Overdue State = "Overdue"
	// Awaiting: there is no scan result yet, and no scan is late.
	Awaiting State = "Awaiting"
	// Paused: scanning is paused, for this cluster or for its audit config.
	Paused State = "Paused"
	// Running: a scan is running.
	Running State = "Running"
	// Succeeded: the latest scan succeeded.
	Succeeded State = "Succeeded"
)

// States returns all states, worst first.
func States() []State {
	return []State{NotPickedUp, Failed, Overdue, Awaiting, Paused, Running, Succeeded}
}

// Reason is why a cluster is in its state. It is empty if the state needs no reason.
type Reason string

// Reasons of Failed.
const (
	ReasonOutOfMemory   Reason = "OutOfMemory"   // a container ran out of memory (OOMKilled)
	ReasonImagePull     Reason = "ImagePull"     // an image can't be pulled
	ReasonMissingSecret Reason = "MissingSecret" // a Secret or one of its keys is missing
	ReasonConfig        Reason = "ConfigError"   // a container can't be configured, for another reason
	ReasonStart         Reason = "StartError"    // a container can't be started
	ReasonNotStarting   Reason = "NotStarting"   // a Pod has not started in time, and its status doesn't show why
	ReasonUnschedulable Reason = "Unschedulable" // the Pod can't be scheduled
	ReasonNoPod         Reason = "NoPod"         // the Job gets no Pod: admission or a quota rejects it
	ReasonDeadline      Reason = "Deadline"      // the scan took longer than activeDeadlineSeconds
	ReasonEvicted       Reason = "Evicted"       // the node evicted the Pod
	ReasonNodeLost      Reason = "NodeLost"      // the node was lost or drained
	ReasonExitCode      Reason = "ExitCode"      // the scanner exited with an error
	ReasonUnknown       Reason = "Unknown"       // the cause is unknown, for example because the Pod is gone
	ReasonReported      Reason = "Reported"      // the Job is gone; the operator reports that it failed
)

// Reasons of NotPickedUp: what probably stops the operator.
const (
	ReasonInvalidEntry Reason = "InvalidEntry" // the operator rejects an entry
	ReasonNoSchedule   Reason = "NoSchedule"   // an entry has no schedule for its CronJob
	ReasonVaultLogin   Reason = "VaultLogin"   // the operator has to log in to Vault for an entry
	ReasonOperator     Reason = "Operator"     // the operator has created no CronJob at all
)

// Reasons of Awaiting, Paused and Overdue.
const (
	ReasonNoCronJob     Reason = "NoCronJob"     // the operator has not created the CronJob yet
	ReasonFirstScan     Reason = "FirstScan"     // the CronJob exists, and its first scan is not due yet
	ReasonJobGone       Reason = "JobGone"       // the Job of the latest scan is gone, and its result is unknown
	ReasonAllPaused     Reason = "AllPaused"     // scanning is paused for the whole audit config
	ReasonSuspended     Reason = "Suspended"     // the CronJob or the Job is suspended
	ReasonNotStarted    Reason = "NotStarted"    // Kubernetes has not started the CronJob in time
	ReasonMissed        Reason = "Missed"        // the CronJob's startingDeadlineSeconds have passed as well
	ReasonBadSchedule   Reason = "BadSchedule"   // Kubernetes can't parse the CronJob's schedule
	ReasonStillStarting Reason = "StillStarting" // the scan's Pod is not running yet
)

// Status is the scan status of one entry.
type Status struct {
	Cluster string `json:"cluster"`
	// AuditConfig is the entry's audit config, if Input names it.
	AuditConfig string `json:"auditConfig,omitempty"`
	State       State  `json:"state"`
	Reason      Reason `json:"reason,omitempty"`
	// Detail is the cause in plain text, a few short lines at most. It may quote a workload's output, redacted by Input.Redact and
	// without control characters.
	Detail string `json:"detail,omitempty"`
	// Since is when the state began, as far as known.
	Since time.Time `json:"since,omitzero"`
	// Began is the start of the scan that the state is about; zero if there is none.
	Began time.Time `json:"began,omitzero"`
	// Duration is how long that scan took; zero while it runs and if its Job is gone.
	Duration time.Duration `json:"durationNanoseconds,omitempty"`
	// LastSuccess is when the last successful scan ended, and LastSuccessBegan when it began, if known.
	LastSuccess      time.Time `json:"lastSuccess,omitzero"`
	LastSuccessBegan time.Time `json:"lastSuccessBegan,omitzero"`
	// Next is when the next scan is due. For an overdue scan, it is when that was due.
	Next     time.Time `json:"next,omitzero"`
	Schedule string    `json:"schedule,omitempty"`
	CronJob  string    `json:"cronJob,omitempty"`
	Job      string    `json:"job,omitempty"`
	// Culprit is the entry that probably stops the operator, for NotPickedUp. It may be this entry.
	Culprit string `json:"culprit,omitempty"`
	// Taken is since when scans use the current entry. NotTaken is true if no live object shows that they do. Stuck is what probably
	// stops the operator, once it has had enough time.
	Taken    time.Time `json:"taken,omitzero"`
	NotTaken bool      `json:"notTaken,omitempty"`
	Stuck    string    `json:"stuck,omitempty"`
	// Applied and Scanned are copied from the Entry. A caller may set Scanned if it remembers a scan whose objects are gone.
	Applied time.Time `json:"applied,omitzero"`
	Scanned bool      `json:"-"`
	// Before is the status without the running scan. Nil if no scan is running.
	Before *Status `json:"-"`
	// Until is when the status may change even if nothing happens; zero for never.
	Until time.Time `json:"-"`
}

// Standing returns the status that counts. While a scan runs, that is the result of the previous scan, so that the verdict on a fleet
// doesn't change each time a scan starts.
func (s *Status) Standing() *Status {
	if s.State == Running && s.Before != nil && (s.Before.State == Failed || s.Before.State == Succeeded || s.Before.Reason == ReasonJobGone) {
		return s.Before
	}
	return s
}

// HasScanned reports whether a scan of the current entry has succeeded.
func (s *Status) HasScanned() bool {
	// Times in API objects are whole seconds: a scan that began in the same second as the change may have begun before it.
	return s.Scanned || !s.NotTaken && s.LastSuccessBegan.After(s.Taken.Truncate(time.Second))
}

// Entry is one entry of an audit config.
type Entry struct {
	Name string
	// NoSchedule is true if neither the entry nor its audit config has a schedule. The API server rejects such a CronJob.
	NoSchedule bool
	// Vault is true if the operator logs in to Vault for the entry.
	Vault bool
	// Invalid is why the operator would reject the entry; empty for a valid entry.
	Invalid string
	// Applied is when the entry or a Secret that it names was last changed; zero if unknown, which counts as long ago.
	Applied time.Time
	// Changed is when the entry itself last changed, not only a Secret that it names; zero for long ago. Taken is when the operator
	// had picked up that change, if an earlier run saw it; otherwise zero.
	Changed, Taken time.Time
	// Scanned is true if a scan of the current entry succeeded but its objects are gone, because a user removed the entry.
	Scanned bool
}

// Input is what Derive decides from.
type Input struct {
	// Entries are those of one audit config, in its order. The operator works in this order.
	Entries []Entry
	// AuditConfig is its name, for the statuses; empty if there is only one.
	AuditConfig string
	// Paused is the audit config's status.scanningPaused.
	Paused bool
	// Reported is the audit config's status.scans, by entry; see ReportedScans.
	Reported map[string]Reported
	Observed
	// Secrets are the keys of the Secrets in the namespace, by name. If nil (unknown), the status of a Pod that does not start lists
	// the Secrets that it mounts.
	Secrets map[string][]string
	// Redact removes secrets from the output of workloads, before it is cut; nil redacts nothing.
	Redact func(string) string
	Bounds Bounds
	Now    time.Time
}

// Bounds are how long things may take. Zero values mean DefaultBounds.
type Bounds struct {
	// PickUp is how long the operator has to create a CronJob for an entry.
	PickUp time.Duration
	// Start is how long a Job has to get its Pod running.
	Start time.Duration
	// Grace is how late a scan may begin. It also covers clock skew.
	Grace time.Duration
	// Settle is how long the operator has to pick up a changed entry.
	Settle time.Duration
}

// DefaultBounds suit the operator, which reconciles an audit config within seconds of a change, and a scanner image of a few
// hundred megabytes.
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
