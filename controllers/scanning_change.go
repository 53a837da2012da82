package controllers

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scan"
)

// refusedPause is how long to wait after the API server has refused a Job.
const refusedPause = time.Minute

// due is a cluster that is to be scanned because it has changed.
type due struct {
	scan.Change
	config *driven
}

// asked are clusters that nothing is due for any more.
type asked map[*driven]map[string]bool

func (a asked) add(config *driven, cluster string) {
	if a[config] == nil {
		a[config] = map[string]bool{}
	}
	a[config][cluster] = true
}

// scanChanged has changed clusters scanned, each once: what is due is in the inventories, where it came by the same write that
// tells of the change, and from where it goes once the Job is there. The Job's name is made from the change, so that a run
// which is cut off in between finds it. It returns when to look again though nothing happens.
func (r *Reconciler) scanChanged(ctx context.Context, audit *v1alpha1.AuditSync, st *state, looks []look, o *report.Outcome) time.Time {
	done := asked{}
	var again time.Time
	if audit.Spec.ScanOnChange.On() {
		again = r.scanDue(ctx, audit, st, looks, done, o)
	}
	for _, l := range looks {
		if err := r.noteScans(ctx, audit, l.config, done[l.config]); err != nil {
			again = sooner(again, r.Clock.Now().Add(time.Second)) // the Jobs are there, and are found to be
		}
		if audit.Spec.ScanOnChange.On() {
			o.ScanNotes.Due += len(l.config.due) - len(done[l.config])
		}
	}
	return again
}

// scanDue makes the Jobs for changes that are due.
func (r *Reconciler) scanDue(ctx context.Context, audit *v1alpha1.AuditSync, st *state, looks []look, done asked, o *report.Outcome) time.Time {
	ready, running, again := candidates(looks, done, o)
	if len(ready) == 0 {
		return again
	}
	places := audit.Spec.ScanOnChange.AtOnce() - running - st.unseenJobs(looks, r.Clock.Now())
	if !r.Clock.Now().Before(st.scansRefused) {
		var err error
		if o.ScanNotes.Started, err = r.scanReady(ctx, audit, st, ready, places, done); err != nil {
			st.scansRefused, st.scansRefusal = r.Clock.Now().Add(refusedPause), st.redactor.String(err.Error())
		}
	}
	if r.Clock.Now().Before(st.scansRefused) {
		o.ScanNotes.Refused, again = st.scansRefusal, sooner(again, st.scansRefused)
	}
	return again
}

// scanReady makes the Jobs of as many changes as there are places, up to the first that is refused.
func (r *Reconciler) scanReady(ctx context.Context, audit *v1alpha1.AuditSync, st *state, ready []due, places int, done asked) (started []string, err error) {
	for _, d := range ready {
		if places <= 0 {
			break
		}
		job, err := r.scanNow(ctx, audit, d)
		if err != nil {
			return started, err
		}
		if job == "" {
			continue
		}
		places--
		st.startedJobs[job] = r.Clock.Now()
		started = append(started, d.Cluster)
		done.add(d.config, d.Cluster)
	}
	return started, nil
}

// unseenJobs is how many of the Jobs that were made a moment ago have not come to be seen yet.
func (st *state) unseenJobs(looks []look, now time.Time) int {
	if st.startedJobs == nil {
		st.startedJobs = map[string]time.Time{}
	}
	for _, l := range looks {
		for i := range l.input.Jobs {
			delete(st.startedJobs, l.input.Jobs[i].Name)
		}
	}
	// One that is never seen was deleted before it could be.
	maps.DeleteFunc(st.startedJobs, func(_ string, at time.Time) bool { return now.Sub(at) > time.Minute })
	return len(st.startedJobs)
}

// candidates are the clusters that may be scanned now, the change that is oldest first. Those that have been scanned
// meanwhile are no longer due.
func candidates(looks []look, done asked, o *report.Outcome) (ready []due, running int, again time.Time) {
	for _, l := range looks {
		changes := scan.OnChange(l.input, l.config.due)
		running += changes.Running
		again = sooner(again, changes.Next)
		for _, cluster := range changes.Scanned {
			done.add(l.config, cluster)
		}
		for _, cluster := range changes.Lost {
			done.add(l.config, cluster)
			o.ScanNotes.Lost = append(o.ScanNotes.Lost, cluster)
		}
		for _, change := range changes.Ready {
			ready = append(ready, due{change, l.config})
		}
	}
	slices.SortStableFunc(ready, func(a, b due) int {
		return cmp.Or(a.Applied.Compare(b.Applied), strings.Compare(a.Cluster, b.Cluster))
	})
	return ready, running, again
}

// scanNow makes the Job of a change and returns its name: none where the CronJob is not the one that was seen, for what is
// there now will be seen.
func (r *Reconciler) scanNow(ctx context.Context, audit *v1alpha1.AuditSync, d due) (job string, err error) {
	cron := &batchv1.CronJob{}
	// Past the caches, which don't keep the template.
	err = r.Live.Get(ctx, types.NamespacedName{Namespace: audit.Namespace, Name: d.CronJob}, cron)
	if apierrors.IsNotFound(err) || err == nil && (cron.UID != d.UID || cron.DeletionTimestamp != nil || cron.Spec.Suspend != nil && *cron.Spec.Suspend) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("get CronJob %s: %w", d.CronJob, err)
	}
	c := r.Client
	if name := audit.Spec.ServiceAccountName; name != "" {
		if c, err = r.As(audit.Namespace, name); err != nil {
			return "", err
		}
	}
	made := jobOf(cron, d.config.name, d.config.items[d.Cluster], d.Again)
	err = c.Create(ctx, made, client.FieldOwner(FieldManager))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("create a Job from CronJob %s: %w", cron.Name, err)
	}
	return made.Name, nil
}

// jobOf is the Job of a change, as kubectl create job --from makes it of a CronJob: the template as it stands, and the CronJob
// as its owner, whose history limits clean it up. Like there, the owner's deletion is not blocked, which would take a right. Its
// labels are Muster's own: the operator deletes Jobs that it finds by its own labels, also before they have begun.
func jobOf(cron *batchv1.CronJob, auditConfig string, item *plan.Item, again int) *batchv1.Job {
	annotations := maps.Clone(cron.Spec.JobTemplate.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[scan.Instantiate] = scan.Manual
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: jobName(cron.Name, item, again), Namespace: cron.Namespace, Annotations: annotations,
			Labels: map[string]string{scan.LabelAuditConfig: auditConfig, scan.LabelCluster: item.Name},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "CronJob",
				Name: cron.Name, UID: cron.UID, Controller: new(true)}}},
		Spec: *cron.Spec.JobTemplate.Spec.DeepCopy(),
	}
}

// jobName is that of the Job of a change: the same for the same change, and another when a commit is reverted, or when the Job before
// it was deleted. Kubernetes cuts
// nothing off a CronJob's 52 characters, which leaves 11 of the 63 that a label value may have.
func jobName(cronJob string, item *plan.Item, again int) string {
	const most, digits = 52, 10
	if len(cronJob) > most {
		cronJob = cronJob[:most]
	}
	change := []string{item.Name, item.Commit, item.Hash, item.Applied.UTC().Format(time.RFC3339)}
	if again > 0 {
		change = append(change, strconv.Itoa(again))
	}
	sum := sha256.Sum256([]byte(strings.Join(change, "\x00")))
	return strings.TrimRight(cronJob, "-.") + "-" + hex.EncodeToString(sum[:])[:digits]
}

// noteScans notes in the inventory that clusters are no longer due, and which were taken over. That makes few writes: the second
// waits for the first, or until the operator has taken over all. A newer inventory is not overwritten.
func (r *Reconciler) noteScans(ctx context.Context, audit *v1alpha1.AuditSync, c *driven, done map[string]bool) error {
	if len(done) == 0 && (len(c.taken) == 0 || c.awaited > 0) {
		return nil
	}
	taken := maps.Clone(c.taken)
	maps.DeleteFunc(taken, func(cluster string, _ time.Time) bool { return c.due[cluster] && !done[cluster] })
	inventory := c.inventory.ScanAsked(done, taken)
	if inventory == nil {
		return nil
	}
	config, err := inventoryConfig(audit.Namespace, inventory)
	if err != nil {
		return err
	}
	return r.Client.Apply(ctx, config, client.FieldOwner(FieldManager), client.ForceOwnership)
}
