package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// ControllerLabels select the controller's Deployment, Pods and Services.
const ControllerLabels = "app.kubernetes.io/name=muster,app.kubernetes.io/component=controller"

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// install is the fix for whatever config/default would create.
const install = "kubectl apply --server-side -k config/default"

func (c *checkup) muster(ctx context.Context) []Check {
	checks := c.auditSyncDefinition(ctx)
	deployment, found := c.deployment(ctx)
	checks = append(checks, found...)
	if deployment == nil {
		return checks
	}
	pods, err := c.core.CoreV1().Pods(c.Controller).List(ctx, metav1.ListOptions{LabelSelector: ControllerLabels})
	if err != nil {
		pods = &corev1.PodList{} // the reason is missing then
	}
	checks = append(checks, readyCheck(deployment, pods.Items), versionCheck(imageOf(deployment), c.Version))
	lease, err := c.core.CoordinationV1().Leases(c.Controller).Get(ctx, controllers.LeaseName, metav1.GetOptions{})
	return append(checks, leaseCheck(deployment, lease, err, c.Now()))
}

// auditSyncDefinition checks the CRD. Everyone may see what is served. The schema needs permission.
func (c *checkup) auditSyncDefinition(ctx context.Context) []Check {
	const served, same = "AuditSyncs are served", "their schema is the one that this program knows"
	list, err := c.core.Discovery().ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if apierrors.IsNotFound(err) || err == nil && !has(list, "auditsyncs") {
		return []Check{failed(categoryMuster, served, "the API server has no AuditSync "+v1alpha1.GroupVersion.String(), "install the CRD: "+strings.Replace(install, "default", "crd", 1))}
	}
	if err != nil {
		return []Check{unread(categoryMuster, served, "discover "+v1alpha1.GroupVersion.String(), err)}
	}
	checks := []Check{passed(categoryMuster, served, v1alpha1.GroupVersion.String())}
	live, err := c.dynamic.Resource(crds).Get(ctx, "auditsyncs."+v1alpha1.GroupVersion.Group, metav1.GetOptions{})
	if err != nil {
		return append(checks, unread(categoryMuster, same, "get CustomResourceDefinitions", err))
	}
	return append(checks, schemaCheck(same, live.Object))
}

func has(list *metav1.APIResourceList, resource string) bool {
	for _, r := range list.APIResources {
		if r.Name == resource {
			return true
		}
	}
	return false
}

// deployment finds the controller's.
func (c *checkup) deployment(ctx context.Context) (*appsv1.Deployment, []Check) {
	const name = "the controller is installed"
	list, err := c.core.AppsV1().Deployments(c.Controller).List(ctx, metav1.ListOptions{LabelSelector: ControllerLabels})
	switch {
	case err != nil:
		return nil, []Check{unread(categoryMuster, name, "list Deployments in "+c.Controller, err)}
	case len(list.Items) == 0:
		return nil, []Check{failed(categoryMuster, name, fmt.Sprintf("no Deployment in %s has the labels %s", c.Controller, ControllerLabels), "if it runs in another namespace, name that with --controller-namespace; otherwise install it: "+install)}
	case len(list.Items) > 1:
		return nil, []Check{failed(categoryMuster, name, fmt.Sprintf("there are %d Deployments with the labels %s in %s, which work against each other", len(list.Items), ControllerLabels, c.Controller),
			fmt.Sprintf("delete all but one: kubectl -n %s get deployments -l %s", c.Controller, ControllerLabels))}
	}
	return &list.Items[0], []Check{passed(categoryMuster, name, "Deployment "+c.Controller+"/"+list.Items[0].Name)}
}

// readyCheck decides whether the controller runs, and why not.
func readyCheck(d *appsv1.Deployment, pods []corev1.Pod) Check {
	const name = "the controller is ready"
	wanted := int32(1)
	if d.Spec.Replicas != nil {
		wanted = *d.Spec.Replicas
	}
	where := fmt.Sprintf("kubectl -n %s ", d.Namespace)
	switch {
	case wanted == 0:
		return failed(categoryMuster, name, "the Deployment is scaled to 0", where+"scale deployment "+d.Name+" --replicas=1")
	case d.Status.ReadyReplicas >= wanted && d.Status.ObservedGeneration >= d.Generation:
		return passed(categoryMuster, name, plural(int(wanted), "Pod"))
	}
	cause := fmt.Sprintf("%d of %s ready", d.Status.ReadyReplicas, plural(int(wanted), "Pod"))
	if d.Status.ReadyReplicas >= wanted {
		cause = "the last change of the Deployment is not rolled out yet"
	}
	if why := podProblem(pods); why != "" {
		cause += ": " + why
	}
	fix := where + "describe pod -l " + ControllerLabels
	if d.Status.ReadyReplicas > 0 {
		return warning(categoryMuster, name, cause, fix)
	}
	return failed(categoryMuster, name, cause, fix)
}

// podProblem is why the first Pod that isn't ready isn't.
func podProblem(pods []corev1.Pod) string {
	for _, pod := range pods {
		for _, s := range pod.Status.ContainerStatuses {
			switch {
			case s.State.Waiting != nil && s.State.Waiting.Reason != "ContainerCreating":
				last := ""
				if t := s.LastTerminationState.Terminated; t != nil {
					last = fmt.Sprintf(" (last ended with %s, status %d)", t.Reason, t.ExitCode)
				}
				return s.State.Waiting.Reason + last + ": " + s.State.Waiting.Message
			case s.State.Terminated != nil:
				return fmt.Sprintf("ended with %s, status %d", s.State.Terminated.Reason, s.State.Terminated.ExitCode)
			}
		}
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
				return condition.Reason + ": " + condition.Message
			}
		}
	}
	return ""
}

// imageOf is the image of the controller's container.
func imageOf(d *appsv1.Deployment) string {
	for _, container := range d.Spec.Template.Spec.Containers {
		if container.Name == "muster" || len(d.Spec.Template.Spec.Containers) == 1 {
			return container.Image
		}
	}
	return ""
}

// tagOf is the tag of an image, or "".
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name := image[strings.LastIndexByte(image, '/')+1:]
	_, tag, _ := strings.Cut(name, ":")
	return tag
}

// versionCheck compares the controller with this program.
func versionCheck(image, version string) Check {
	const name = "the controller has the version of this program"
	tag := tagOf(image)
	switch {
	case tag == "":
		return skipped(categoryMuster, name, fmt.Sprintf("the image %s has no tag", image))
	case tag == version:
		return passed(categoryMuster, name, tag)
	case version == "devel":
		return skipped(categoryMuster, name, fmt.Sprintf("this program is a development build; the controller is %s", tag))
	}
	return warning(categoryMuster, name, fmt.Sprintf("the controller is %s, and this program is %s", tag, version), "use the same version, so that render and plan show what the controller does")
}

// leaseCheck decides whether one of the replicas works.
func leaseCheck(d *appsv1.Deployment, lease *coordinationv1.Lease, err error, now time.Time) Check {
	const name = "a leader is elected"
	restart := fmt.Sprintf("kubectl -n %s logs -l %s; restart it: kubectl -n %[1]s rollout restart deployment %s", d.Namespace, ControllerLabels, d.Name)
	switch {
	case !elects(d):
		return skipped(categoryMuster, name, "the controller runs without --leader-elect")
	case apierrors.IsNotFound(err):
		return failed(categoryMuster, name, fmt.Sprintf("there is no Lease %s in %s: no replica has started to work", controllers.LeaseName, d.Namespace), restart)
	case err != nil:
		return unread(categoryMuster, name, "get Lease "+d.Namespace+"/"+controllers.LeaseName, err)
	case lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "":
		return failed(categoryMuster, name, "no replica holds the Lease "+lease.Name, restart)
	}
	holder, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	duration := 15 * time.Second
	if lease.Spec.LeaseDurationSeconds != nil {
		duration = time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second
	}
	const clocks = 15 * time.Second // that this computer's clock may be wrong
	if lease.Spec.RenewTime == nil || now.Sub(lease.Spec.RenewTime.Time) > duration+clocks {
		renewed := "never"
		if lease.Spec.RenewTime != nil {
			renewed = "last at " + lease.Spec.RenewTime.UTC().Format(time.RFC3339)
		}
		return failed(categoryMuster, name, fmt.Sprintf("the Lease of %s was renewed %s, so nothing is synced", holder, renewed), restart)
	}
	return passed(categoryMuster, name, holder)
}

func elects(d *appsv1.Deployment) bool { return argument(d, "--leader-elect") != "" }

// argument is an argument of the controller that begins with a text, or "".
func argument(d *appsv1.Deployment, prefix string) string {
	for _, container := range d.Spec.Template.Spec.Containers {
		for _, arg := range container.Args {
			if arg == prefix || strings.HasPrefix(arg, prefix+"=") {
				return arg
			}
		}
	}
	return ""
}
