package scan

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Observed is what Kubernetes has for the entries of one audit config, cut down to what Derive looks at: a fleet of 10,000
// clusters takes a few megabytes.
type Observed struct {
	CronJobs []CronJob
	Jobs     []Job
	// Pods are those of Jobs that run or have failed.
	Pods []Pod
	// Written is when the contents of what the operator makes for entries beside CronJobs last changed, by name; see IsIngredient.
	Written map[string]time.Time
}

// CronJob is one that the operator made for an entry.
type CronJob struct {
	Name    string
	UID     types.UID
	Cluster string
	// Schedule and TimeZone are as they stand in the object; Suspended and StartingDeadline (nil for none) likewise.
	Schedule         string
	TimeZone         string
	Suspended        bool
	StartingDeadline *time.Duration
	Created          time.Time
	// Changed is when somebody last changed anything but its status; Created when nobody has.
	Changed time.Time
	// Active is the Job that the CronJob's status has at work; empty for none.
	Active types.UID
	// LastSchedule and LastSuccess are zero when there was none.
	LastSchedule, LastSuccess time.Time
}

// Outcome is how far a Job has come.
type Outcome string

// The outcomes of Jobs.
const (
	Active   Outcome = ""
	Complete Outcome = "Complete"
	Broken   Outcome = "Failed"
	// Vanished: the Job was deleted before it had an end, or nothing tells which. It is neither a success nor a failure.
	Vanished Outcome = "Vanished"
)

// Job is one scan: made by a CronJob's schedule, or from the CronJob by hand.
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
	Manual           bool          // made from the CronJob by kubectl create job --from, or in the same way
	Own              bool          // made by Muster, because the entry has changed
	Gone             bool          // no longer there, and remembered
	Pod              *Pod          // the last that was seen of its Pod, of a Job that is gone
	ActiveDeadline   time.Duration // zero for none
}

// began is when the scan began.
func (j Job) began() time.Time {
	if j.Started.IsZero() {
		return j.Created
	}
	return j.Started
}

// Pod is one try of a Job.
type Pod struct {
	Name    string
	Job     string
	Created time.Time
	Phase   string
	// Reason and Message are the Pod's own, such as Evicted.
	Reason, Message string
	// Unschedulable is why no node takes it, and Disrupted why it was taken off its node.
	Unschedulable, Disrupted string
	Containers               []Container
	Mounts                   []Mount
}

// Container is one that has not ended well, or not started.
type Container struct {
	Name string
	// Waiting is the reason why it has not started, with its message.
	Waiting, WaitingMessage string
	// Ended says that it has run to its end, in this try or, while it waits, in the one before.
	Ended             bool
	Code              int32
	EndReason, Output string
	MemoryLimit       string
}

// Mount is a Secret that a Pod can't start without, and the keys that it names; none means all that there are.
type Mount struct {
	Secret string
	Keys   []string
}
