package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// fieldOwner is the stand-in's field manager.
const fieldOwner = client.FieldOwner("stand-in-operator")

var auditConfigKind = schema.GroupVersionKind{Group: mondoo.Group, Version: mondoo.Version, Kind: mondoo.Kind}

func newAuditConfig() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(auditConfigKind)
	return o
}

func newAuditConfigs() *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(auditConfigKind.GroupVersion().WithKind(mondoo.Kind + "List"))
	return list
}

// auditConfigs is the part of the stand-in that acts as the operator. One worker runs it.
type auditConfigs struct {
	client.Client
	scenarios *scenarios
	tell      func(format string, args ...any)
	stopped   map[string]string // by audit config, the last stop that was reported
	blocked   bool              // whether an audit config could not be decoded the last time
}

// stop is the reason why a reconcile stops early: at an entry, or at the audit config itself.
type stop struct{ entry, why string }

func (s *stop) Error() string {
	if s.entry == "" {
		return "does nothing for the audit config: " + s.why
	}
	return "stops at entry " + s.entry + ": " + s.why
}

// Reconcile processes the entries of one audit config. After a stop it retries at growing intervals.
func (r *auditConfigs) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	scenario, err := r.scenarios.now(ctx)
	if err != nil || scenario.Broken {
		return ctrl.Result{}, err
	}
	all := newAuditConfigs()
	if err := r.List(ctx, all, client.InNamespace(req.Namespace)); err != nil {
		return ctrl.Result{}, err
	}
	if culprit := undecodable(all.Items); culprit != "" {
		// The operator's informer fails, and with it everything else. It creates no event.
		r.blocked = true
		r.tellOnce("", "can't serve any audit config: "+culprit)
		return ctrl.Result{}, nil
	}
	if !r.blocked {
		return ctrl.Result{}, r.reconcile(ctx, req, scenario)
	}
	r.blocked = false
	delete(r.stopped, "")
	var errs []error
	for _, request := range requestsFor(all) {
		errs = append(errs, r.reconcile(ctx, request, scenario))
	}
	return ctrl.Result{}, errors.Join(errs...)
}

func (r *auditConfigs) reconcile(ctx context.Context, req ctrl.Request, scenario Scenario) error {
	config := newAuditConfig()
	if err := r.Get(ctx, req.NamespacedName, config); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !config.GetDeletionTimestamp().IsZero() {
		return r.finalize(ctx, config)
	}
	changes, err := r.serve(ctx, config, scenario)
	if len(changes) > 0 {
		r.tell("CronJobs: %s", strings.Join(changes, " "))
	}
	if stopped, ok := errors.AsType[*stop](err); ok {
		r.tellOnce(req.Name, stopped.Error())
		return err
	}
	delete(r.stopped, req.Name)
	return err
}

func (r *auditConfigs) tellOnce(about, text string) {
	if r.stopped[about] != text {
		r.tell("%s", text)
	}
	r.stopped[about] = text
}

// serve is one reconcile of an audit config that is not being deleted.
func (r *auditConfigs) serve(ctx context.Context, config *unstructured.Unstructured, scenario Scenario) (changes []string, err error) {
	if !annotationsValid(config) {
		r.tellOnce(config.GetName(), "ignores the audit config: invalid annotations")
		return nil, nil
	}
	if rewrite(config) {
		// A plain update, which fails and is retried after a concurrent change.
		if err := r.Update(ctx, config, fieldOwner); err != nil {
			return nil, err
		}
	}
	if err := r.pause(ctx, config, scenario.Paused); err != nil {
		return nil, err
	}
	if err := r.deleteOwnSecrets(ctx, config); err != nil {
		return nil, err
	}
	if err := r.credentials(ctx, config); err != nil {
		return nil, err
	}
	return r.entries(ctx, config, scenario)
}

func (r *auditConfigs) pause(ctx context.Context, config *unstructured.Unstructured, paused bool) error {
	if was, _, _ := unstructured.NestedBool(config.Object, "status", "scanningPaused"); was == paused {
		return nil
	}
	if err := unstructured.SetNestedField(config.Object, paused, "status", "scanningPaused"); err != nil {
		return err
	}
	if err := r.Status().Update(ctx, config, fieldOwner); err != nil {
		return err
	}
	r.tell("status.scanningPaused of %s: %t", config.GetName(), paused)
	return nil
}

// entries creates the objects of each entry, in the order of the entries, and only then removes those of deleted entries.
// Changes have the signs of muster plan.
func (r *auditConfigs) entries(ctx context.Context, config *unstructured.Unstructured, scenario Scenario) (changes []string, err error) {
	list, err := mondoo.Entries(config.Object)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, raw := range list {
		name, _ := raw["name"].(string)
		wanted[name] = true
	}
	for _, raw := range list {
		entry, err := mondoo.ParseEntry(raw)
		if err != nil {
			return changes, &stop{fmt.Sprint(raw["name"]), err.Error()}
		}
		if why := refused(config, entry); why != "" {
			return changes, &stop{entry.Name, why}
		}
		if err := r.ingredients(ctx, config, entry, scenario); err != nil {
			return changes, err
		}
		sign, err := r.ensure(ctx, config, entry, cronJob(config, entry, scenario.Paused))
		if apierrors.IsInvalid(err) {
			return changes, &stop{entry.Name, "the API server rejected its CronJob: " + err.Error()}
		}
		if err != nil {
			return changes, err
		}
		if sign != "" {
			changes = append(changes, sign+entry.Name)
		}
	}
	return r.prune(ctx, config, wanted, changes)
}

// ensure creates or changes a CronJob. The live CronJob of a service account cluster never equals the wanted one, because it
// lacks a defaultMode, so it is updated each time, without a change. An updated CronJob loses the Jobs that aren't active.
func (r *auditConfigs) ensure(ctx context.Context, config *unstructured.Unstructured, entry mondoo.Entry, wanted *batchv1.CronJob) (sign string, err error) {
	live := &batchv1.CronJob{}
	err = r.Get(ctx, client.ObjectKeyFromObject(wanted), live)
	if apierrors.IsNotFound(err) {
		return "+", r.Create(ctx, wanted, fieldOwner)
	}
	if err != nil {
		return "", err
	}
	if owner := metav1.GetControllerOf(live); owner != nil && owner.UID != config.GetUID() {
		return "", &stop{entry.Name, "its CronJob " + live.Name + " is already owned by another " + owner.Kind + ", " + owner.Name}
	}
	same := live.Annotations[annotationWanted] == wanted.Annotations[annotationWanted]
	if same && entry.ServiceAccountAuth == nil {
		return "", nil
	}
	live.Spec, live.Annotations, live.Labels = wanted.Spec, wanted.Annotations, wanted.Labels
	if err := r.Update(ctx, live, fieldOwner); err != nil {
		return "", err
	}
	if !same {
		sign = "~"
	}
	return sign, r.deleteInactive(ctx, live)
}

// deleteInactive deletes the Jobs with an updated CronJob's labels that have no active Pod: those that have ended, and those
// that have not started.
func (r *auditConfigs) deleteInactive(ctx context.Context, cron *batchv1.CronJob) error {
	var jobs batchv1.JobList
	if err := r.List(ctx, &jobs, client.InNamespace(cron.Namespace), client.MatchingLabels(cron.Labels)); err != nil {
		return err
	}
	var errs []error
	for i := range jobs.Items {
		if job := &jobs.Items[i]; job.Status.Active == 0 {
			errs = append(errs, client.IgnoreNotFound(r.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground))))
		}
	}
	return errors.Join(errs...)
}

// prune deletes the CronJobs of entries that aren't wanted, and the objects that they needed.
func (r *auditConfigs) prune(ctx context.Context, config *unstructured.Unstructured, wanted map[string]bool, changes []string) ([]string, error) {
	var crons batchv1.CronJobList
	labels := client.MatchingLabels{mondoo.LabelApp: mondoo.AppValue, mondoo.LabelScan: mondoo.ScanValue, mondoo.LabelAuditConfig: config.GetName()}
	if err := r.List(ctx, &crons, client.InNamespace(config.GetNamespace()), labels); err != nil {
		return changes, err
	}
	for i := range crons.Items {
		cron := &crons.Items[i]
		cluster := cron.Labels[mondoo.LabelCluster]
		if wanted[cluster] || !cron.DeletionTimestamp.IsZero() {
			continue
		}
		if err := r.deleteIngredients(ctx, config, cluster); err != nil {
			return changes, err
		}
		err := r.Delete(ctx, cron, client.PropagationPolicy(metav1.DeletePropagationBackground))
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return changes, err
		}
		changes = append(changes, "-"+cluster)
	}
	return changes, nil
}

// finalize deletes all CronJobs and removes the audit config's finalizer.
func (r *auditConfigs) finalize(ctx context.Context, config *unstructured.Unstructured) error {
	changes, err := r.prune(ctx, config, nil, nil)
	if len(changes) > 0 {
		r.tell("CronJobs: %s", strings.Join(changes, " "))
	}
	if err != nil || !controllerutil.RemoveFinalizer(config, Finalizer) {
		return err
	}
	return client.IgnoreNotFound(r.Update(ctx, config, fieldOwner))
}
