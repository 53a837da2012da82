package operator

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// pods is the part of the stand-in that reports the status of Pods as a kubelet does, although nothing runs.
type pods struct {
	client.Client
	scenarios *scenarios
	takes     time.Duration
	tell      func(format string, args ...any)
}

// Reconcile advances one Pod by a step.
func (r *pods) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	scenario, err := r.scenarios.now(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	pod := &corev1.Pod{}
	if err := r.Get(ctx, req.NamespacedName, pod); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if over(pod) || !pod.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	mounted, err := r.mounted(ctx, pod)
	if err != nil {
		return ctrl.Result{}, err
	}
	cluster := pod.Labels[mondoo.LabelCluster]
	status, message, again := step(pod.Status, scenario.Outcome(cluster), mounted, r.takes, time.Now())
	if equality.Semantic.DeepEqual(status, pod.Status) {
		return ctrl.Result{RequeueAfter: again}, nil
	}
	pod.Status = status
	if err := r.Status().Update(ctx, pod, fieldOwner); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	r.tell("scan of %s: %s", cluster, message)
	return ctrl.Result{RequeueAfter: again}, nil
}

func over(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// mounted reports whether all Secrets that the Pod mounts exist, with the keys that it names. The real operator's Pods wait
// for them forever.
func (r *pods) mounted(ctx context.Context, pod *corev1.Pod) (bool, error) {
	for _, v := range pod.Spec.Volumes {
		if v.Secret == nil {
			continue
		}
		secret := &corev1.Secret{}
		err := r.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: v.Secret.SecretName}, secret)
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(v.Secret.Items, func(i corev1.KeyToPath) bool { _, has := secret.Data[i.Key]; return !has }) {
			return false, nil
		}
	}
	return true, nil
}

// step is the next status that a kubelet would report for a Pod that hasn't ended, with a message for the reader and the
// time until the next step. 0 means to wait for the next change.
func step(s corev1.PodStatus, outcome Outcome, mounted bool, takes time.Duration, now time.Time) (_ corev1.PodStatus, message string, again time.Duration) {
	const soon = time.Second // Secrets are not watched
	switch {
	case s.Phase != corev1.PodRunning && !mounted:
		return waits(s, "ContainerCreating", ""), "its Pod waits for a Secret", soon
	case s.Phase != corev1.PodRunning && outcome == ImagePull:
		return waits(s, "ImagePullBackOff", `Back-off pulling image "`+image+`"`), "the image can't be pulled", 0
	case s.Phase != corev1.PodRunning:
		began := metav1.NewTime(now)
		s.Phase, s.StartTime = corev1.PodRunning, &began
		s.ContainerStatuses = container(corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}})
		return s, "running", max(takes, time.Millisecond)
	case outcome == Hang:
		return s, "", 0
	}
	if left := takes - now.Sub(s.StartTime.Time); left > 0 {
		return s, "", left
	}
	ended, message := end(outcome)
	ended.StartedAt, ended.FinishedAt = *s.StartTime, metav1.NewTime(now)
	s.Phase = corev1.PodFailed
	if ended.ExitCode == 0 {
		s.Phase = corev1.PodSucceeded
	}
	s.ContainerStatuses = container(corev1.ContainerState{Terminated: ended})
	return s, message, 0
}

// end is the final state of a container.
func end(outcome Outcome) (_ *corev1.ContainerStateTerminated, message string) {
	switch outcome {
	case Fail:
		return &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error",
			Message: "connecting to the cluster\nx509: certificate has expired or is not yet valid\n"}, "failed, exit code 1"
	case OutOfMemory:
		return &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}, "out of memory (OOMKilled)"
	default: // a running container has its image
		return &corev1.ContainerStateTerminated{Reason: "Completed"}, "succeeded"
	}
}

func waits(s corev1.PodStatus, reason, message string) corev1.PodStatus {
	s.Phase = corev1.PodPending
	s.ContainerStatuses = container(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}})
	return s
}

func container(state corev1.ContainerState) []corev1.ContainerStatus {
	return []corev1.ContainerStatus{{Name: containerName, Image: image, State: state, Ready: state.Running != nil}}
}
