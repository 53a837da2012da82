package scanstate

import (
	"cmp"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// maxOutput is how much of a message is kept; its last lines are shown. The kubelet limits all termination messages of a Pod to
// 12 KiB together. So those are kept whole, and the redactor sees whole secrets.
const maxOutput = 12 << 10

// TrimCronJob returns the parts of a CronJob that Derive needs.
func TrimCronJob(c *batchv1.CronJob) CronJob {
	out := CronJob{Name: strings.Clone(c.Name), UID: c.UID, Cluster: c.Labels[mondoo.LabelCluster], Schedule: c.Spec.Schedule,
		Suspended: c.Spec.Suspend != nil && *c.Spec.Suspend, Created: c.CreationTimestamp.Time,
		LastSchedule: instant(c.Status.LastScheduleTime), LastSuccess: instant(c.Status.LastSuccessfulTime)}
	out.Changed = Changed(c)
	if len(c.Status.Active) > 0 { // at most one, because the operator forbids concurrent Jobs
		out.Active = c.Status.Active[len(c.Status.Active)-1].UID
	}
	if c.Spec.TimeZone != nil {
		out.TimeZone = *c.Spec.TimeZone
	}
	if c.Spec.StartingDeadlineSeconds != nil {
		deadline := time.Duration(*c.Spec.StartingDeadlineSeconds) * time.Second
		out.StartingDeadline = &deadline
	}
	return out
}

// Instantiate is the annotation that kubectl create job --from sets on a CronJob's Jobs, with the value Manual.
const (
	Instantiate = "cronjob.kubernetes.io/instantiate"
	Manual      = "manual"
)

// The labels of the Jobs that Muster creates. These Jobs have none of the operator's labels, because the operator deletes Jobs that
// have them.
const (
	LabelAuditConfig = "muster.dev/audit-config"
	LabelCluster     = "muster.dev/cluster"
)

// Changed returns when anything but an object's status last changed. The API server records this for each field manager, and ignores
// writes that change nothing.
func Changed(o metav1.Object) time.Time {
	last := o.GetCreationTimestamp().Time
	for _, m := range o.GetManagedFields() {
		if m.Subresource == "" && m.Time != nil && m.Time.After(last) {
			last = m.Time.Time
		}
	}
	return last
}

// TrimJob returns the parts of a Job that Derive needs.
func TrimJob(j *batchv1.Job) Job {
	own := j.Labels[LabelCluster]
	out := Job{Name: j.Name, UID: j.UID, Cluster: cmp.Or(own, j.Labels[mondoo.LabelCluster]), Own: own != "", Owner: owner(j.OwnerReferences, "CronJob"),
		Created: j.CreationTimestamp.Time, Started: instant(j.Status.StartTime),
		Suspended: j.Spec.Suspend != nil && *j.Spec.Suspend, Manual: j.Annotations[Instantiate] == Manual}
	if j.Spec.ActiveDeadlineSeconds != nil {
		out.ActiveDeadline = time.Duration(*j.Spec.ActiveDeadlineSeconds) * time.Second
	}
	for _, c := range j.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		// FailureTarget and SuccessCriteriaMet come first, while Pods still terminate. The outcome is already certain.
		switch c.Type { //nolint:exhaustive // Suspended is not an outcome
		case batchv1.JobFailed, batchv1.JobFailureTarget:
			out.Outcome, out.Finished = Broken, c.LastTransitionTime.Time
			out.Reason, out.Message = c.Reason, bounded(c.Message)
		case batchv1.JobComplete, batchv1.JobSuccessCriteriaMet:
			out.Outcome, out.Finished = Complete, c.LastTransitionTime.Time
		}
	}
	if out.Outcome == Complete && j.Status.CompletionTime != nil {
		out.Finished = j.Status.CompletionTime.Time
	}
	return out
}

// TrimPod returns the parts of a Pod that Derive needs. The Pod must not have succeeded.
func TrimPod(p *corev1.Pod) Pod {
	out := Pod{Name: p.Name, Job: p.Labels[batchv1.JobNameLabel], Created: p.CreationTimestamp.Time, Phase: string(p.Status.Phase),
		Reason: p.Status.Reason, Message: bounded(p.Status.Message)}
	if out.Job == "" {
		out.Job = p.Labels["job-name"] // Kubernetes before 1.27
	}
	for _, c := range p.Status.Conditions {
		switch {
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable:
			out.Unschedulable = bounded(c.Message)
		case c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue:
			out.Disrupted = bounded(c.Reason + ": " + c.Message)
		}
	}
	limits := map[string]string{}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if limit, set := c.Resources.Limits[corev1.ResourceMemory]; set {
			limits[c.Name] = limit.String()
		}
	}
	for _, statuses := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range statuses {
			if c, relevant := container(&statuses[i]); relevant {
				c.MemoryLimit = limits[c.Name]
				out.Containers = append(out.Containers, c)
			}
		}
	}
	if p.Status.Phase == corev1.PodPending {
		out.Mounts = mounts(p.Spec.Volumes)
	}
	return out
}

// container returns a container's state, and reports whether it waits or has failed.
func container(s *corev1.ContainerStatus) (Container, bool) {
	c := Container{Name: s.Name}
	end := s.State.Terminated
	if w := s.State.Waiting; w != nil {
		c.Waiting, c.WaitingMessage = w.Reason, bounded(w.Message)
		end = s.LastTerminationState.Terminated
	}
	if end != nil {
		c.Ended, c.Code, c.EndReason, c.Output = true, end.ExitCode, end.Reason, bounded(end.Message)
	}
	return c, c.Waiting != "" || c.Ended && (c.Code != 0 || c.EndReason == "OOMKilled")
}

// mounts returns the Secrets that a Pod can't start without.
func mounts(volumes []corev1.Volume) []Mount {
	var list []Mount
	add := func(name string, optional *bool, items []corev1.KeyToPath) {
		if name == "" || optional != nil && *optional {
			return
		}
		m := Mount{Secret: name}
		for _, item := range items {
			m.Keys = append(m.Keys, item.Key)
		}
		list = append(list, m)
	}
	for _, v := range volumes {
		if s := v.Secret; s != nil {
			add(s.SecretName, s.Optional, s.Items)
		}
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if s := source.Secret; s != nil {
				add(s.Name, s.Optional, s.Items)
			}
		}
	}
	return list
}

func owner(refs []metav1.OwnerReference, kind string) types.UID {
	for _, ref := range refs {
		if ref.Kind == kind {
			return ref.UID
		}
	}
	return ""
}

func instant(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// bounded returns the end of a text, where a program usually prints its error. It drops the first line of a cut text, which may begin
// in the middle of a secret. The copy doesn't keep the whole text in memory.
func bounded(text string) string {
	if len(text) > maxOutput {
		_, text, _ = strings.Cut(text[len(text)-maxOutput:], "\n")
	}
	return strings.Clone(text)
}
