package scan

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// cause is why a scan has failed or does not start.
type cause struct {
	reason Reason
	detail string
}

// reasons of the kubelet for a container that waits.
var (
	pulling  = []string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}
	starting = []string{"CreateContainerError", "RunContainerError", "PostStartHookError", "CreatePodSandboxError", "StartError"}
)

// stuck says why an unfinished Job is not at work; no reason when it is.
func (d *deriver) stuck(pod *Pod, has bool, j *Job, waited time.Duration) cause {
	late := waited > d.Bounds.Start
	switch {
	case !has && !late:
		return cause{ReasonStillStarting, "the Job has no Pod yet"}
	case !has:
		return cause{ReasonNoPod, fmt.Sprintf("the Job %s has no Pod: something refuses it, such as Pod Security or a quota; kubectl describe job %s says what", j.Name, j.Name)}
	}
	for _, c := range pod.Containers {
		if why := d.waiting(c); why.reason != "" {
			return why
		}
	}
	if pod.Phase == "Failed" || slices.ContainsFunc(pod.Containers, func(c Container) bool { return c.Ended && c.Code != 0 }) {
		// Job and Pod are written by two programs, and the Job's end comes a moment later.
		return d.podEnded(pod)
	}
	if pod.Phase != "Pending" {
		return cause{}
	}
	switch {
	case pod.Unschedulable != "" && late:
		return cause{ReasonUnschedulable, "no node takes the Pod: " + d.said(pod.Unschedulable)}
	case late:
		return cause{ReasonNotStarting, "the Pod " + pod.Name + " has not started in " + d.Bounds.Start.String() + "; " + d.mounts(pod)}
	}
	return cause{ReasonStillStarting, "the Pod is starting"}
}

var (
	missingSecret = regexp.MustCompile(`(?i)\bsecrets? "?[^ ]+"? not found|couldn't find key .* in Secret|references non-existent secret key`)
)

// waiting says why a container waits, where it will not stop waiting by itself.
func (d *deriver) waiting(c Container) cause {
	switch {
	case slices.Contains(pulling, c.Waiting):
		return cause{ReasonImagePull, d.join("the image of container "+c.Name+" can't be pulled ("+c.Waiting+")", c.WaitingMessage)}
	case c.Waiting == "CreateContainerConfigError" && missingSecret.MatchString(c.WaitingMessage):
		return cause{ReasonMissingSecret, d.join("container "+c.Name+" needs a Secret that is not there", c.WaitingMessage)}
	case c.Waiting == "CreateContainerConfigError":
		return cause{ReasonConfig, d.join("container "+c.Name+" can't be configured", c.WaitingMessage)}
	case slices.Contains(starting, c.Waiting):
		return cause{ReasonStart, d.join("container "+c.Name+" can't be started ("+c.Waiting+")", c.WaitingMessage)}
	case c.Waiting == "CrashLoopBackOff" && c.Ended:
		return d.exit(c)
	}
	return cause{}
}

// mounts says which Secret keeps a Pod waiting. The kubelet tells it in an event only; the Pod shows no more than that it
// waits.
func (d *deriver) mounts(pod *Pod) string {
	var names []string
	for _, m := range pod.Mounts {
		names = append(names, m.Secret)
		if d.Secrets == nil {
			continue
		}
		keys, there := d.Secrets[m.Secret]
		if !there {
			return "it mounts the Secret " + m.Secret + ", which is not there"
		}
		for _, key := range m.Keys {
			if !slices.Contains(keys, key) {
				return "it mounts the key " + key + " of the Secret " + m.Secret + ", which has no such key"
			}
		}
	}
	if len(names) == 0 || d.Secrets != nil {
		return "kubectl describe pod " + pod.Name + " says why"
	}
	return "it mounts " + strings.Join(names, " and ") + ": is one of these Secrets missing, or a key of it?"
}

// ended says why a Job has failed.
func (d *deriver) ended(pod *Pod, has bool, j *Job) cause {
	deadline := j.Reason == "DeadlineExceeded"
	if has {
		// What kept the Pod from starting is the cause, and the deadline its consequence.
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
		return cause{ReasonDeadline, "the scan took longer than " + j.ActiveDeadline.String() + ", which its activeDeadlineSeconds allows"}
	case deadline:
		return cause{ReasonDeadline, "the scan took longer than its activeDeadlineSeconds allows"}
	case !has:
		return cause{ReasonUnknown, d.join("the Pod is gone, and the cause with it", j.Message)}
	}
	return cause{ReasonUnknown, d.join("the Job has failed, and its Pod does not say why", j.Message)}
}

// podEnded says why a Pod has failed.
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
		return cause{ReasonDeadline, "the Pod ran longer than its activeDeadlineSeconds allows"}
	case pod.Disrupted != "":
		return cause{ReasonNodeLost, d.join("the Pod was taken off its node", pod.Disrupted)}
	case slices.Contains([]string{"NodeLost", "NodeShutdown", "Shutdown", "Terminated", "NodeAffinity"}, pod.Reason):
		return cause{ReasonNodeLost, d.join("the Pod ended with its node", pod.Message)}
	}
	for _, c := range pod.Containers {
		if c.Ended && c.Code != 0 {
			return d.exit(c)
		}
	}
	return cause{ReasonUnknown, d.join("the Pod has failed", pod.Message)}
}

// exit says how a container ended.
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
	return cause{ReasonExitCode, d.join(fmt.Sprintf("container %s ended with exit code %d", c.Name, c.Code), c.Output)}
}

// join adds what a program has said, if anything, to what is known without it.
func (d *deriver) join(known, said string) string {
	if said = d.said(said); said == "" {
		return known
	}
	return known + ": " + said
}

// said is the end of what a program has written, without secrets and in one line. Redaction comes first: half of a secret
// would not be recognised.
func (d *deriver) said(text string) string { return lastLines(d.Redact(text)) }
