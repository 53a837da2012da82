package scanstate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// cause is why a scan failed or does not start.
type cause struct {
	reason Reason
	detail string
}

// The kubelet's reasons for a waiting container.
var (
	pulling  = []string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}
	starting = []string{"CreateContainerError", "RunContainerError", "PostStartHookError", "CreatePodSandboxError", "StartError"}
)

// stuck returns why an unfinished Job is not running, or the zero cause if it is.
func (d *deriver) stuck(pod *Pod, has bool, j *Job, waited time.Duration) cause {
	late := waited > d.Bounds.Start
	switch {
	case !has && !late:
		return cause{ReasonStillStarting, "the Job has no Pod yet"}
	case !has:
		return cause{ReasonNoPod, fmt.Sprintf("Job %s has no Pod: something rejects it, such as Pod Security or a quota; see kubectl describe job %s", j.Name, j.Name)}
	}
	for _, c := range pod.Containers {
		if why := d.waiting(c); why.reason != "" {
			return why
		}
	}
	if pod.Phase == "Failed" || slices.ContainsFunc(pod.Containers, func(c Container) bool { return c.Ended && c.Code != 0 }) {
		// Two programs write the Job and the Pod, and the Job's end comes a moment later.
		return d.podEnded(pod)
	}
	if pod.Phase != "Pending" {
		return cause{}
	}
	switch {
	case pod.Unschedulable != "" && late:
		return cause{ReasonUnschedulable, "the Pod can't be scheduled: " + d.excerpt(pod.Unschedulable)}
	case late:
		return cause{ReasonNotStarting, "Pod " + pod.Name + " has not started within " + d.Bounds.Start.String() + "; " + d.mounts(pod)}
	}
	return cause{ReasonStillStarting, "the Pod is starting"}
}

var (
	missingSecret = regexp.MustCompile(`(?i)\bsecrets? "?[^ ]+"? not found|couldn't find key .* in Secret|references non-existent secret key`)
)

// waiting returns why a container waits, if it needs help to continue.
func (d *deriver) waiting(c Container) cause {
	switch {
	case slices.Contains(pulling, c.Waiting):
		return cause{ReasonImagePull, d.join("the image of container "+c.Name+" can't be pulled ("+c.Waiting+")", c.WaitingMessage)}
	case c.Waiting == "CreateContainerConfigError" && missingSecret.MatchString(c.WaitingMessage):
		return cause{ReasonMissingSecret, d.join("container "+c.Name+" needs a Secret or key that does not exist", c.WaitingMessage)}
	case c.Waiting == "CreateContainerConfigError":
		return cause{ReasonConfig, d.join("container "+c.Name+" can't be configured", c.WaitingMessage)}
	case slices.Contains(starting, c.Waiting):
		return cause{ReasonStart, d.join("container "+c.Name+" can't be started ("+c.Waiting+")", c.WaitingMessage)}
	case c.Waiting == "CrashLoopBackOff" && c.Ended:
		return d.exit(c)
	}
	return cause{}
}

// mounts returns which Secret a Pod waits for. The Pod's status doesn't name it; the kubelet only reports it in an event.
func (d *deriver) mounts(pod *Pod) string {
	var names []string
	for _, m := range pod.Mounts {
		names = append(names, m.Secret)
		if d.Secrets == nil {
			continue
		}
		keys, exists := d.Secrets[m.Secret]
		if !exists {
			return "it mounts Secret " + m.Secret + ", which does not exist"
		}
		for _, key := range m.Keys {
			if !slices.Contains(keys, key) {
				return "it mounts key " + key + " of Secret " + m.Secret + ", which does not have that key"
			}
		}
	}
	if len(names) == 0 || d.Secrets != nil {
		return "see kubectl describe pod " + pod.Name
	}
	return "it mounts " + strings.Join(names, " and ") + "; check that these Secrets exist and have the right keys"
}

// ended returns why a Job failed.
func (d *deriver) ended(pod *Pod, has bool, j *Job) cause {
	deadline := j.Reason == "DeadlineExceeded"
	if has {
		// If something kept the Pod from starting, that is the cause. The exceeded deadline is only its consequence.
		for _, c := range pod.Containers {
			if why := d.waiting(c); why.reason != "" {
				return why
			}
		}
		if !deadline {
			if why := d.podEnded(pod); why.reason != ReasonUnknown {
				return why
			}
		}
	}
	switch {
	case deadline && j.ActiveDeadline > 0:
		return cause{ReasonDeadline, "the scan took longer than " + j.ActiveDeadline.String() + ", its activeDeadlineSeconds"}
	case deadline:
		return cause{ReasonDeadline, "the scan took longer than its activeDeadlineSeconds"}
	case !has:
		return cause{ReasonUnknown, d.join("the Job failed; its Pod is gone, so the cause is unknown", j.Message)}
	}
	return cause{ReasonUnknown, d.join("the Job failed; its Pod shows no cause", j.Message)}
}

// podEnded returns why a Pod failed.
func (d *deriver) podEnded(pod *Pod) cause {
	for _, c := range pod.Containers {
		if c.Ended && c.EndReason == "OOMKilled" {
			return d.exit(c)
		}
	}
	switch {
	case pod.Reason == "Evicted":
		return cause{ReasonEvicted, d.join("the Pod was evicted", pod.Message)}
	case pod.Reason == "DeadlineExceeded":
		return cause{ReasonDeadline, "the Pod ran longer than its activeDeadlineSeconds"}
	case pod.Disrupted != "":
		return cause{ReasonNodeLost, d.join("the Pod was disrupted", pod.Disrupted)}
	case slices.Contains([]string{"NodeLost", "NodeShutdown", "Shutdown", "Terminated", "NodeAffinity"}, pod.Reason):
		return cause{ReasonNodeLost, d.join("the Pod was lost with its node", pod.Message)}
	}
	for _, c := range pod.Containers {
		if c.Ended && c.Code != 0 {
			return d.exit(c)
		}
	}
	return cause{ReasonUnknown, d.join("the Pod failed", pod.Message)}
}

// exit returns how a container ended.
func (d *deriver) exit(c Container) cause {
	const killed = 137 // 128 and SIGKILL
	switch {
	case c.EndReason == "OOMKilled":
		limit := ""
		if c.MemoryLimit != "" {
			limit = "; its limit is " + c.MemoryLimit
		}
		return cause{ReasonOutOfMemory, "container " + c.Name + " ran out of memory (OOMKilled)" + limit}
	case c.EndReason == "ContainerCannotRun" || c.EndReason == "StartError":
		return cause{ReasonStart, d.join("container "+c.Name+" can't be started", c.Output)}
	case c.Code == killed:
		return cause{ReasonExitCode, d.join(fmt.Sprintf("container %s was killed (exit code %d), often because it ran out of memory", c.Name, c.Code), c.Output)}
	}
	return cause{ReasonExitCode, d.join(fmt.Sprintf("container %s exited with code %d", c.Name, c.Code), c.Output)}
}

// join appends an excerpt of a program's output to a text, if there is any output.
func (d *deriver) join(text, output string) string {
	if output = d.excerpt(output); output == "" {
		return text
	}
	return text + ": " + output
}

// excerpt returns the end of a program's output in one line, without secrets. It redacts before it cuts, because half a secret
// would not be recognised.
func (d *deriver) excerpt(text string) string { return lastLines(d.Redact(text)) }
