package scan

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

// maxOutput bounds what is kept of a message, of which the last lines are shown. The kubelet keeps 12 KiB of all termination
// messages of a Pod, so those come whole, and the redactor sees whole secrets.
const maxOutput = 12 << 10

// TrimCronJob keeps what Derive needs of a CronJob.
func TrimCronJob(c *batchv1.CronJob) CronJob {
	out := CronJob{Name: strings.Clone(c.Name), UID: c.UID, Cluster: c.Labels[mondoo.LabelCluster], Schedule: c.Spec.Schedule,
		Suspended: c.Spec.Suspend != nil && *c.Spec.Suspend, Created: c.CreationTimestamp.Time,
		LastSchedule: instant(c.Status.LastScheduleTime), LastSuccess: instant(c.Status.LastSuccessfulTime)}
	out.Changed = Changed(c)
	if len(c.Status.Active) > 0 { // one, as the operator forbids concurrent Jobs
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

// Instantiate is the annotation, with the value Manual, of Jobs that kubectl create job --from makes of CronJobs.
const (
	Instantiate = "cronjob.kubernetes.io/instantiate"
	Manual      = "manual"
)

// The labels of Jobs that Muster makes. They have none of the operator's, which deletes Jobs that it finds by its own.
const (
	LabelAuditConfig = "muster.dev/audit-config"
	LabelCluster     = "muster.dev/cluster"
)

// Changed is when anything but status of an object last changed. The API server notes that for each who writes, and a write that
// changes nothing is not noted.
func Changed(o metav1.Object) time.Time {
	last := o.GetCreationTimestamp().Time
	for _, m := range o.GetManagedFields() {
		if m.Subresource == "" && m.Time != nil && m.Time.After(last) {
			last = m.Time.Time
		}
	}
	return last
}

// TrimJob keeps what Derive needs of a Job.
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
		// FailureTarget and SuccessCriteriaMet come first, while Pods are still ending; the outcome is certain then.
		switch c.Type { //nolint:exhaustive // Suspended is no outcome
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

// TrimPod keeps what Derive needs of a Pod that has not succeeded.
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
			if c, tells := container(&statuses[i]); tells {
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

// container keeps a container that waits or has ended badly.
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

// mounts are the Secrets that a Pod can't start without.
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

// bounded keeps the end of a text, which is where a program says why it ends, in memory of its own. The line that is cut
// goes as a whole, for it may begin in the middle of a secret.
func bounded(text string) string {
	if len(text) > maxOutput {
		_, text, _ = strings.Cut(text[len(text)-maxOutput:], "\n")
	}
	return strings.Clone(text)
}
