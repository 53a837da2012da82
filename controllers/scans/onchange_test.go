package scans

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// changing is an audit config with changed clusters, and what an Observer does about them.
type changing struct {
	*testing.T
	*Observer
	clock    *clocktesting.FakeClock
	config   *config
	observed scanstate.Observed
	memory   Memory
	sync     Sync
	// cron changes the CronJob that is read live, or fails the read. exists has the API server hold each Job already.
	cron   func(*batchv1.CronJob) error
	exists bool
	// created are the clusters of created Jobs, and recorded the written inventories.
	created  []string
	recorded []*inventory.Inventory
}

// newChanging has clusters that are due, the first changed last.
func newChanging(t *testing.T, clusters ...string) *changing {
	t.Helper()
	h := &changing{T: t, clock: clocktesting.NewFakeClock(time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC))}
	h.Observer = newTestObserver(t, h.clock)
	h.options.Live = liveCronJobs{h: h}
	h.options.Writer = func(*v1alpha1.AuditSync) (client.Client, error) { return createdJobs{h: h}, nil }
	h.options.Record = func(_ context.Context, _ string, i *inventory.Inventory) error {
		h.recorded = append(h.recorded, i)
		return nil
	}
	h.config = &config{name: "m", inventory: &inventory.Inventory{AuditConfig: "m"}, items: map[string]*inventory.Item{}, due: map[string]bool{}, taken: map[string]time.Time{}}
	for i, name := range clusters {
		item := inventory.Item{Name: name, ScanDue: true, Applied: h.clock.Now().Add(-time.Duration(i+1) * time.Hour)}
		h.config.inventory.Clusters = append(h.config.inventory.Clusters, item)
		h.config.items[name], h.config.due[name] = &item, true
		h.config.entries = append(h.config.entries, scanstate.Entry{Name: name, Applied: item.Applied})
		h.observed.CronJobs = append(h.observed.CronJobs, scanstate.CronJob{Name: "scan-" + name, UID: types.UID(name), Cluster: name, Schedule: "0 0 1 1 *"})
	}
	h.sync = Sync{AuditSync: &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}}, Redact: strings.ToUpper}
	h.sync.Spec.ScanOnChange.Concurrency = 2
	return h
}

// look has the Observer start scans, and compares the clusters of all Jobs that were created.
func (h *changing) look(reason, created string) (report.ScanNotes, time.Time) {
	h.Helper()
	v := view{config: h.config, input: scanstate.Input{Now: h.clock.Now(), Entries: h.config.entries, AuditConfig: "m", Observed: h.observed}}
	notes, again := h.scanChanged(h.Context(), &h.memory, h.sync, []view{v})
	for _, cluster := range notes.Started {
		h.config.due[cluster] = false // as the recorded inventory says
	}
	if got := strings.Join(h.created, " "); got != created {
		h.Errorf("%s: created %q, want %q", reason, got, created)
	}
	return notes, again
}

// seen has the watch show the Jobs of clusters.
func (h *changing) seen(outcome scanstate.Outcome, clusters ...string) {
	h.observed.Jobs = nil
	for _, name := range clusters {
		h.observed.Jobs = append(h.observed.Jobs, scanstate.Job{Name: jobName("scan-"+name, h.config.items[name], 0), Cluster: name, Owner: types.UID(name),
			Created: h.clock.Now(), Outcome: outcome, Finished: h.clock.Now(), Manual: true, Own: true})
	}
}

// liveCronJobs reads the CronJobs of a test.
type liveCronJobs struct {
	client.Reader
	h *changing
}

func (l liveCronJobs) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	cron := object.(*batchv1.CronJob)
	*cron = batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: key.Name, UID: types.UID(strings.TrimPrefix(key.Name, "scan-"))}}
	if l.h.cron != nil {
		return l.h.cron(cron)
	}
	return nil
}

// createdJobs creates the Jobs of a test.
type createdJobs struct {
	client.Client
	h *changing
}

func (c createdJobs) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	c.h.created = append(c.h.created, object.GetLabels()[scanstate.LabelCluster])
	if c.h.exists {
		return apierrors.NewAlreadyExists(schema.GroupResource{Resource: "jobs"}, object.GetName())
	}
	return nil
}

// TestAFewAtATime: no more Jobs than allowed, whether the watch has shown them or not, and the oldest change first.
func TestAFewAtATime(t *testing.T) {
	h := newChanging(t, "a", "b", "c")
	if notes, _ := h.look("at first", "c b"); notes.Due != 1 || len(notes.Started) != 2 {
		t.Errorf("notes %+v", notes)
	}
	h.clock.Step(30 * time.Second)
	h.look("the Jobs aren't seen yet", "c b")
	h.seen(scanstate.Active, "b", "c")
	h.look("they run", "c b")
	h.seen(scanstate.Complete, "b", "c")
	h.look("they have ended", "c b a")

	h = newChanging(t, "a", "b", "c")
	_, again := h.look("at first", "c b")
	if wait := again.Sub(h.clock.Now()); wait != unseenTime {
		t.Errorf("the next look is in %s: by then the slots of unseen Jobs must be free", wait)
	}
	h.clock.SetTime(again)
	h.look("Jobs that were never seen are deleted", "c b a")
}

// TestCronJobMeanwhile: a Job is created only from the CronJob that was seen, and one that exists is as good.
func TestCronJobMeanwhile(t *testing.T) {
	gone := apierrors.NewNotFound(schema.GroupResource{Resource: "cronjobs"}, "scan-a")
	for _, row := range []struct {
		reason  string
		cron    func(*batchv1.CronJob) error
		created string
		refused string
	}{
		{"as it was", nil, "a", ""},
		{"it is gone", func(*batchv1.CronJob) error { return gone }, "", ""},
		{"another of its name", func(c *batchv1.CronJob) error { c.UID = "2"; return nil }, "", ""},
		{"being deleted", func(c *batchv1.CronJob) error { c.DeletionTimestamp = new(metav1.Now()); return nil }, "", ""},
		{"suspended", func(c *batchv1.CronJob) error { c.Spec.Suspend = new(true); return nil }, "", ""},
		{"not suspended", func(c *batchv1.CronJob) error { c.Spec.Suspend = new(false); return nil }, "a", ""},
		{"it can't be read", func(*batchv1.CronJob) error { return errors.New("down") }, "", "GET CRONJOB SCAN-A: DOWN"},
	} {
		h := newChanging(t, "a")
		h.cron = row.cron
		notes, again := h.look(row.reason, row.created)
		if len(notes.Started) != len(row.created) || notes.Refused != row.refused || len(h.recorded) != len(row.created) || again.IsZero() != (row.refused == "") {
			t.Errorf("%s: %+v, %d recorded, again at %s", row.reason, notes, len(h.recorded), again)
		}
	}
	h := newChanging(t, "a")
	h.exists = true
	if notes, _ := h.look("its Job exists", "a"); len(notes.Started) != 1 || notes.Refused != "" || len(h.recorded) != 1 || h.recorded[0].Clusters[0].ScanDue {
		t.Errorf("%+v, recorded %+v", notes, h.recorded)
	}
}

// TestRecord: when it is recorded which changes the operator has picked up.
func TestRecord(t *testing.T) {
	at := time.Date(2026, 3, 3, 11, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		reason string
		// due and taken are the clusters that are due, and that the operator has picked up. awaited is how many changes it has not picked up.
		due, taken string
		awaited    int
		// left and picked are the clusters that the record has as due and as picked up; "no record" if there is none.
		left, picked string
	}{
		{reason: "nothing has happened", due: "a b", left: "no record"},
		{reason: "the operator has picked up all changes that aren't due", due: "b", taken: "a b", left: "b", picked: "a"},
		{reason: "it has picked up one of two", due: "b", taken: "a", awaited: 1, left: "no record"},
		{reason: "it has picked up what is due", due: "a b", taken: "a b", left: "no record"},
	} {
		h := newChanging(t, "a", "b")
		h.config.awaited = row.awaited
		for i, name := range []string{"a", "b"} {
			h.config.due[name] = strings.Contains(row.due, name)
			h.config.inventory.Clusters[i].ScanDue = h.config.due[name]
			if strings.Contains(row.taken, name) {
				h.config.taken[name] = at
			}
			h.observed.CronJobs[i].Suspended = true
		}
		h.look(row.reason, "")
		var left, picked []string
		if len(h.recorded) == 0 {
			left = []string{"no record"}
		} else {
			for _, item := range h.recorded[0].Clusters {
				if item.ScanDue {
					left = append(left, item.Name)
				}
				if !item.Taken.IsZero() {
					picked = append(picked, item.Name)
				}
			}
		}
		if strings.Join(left, " ") != row.left || strings.Join(picked, " ") != row.picked {
			t.Errorf("%s: due %q, picked up %q", row.reason, left, picked)
		}
	}
}
