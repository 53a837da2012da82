package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// fieldOwner is who the stand-in says that it is.
const fieldOwner = client.FieldOwner("stand-in-operator")

var auditConfigKind = schema.GroupVersionKind{Group: mondoo.Group, Version: mondoo.Version, Kind: mondoo.Kind}

func newAuditConfig() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(auditConfigKind)
	return o
}

// auditConfigs is the part of the stand-in that does what the operator does. One worker runs it.
type auditConfigs struct {
	client.Client
	scenarios *scenarios
	tell      func(format string, args ...any)
	stopped   map[string]string // by audit config, the last stop that was told
}

// stop is an entry that the operator can't use.
type stop struct{ entry, why string }

func (s *stop) Error() string { return "stops at the entry " + s.entry + ": " + s.why }

// Reconcile works through the entries of one audit config.
func (r *auditConfigs) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	scenario, err := r.scenarios.now(ctx)
	if err != nil || scenario.Broken {
		return ctrl.Result{}, err
	}
	config := newAuditConfig()
	if err := r.Get(ctx, req.NamespacedName, config); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !config.GetDeletionTimestamp().IsZero() {
		return ctrl.Result{}, r.finalize(ctx, config)
	}
	if rewrite(config) {
		// A plain update, which goes wrong when somebody else has been faster, and is then made again.
		if err := r.Update(ctx, config, fieldOwner); err != nil {
			return ctrl.Result{}, err
		}
	}
	if err := r.pause(ctx, config, scenario.Paused); err != nil {
		return ctrl.Result{}, err
	}
	changes, err := r.entries(ctx, config, scenario)
	if len(changes) > 0 {
		r.tell("CronJobs: %s", strings.Join(changes, " "))
	}
	if stopped, ok := errors.AsType[*stop](err); ok {
		// It would try again at growing intervals; here nothing changes by itself, and a change is an event.
		if r.stopped[req.Name] != stopped.Error() {
			r.tell("%v", stopped)
		}
		r.stopped[req.Name] = stopped.Error()
		return ctrl.Result{}, nil
	}
	delete(r.stopped, req.Name)
	return ctrl.Result{}, err
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

// entries makes the CronJobs in the order of the entries, and only then removes those of entries that are gone. Changes have
// the signs of muster plan.
func (r *auditConfigs) entries(ctx context.Context, config *unstructured.Unstructured, scenario Scenario) (changes []string, err error) {
	list, err := mondoo.Entries(config.Object)
	if err != nil {
		return nil, err
	}
	wanted := map[string]int{}
	for i, raw := range list {
		name, _ := raw["name"].(string)
		wanted[name] = i
	}
	for i, raw := range list {
		entry, err := mondoo.ParseEntry(raw)
		if err != nil {
			return changes, &stop{fmt.Sprint(raw["name"]), err.Error()}
		}
		why := refused(entry)
		if scenario.Clusters[entry.Name] == Refuse {
			why = "the login to Vault fails, says the scenario"
		}
		if why != "" {
			return changes, &stop{entry.Name, why}
		}
		if wanted[entry.Name] != i {
			continue // a later entry of this name overwrites what this one would make
		}
		sign, err := r.ensure(ctx, cronJob(config, entry, scenario.Paused))
		if apierrors.IsInvalid(err) {
			return changes, &stop{entry.Name, "the API server refuses its CronJob: " + err.Error()}
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

// ensure makes or changes a CronJob. A changed one loses its finished Jobs.
func (r *auditConfigs) ensure(ctx context.Context, wanted *batchv1.CronJob) (sign string, err error) {
	live := &batchv1.CronJob{}
	err = r.Get(ctx, client.ObjectKeyFromObject(wanted), live)
	if apierrors.IsNotFound(err) {
		return "+", r.Create(ctx, wanted, fieldOwner)
	}
	if err != nil || live.Annotations[annotationWanted] == wanted.Annotations[annotationWanted] {
		return "", err
	}
	live.Spec, live.Annotations, live.Labels = wanted.Spec, wanted.Annotations, wanted.Labels
	if err := r.Update(ctx, live, fieldOwner); err != nil {
		return "", err
	}
	return "~", r.deleteFinished(ctx, live)
}

func (r *auditConfigs) deleteFinished(ctx context.Context, cron *batchv1.CronJob) error {
	var jobs batchv1.JobList
	if err := r.List(ctx, &jobs, client.InNamespace(cron.Namespace), client.MatchingLabels(cron.Labels)); err != nil {
		return err
	}
	var errs []error
	for i := range jobs.Items {
		if job := &jobs.Items[i]; finished(job) {
			errs = append(errs, client.IgnoreNotFound(r.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground))))
		}
	}
	return errors.Join(errs...)
}

func finished(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == "True"
	})
}

// prune deletes the CronJobs of entries that aren't wanted.
func (r *auditConfigs) prune(ctx context.Context, config *unstructured.Unstructured, wanted map[string]int, changes []string) ([]string, error) {
	var crons batchv1.CronJobList
	labels := client.MatchingLabels{mondoo.LabelApp: mondoo.AppValue, mondoo.LabelScan: mondoo.ScanValue, mondoo.LabelAuditConfig: config.GetName()}
	if err := r.List(ctx, &crons, client.InNamespace(config.GetNamespace()), labels); err != nil {
		return changes, err
	}
	for i := range crons.Items {
		cron := &crons.Items[i]
		cluster := cron.Labels[mondoo.LabelCluster]
		if _, stays := wanted[cluster]; stays || !cron.DeletionTimestamp.IsZero() {
			continue
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

// finalize deletes all CronJobs and lets the audit config go.
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
