package scans

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

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// refusedPause is how long to wait after the API server has rejected a Job.
const refusedPause = time.Minute

// unseenTime is how long a created Job counts as running although no watch has shown it. Longer than that, it was deleted before.
const unseenTime = time.Minute

// due is a cluster that must be scanned because it changed.
type due struct {
	scanstate.Change
	config *config
}

// doneScans are the clusters that are no longer due for a scan.
type doneScans map[*config]map[string]bool

func (a doneScans) add(c *config, cluster string) {
	if a[c] == nil {
		a[c] = map[string]bool{}
	}
	a[c][cluster] = true
}

// scanChanged starts a scan of each changed cluster, once. The write that adds a change to the inventory also marks the cluster as due,
// and the mark is removed once the Job exists. The Job's name is derived from the change, so that after an interruption in between the
// existing Job is found. It returns when to look again even if nothing happens.
func (s *Observer) scanChanged(ctx context.Context, m *Memory, sync Sync, views []view) (notes report.ScanNotes, again time.Time) {
	done := doneScans{}
	on := sync.Spec.ScanOnChange.On()
	if on {
		notes, again = s.scanDue(ctx, m, sync, views, done)
	}
	for _, v := range views {
		if err := s.record(ctx, sync, v.config, done[v.config]); err != nil {
			again = sooner(again, s.options.Clock.Now().Add(time.Second)) // the Jobs exist, and the next attempt finds them
		}
		if on {
			notes.Due += len(v.config.due) - len(done[v.config])
		}
	}
	return notes, again
}

// scanDue creates the Jobs of clusters that are due.
func (s *Observer) scanDue(ctx context.Context, m *Memory, sync Sync, views []view, done doneScans) (notes report.ScanNotes, again time.Time) {
	ready, lost, running, again := candidates(views, done)
	notes.Lost = lost
	if len(ready) == 0 {
		return notes, again
	}
	slots := sync.Spec.ScanOnChange.AtOnce() - running - m.unseenJobs(views, s.options.Clock.Now())
	if !s.options.Clock.Now().Before(m.refused) {
		var err error
		if notes.Started, err = s.scanReady(ctx, m, sync, ready, slots, done); err != nil {
			m.refused, m.refusal = s.options.Clock.Now().Add(refusedPause), sync.Redact(err.Error())
		}
	}
	if s.options.Clock.Now().Before(m.refused) {
		notes.Refused, again = m.refusal, sooner(again, m.refused)
	}
	if len(ready) > len(notes.Started) {
		for _, at := range m.started {
			again = sooner(again, at.Add(unseenTime)) // when its slot is free
		}
	}
	return notes, again
}

// scanReady creates the Jobs of as many changes as there are free slots. It stops at the first rejected Job.
func (s *Observer) scanReady(ctx context.Context, m *Memory, sync Sync, ready []due, slots int, done doneScans) (started []string, err error) {
	for _, d := range ready {
		if slots <= 0 {
			break
		}
		job, err := s.scanNow(ctx, sync, d)
		if err != nil {
			return started, err
		}
		if job == "" {
			continue
		}
		slots--
		m.started[job] = s.options.Clock.Now()
		started = append(started, d.Cluster)
		done.add(d.config, d.Cluster)
	}
	return started, nil
}

// unseenJobs returns how many recently created Jobs the watch has not shown yet.
func (m *Memory) unseenJobs(views []view, now time.Time) int {
	if m.started == nil {
		m.started = map[string]time.Time{}
	}
	for _, v := range views {
		for i := range v.input.Jobs {
			delete(m.started, v.input.Jobs[i].Name)
		}
	}
	maps.DeleteFunc(m.started, func(_ string, at time.Time) bool { return now.Sub(at) >= unseenTime })
	return len(m.started)
}

// candidates returns the clusters that can be scanned now, the oldest change first, and those whose Jobs were all deleted. It adds the
// latter, and clusters that have been scanned in the meantime, to done.
func candidates(views []view, done doneScans) (ready []due, lost []string, running int, again time.Time) {
	for _, v := range views {
		changes := scanstate.OnChange(v.input, v.config.due)
		running += changes.Running
		again = sooner(again, changes.Next)
		for _, cluster := range changes.Scanned {
			done.add(v.config, cluster)
		}
		for _, cluster := range changes.Lost {
			done.add(v.config, cluster)
			lost = append(lost, cluster)
		}
		for _, change := range changes.Ready {
			ready = append(ready, due{change, v.config})
		}
	}
	slices.SortStableFunc(ready, func(a, b due) int {
		return cmp.Or(a.Applied.Compare(b.Applied), strings.Compare(a.Cluster, b.Cluster))
	})
	return ready, lost, running, again
}

// scanNow creates the Job of a change and returns its name. It returns no name if the CronJob is no longer the one that was seen; the
// watch will show the new one.
func (s *Observer) scanNow(ctx context.Context, sync Sync, d due) (job string, err error) {
	cron := &batchv1.CronJob{}
	// Read from the API server, because the caches drop the template.
	err = s.options.Live.Get(ctx, types.NamespacedName{Namespace: sync.Namespace, Name: d.CronJob}, cron)
	if apierrors.IsNotFound(err) || err == nil && (cron.UID != d.UID || cron.DeletionTimestamp != nil || cron.Spec.Suspend != nil && *cron.Spec.Suspend) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("get CronJob %s: %w", d.CronJob, err)
	}
	c, err := s.options.Writer(sync.AuditSync)
	if err != nil {
		return "", err
	}
	created := jobOf(cron, d.config.name, d.config.items[d.Cluster], d.Again)
	err = c.Create(ctx, created, client.FieldOwner(plan.FieldManager))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("create a Job from CronJob %s: %w", cron.Name, err)
	}
	return created.Name, nil
}

// jobOf returns the Job of a change, as kubectl create job --from would create it from the CronJob. It has the CronJob's template, and
// the CronJob as its owner, so that the CronJob's history limits clean it up. As with kubectl, it does not block the owner's deletion,
// which would need another permission. It has Muster's labels instead of the operator's, because the operator deletes Jobs that have
// its labels, even before they start.
func jobOf(cron *batchv1.CronJob, auditConfig string, item *inventory.Item, again int) *batchv1.Job {
	annotations := maps.Clone(cron.Spec.JobTemplate.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[scanstate.Instantiate] = scanstate.Manual
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: jobName(cron.Name, item, again), Namespace: cron.Namespace, Annotations: annotations,
			Labels: map[string]string{scanstate.LabelAuditConfig: auditConfig, scanstate.LabelCluster: item.Name},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "CronJob",
				Name: cron.Name, UID: cron.UID, Controller: new(true)}}},
		Spec: *cron.Spec.JobTemplate.Spec.DeepCopy(),
	}
}

// jobName returns the name of a change's Job. It is the same for the same change, and differs after a commit is reverted or a previous Job
// was deleted. A CronJob's name has at most 52 characters, which leaves 11 of the 63 that a label value may have.
func jobName(cronJob string, item *inventory.Item, again int) string {
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

// record records in the inventory which clusters are no longer due, and which changes the operator has picked up. To save writes, it
// records the latter only together with the former, or once the operator has picked up all changes.
func (s *Observer) record(ctx context.Context, sync Sync, c *config, done map[string]bool) error {
	if len(done) == 0 && (len(c.taken) == 0 || c.awaited > 0) {
		return nil
	}
	taken := maps.Clone(c.taken)
	maps.DeleteFunc(taken, func(cluster string, _ time.Time) bool { return c.due[cluster] && !done[cluster] })
	applied := c.inventory.ScanAsked(done, taken)
	if applied == nil {
		return nil
	}
	return s.options.Record(ctx, sync.Namespace, applied)
}
