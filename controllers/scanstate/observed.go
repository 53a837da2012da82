package scanstate

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Observed holds the live objects for the entries of one audit config, trimmed to the fields that Derive reads. A fleet of 10,000
// clusters needs a few megabytes.
type Observed struct {
	CronJobs []CronJob
	Jobs     []Job
	// Pods are those of active and failed Jobs.
	Pods []Pod
	// Written is when the operator's ConfigMaps and Secrets for entries last changed in content, by name; see IsIngredient.
	Written map[string]time.Time
}

// CronJob is the operator's CronJob for an entry.
type CronJob struct {
	Name    string
	UID     types.UID
	Cluster string
	// Schedule, TimeZone, Suspended and StartingDeadline (nil for none) are the values in the object's spec.
	Schedule         string
	TimeZone         string
	Suspended        bool
	StartingDeadline *time.Duration
	Created          time.Time
	// Changed is when anything but the status last changed; at first it equals Created.
	Changed time.Time
	// Active is the active Job in the CronJob's status; empty for none.
	Active types.UID
	// LastSchedule and LastSuccess are zero for none.
	LastSchedule, LastSuccess time.Time
}

// Outcome is the result of a Job.
type Outcome string

// The outcomes of Jobs.
const (
	Active   Outcome = ""
	Complete Outcome = "Complete"
	Broken   Outcome = "Failed"
	// Vanished: the Job was deleted before it ended, or its result is unknown. It counts neither as a success nor as a failure.
	Vanished Outcome = "Vanished"
)

// Job is one scan, created from a CronJob by its schedule, by a user or by Muster.
type Job struct {
	Name    string
	UID     types.UID
	Cluster string
	// Owner is the UID of the CronJob that owns it; empty for none.
	Owner            types.UID
	Created, Started time.Time
	Outcome          Outcome
	Finished         time.Time
	Reason, Message  string // of the outcome
	Suspended        bool
	Manual           bool          // created from the CronJob by kubectl create job --from, or in the same way
	Own              bool          // created by Muster, because the entry changed
	Gone             bool          // deleted, but remembered
	Pod              *Pod          // the last known state of the Pod, for a deleted Job
	ActiveDeadline   time.Duration // zero for none
}

// began returns when the scan began.
func (j Job) began() time.Time {
	if j.Started.IsZero() {
		return j.Created
	}
	return j.Started
}

// Pod is one attempt of a Job.
type Pod struct {
	Name    string
	Job     string
	Created time.Time
	Phase   string
	// Reason and Message are those of the Pod's status, such as Evicted.
	Reason, Message string
	// Unschedulable is why it can't be scheduled, and Disrupted why it was removed from its node.
	Unschedulable, Disrupted string
	Containers               []Container
	Mounts                   []Mount
}

// Container is one that failed or has not started.
type Container struct {
	Name string
	// Waiting is the reason why it has not started, and WaitingMessage its message.
	Waiting, WaitingMessage string
	// Ended reports whether it has terminated. While it waits, this is about its previous run.
	Ended             bool
	Code              int32
	EndReason, Output string
	MemoryLimit       string
}

// Mount is a Secret that a Pod can't start without, and the keys that the Pod needs. No keys means all keys of the Secret.
type Mount struct {
	Secret string
	Keys   []string
}
