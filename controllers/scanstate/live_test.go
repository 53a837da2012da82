package scanstate

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/cmd/devenv/server"
)

const (
	namespace   = "mondoo-operator"
	auditConfig = "mondoo-client"
	// patience is how long the test waits for what should take a second or two.
	patience = 90 * time.Second
)

// live is a real control plane on which Jobs run but for their Pods, which the test plays as a kubelet would.
type live struct {
	*testing.T
	client client.Client
}

// TestOnTheRealAPI makes CronJobs and Jobs as the operator and Kubernetes make them, has the Job controller make the Pods and
// judge them, and plays the kubelet alone.
func TestOnTheRealAPI(t *testing.T) {
	server.SkipShort(t)
	plane, err := server.StartControlPlane(t.Context(), server.ControlPlaneOptions{ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plane.Stop() }) //nolint:errcheck // the test is over
	c, err := client.New(plane.Config(), client.Options{Scheme: clientscheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	l := live{t, c}
	l.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "baseline"}}})

	scenes := map[string]struct {
		pod    func(*corev1.PodStatus) // as a kubelet reports; nil leaves the Pod alone
		job    func(*batchv1.Job)
		late   time.Duration // how much later to look
		state  State
		reason Reason
		detail string
	}{
		"oom":     {pod: ended(137, "OOMKilled", ""), state: Failed, reason: ReasonOutOfMemory, detail: "its limit is 300Mi"},
		"exit":    {pod: ended(1, "Error", "starting\nconnect: certificate has expired\n"), state: Failed, reason: ReasonExitCode, detail: "exited with code 1: starting / connect: certificate has expired"},
		"image":   {pod: waits("ImagePullBackOff", `Back-off pulling image "nope"`), state: Failed, reason: ReasonImagePull, detail: "nope"},
		"secret":  {pod: waits("CreateContainerConfigError", `secret "eu" not found`), state: Failed, reason: ReasonMissingSecret, detail: `secret "eu" not found`},
		"key":     {pod: waits("CreateContainerConfigError", "couldn't find key token in Secret mondoo-operator/eu"), state: Failed, reason: ReasonMissingSecret, detail: "key token"},
		"mount":   {pod: waits("ContainerCreating", ""), late: 10 * time.Minute, state: Failed, reason: ReasonNotStarting, detail: "mounts mount-kubeconfig"},
		"slow":    {pod: func(s *corev1.PodStatus) { s.Phase = corev1.PodRunning }, job: func(j *batchv1.Job) { j.Spec.ActiveDeadlineSeconds = new(int64(1)) }, state: Failed, reason: ReasonDeadline, detail: "1s"},
		"refused": {job: mountsHost, late: 10 * time.Minute, state: Failed, reason: ReasonNoPod, detail: "kubectl describe job"},
		"running": {pod: func(s *corev1.PodStatus) { s.Phase = corev1.PodRunning }, state: Running},
		"good":    {pod: ended(0, "Completed", ""), state: Succeeded},
	}
	entries := []Entry{}
	for name, scene := range scenes {
		entries = append(entries, Entry{Name: name})
		cron := l.cronJob(name)
		job := fromCronJob(cron)
		if scene.job != nil {
			scene.job(job)
		}
		l.create(job)
		if scene.pod != nil {
			l.play(job.Name, scene.pod)
		}
	}
	// A chunk of three makes several of each list.
	reader := Reader{Client: c, ChunkSize: 3}
	for name, scene := range scenes {
		var got Status
		err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
			observed, err := reader.Read(ctx, namespace, auditConfig)
			if err != nil {
				return false, err
			}
			if len(observed.CronJobs) != len(scenes) || len(observed.Jobs) != len(scenes) {
				return false, fmt.Errorf("%d CronJobs and %d Jobs were read, want %d of each", len(observed.CronJobs), len(observed.Jobs), len(scenes))
			}
			for _, s := range Derive(Input{Entries: entries, Observed: observed, Now: time.Now().Add(scene.late), Bounds: Bounds{Grace: 24 * time.Hour}}) {
				if s.Cluster == name {
					got = s
				}
			}
			return got.State == scene.state && got.Reason == scene.reason && strings.Contains(got.Detail, scene.detail), nil
		})
		if err != nil {
			t.Errorf("%s: %v: got %+v", name, err, got)
		}
	}
	t.Run("not picked up", func(t *testing.T) {
		observed, err := reader.Read(t.Context(), namespace, auditConfig)
		if err != nil {
			t.Fatal(err)
		}
		got := Derive(Input{Entries: append(entries, Entry{Name: "bad", Vault: true}, Entry{Name: "after"}), Observed: observed, Now: time.Now()})
		if s := got[len(got)-1]; s.State != NotPickedUp || s.Culprit != "bad" || s.Reason != ReasonVaultLogin {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("another audit config", func(t *testing.T) {
		if observed, err := reader.Read(t.Context(), namespace, "other"); err != nil || len(observed.CronJobs)+len(observed.Jobs)+len(observed.Pods) > 0 {
			t.Errorf("got %+v, %v", observed, err)
		}
	})
}

func (l live) create(o client.Object) {
	l.Helper()
	if err := l.client.Create(l.Context(), o); err != nil {
		l.Fatal(err)
	}
}

// cronJob makes one as the operator does, with labels on everything.
func (l live) cronJob(cluster string) *batchv1.CronJob {
	labels := mondoo.ScanLabels(auditConfig, cluster)
	meta := metav1.ObjectMeta{Name: "mondoo-k8s-scan-" + cluster, Namespace: namespace, Labels: labels}
	c := &batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{Schedule: "0 0 1 1 *",
		JobTemplate: batchv1.JobTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: batchv1.JobSpec{BackoffLimit: new(int32(0)),
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: new(false),
				Volumes: []corev1.Volume{{Name: "kubeconfig", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: cluster + "-kubeconfig"}}}},
				Containers: []corev1.Container{{Name: "scan", Image: "registry.example.com/cnspec:1", Resources: corev1.ResourceRequirements{
					Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("300Mi")}}}},
			}}}}}}
	l.create(c)
	return c
}

// fromCronJob is what kubectl create job --from makes.
func fromCronJob(c *batchv1.CronJob) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: c.Name + "-1", Namespace: c.Namespace, Labels: c.Spec.JobTemplate.Labels,
		Annotations:     map[string]string{"cronjob.kubernetes.io/instantiate": "manual"},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(c, batchv1.SchemeGroupVersion.WithKind("CronJob"))}}, Spec: c.Spec.JobTemplate.Spec}
}

// mountsHost mounts a folder of the node, as the operator does for SPIFFE and Pod Security forbids.
func mountsHost(j *batchv1.Job) {
	j.Spec.Template.Spec.Volumes = append(j.Spec.Template.Spec.Volumes,
		corev1.Volume{Name: "agent", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/run/spire/sockets"}}})
}

// play waits for the Pod of a Job, and reports on it as a kubelet.
func (l live) play(job string, report func(*corev1.PodStatus)) {
	l.Helper()
	err := wait.PollUntilContextTimeout(l.Context(), 20*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		var pods corev1.PodList
		if err := l.client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{batchv1.JobNameLabel: job}); err != nil || len(pods.Items) == 0 {
			return false, err
		}
		pod := &pods.Items[0]
		report(&pod.Status)
		err := l.client.Status().Update(ctx, pod)
		return err == nil, ignoreConflict(err)
	})
	if err != nil {
		l.Fatalf("play the Pod of %s: %v", job, err)
	}
}

// ignoreConflict: the Job controller writes to Pods too.
func ignoreConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func waits(reason, message string) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.Phase = corev1.PodPending
		s.ContainerStatuses = []corev1.ContainerStatus{{Name: "scan", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}
	}
}

func ended(code int32, reason, message string) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.Phase = corev1.PodFailed
		if code == 0 {
			s.Phase = corev1.PodSucceeded
		}
		s.ContainerStatuses = []corev1.ContainerStatus{{Name: "scan", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}}}}
	}
}
