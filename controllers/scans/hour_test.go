package scans

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// hour plays an hour of a fleet, second by second, with the parts that the operator, Kubernetes' controllers and the kubelet have
// in it, and holds what is derived to what happened.
type hour struct {
	*testing.T
	*rand.Rand
	clock  *clocktesting.FakeClock
	watch  *Observer
	config *config

	clusters map[string]*playedCluster
	order    []string
	ledger   []*playedScan
	sealed   bool
	due      bool         // whether the operator has something to look at
	events   [6][]delayed // by the index of watch.kinds
	changes  []commitment
	uids     int
}

// playedCluster is what there is of a cluster.
type playedCluster struct {
	name        string
	kind        string // sa, kc or vault
	rare        bool   // whether its schedule starts nothing within the hour
	wanted, has int    // versions of the entry: applied, and taken over by the operator
	secret      int    // version of its Secret
	cron        *batchv1.CronJob
	jobs        map[string]*batchv1.Job
	scans       []*playedScan // its part of the ledger
	shown       []string      // the states that were reported, each as often as it came anew
	shownAt     []time.Time
	failing     bool
}

// playedScan is what the kubelet notes of a Job.
type playedScan struct {
	cluster, job                    string
	own                             bool
	created, began, ends, over      time.Time // zero where it hasn't come to that
	fails, succeeded, failed, ended bool
	version, secret                 int // that it ran with
	told                            bool
}

type delayed struct {
	at      time.Time
	deliver func() error
}

// commitment is a change of an entry or of its Secret, for which a scan is due.
type commitment struct {
	cluster         string
	at              time.Time
	version, secret int
	lost            bool // whether somebody deletes each of its Jobs
	scanned, told   bool
}

const hourOfMinutes = 60

// hours is how many hours TestAnHour plays, each with a seed of its own.
var hours = flag.Uint64("hours", 1, "how many hours TestAnHour plays")

// TestAnHour: 40 service account clusters, 10 of kubeconfigs and 5 of Vault, every minute but for 4 of them.
func TestAnHour(t *testing.T) {
	for seed := range *hours {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { playHour(t, seed) })
	}
}

func playHour(t *testing.T, seed uint64) {
	h := newHour(t, seed)
	start := h.clock.Now()
	for second := range hourOfMinutes * 60 {
		now := start.Add(time.Duration(second) * time.Second)
		h.clock.SetTime(now)
		h.sealed = second >= 600 && second < 1200 || second >= 2400 && second < 2700
		if second == 1200 || second == 2700 || second == 1800 {
			h.due = true // it tries again, and renews what it has of Vault
		}
		switch second {
		case 300, 700, 2450: // a service account cluster behind Vault's, one of a kubeconfig, and one of Vault's itself
			h.change("sa-30", true, false)
			h.change("kc-03", true, false)
			h.change("vault-2", true, false)
			h.change("sa-02", true, false)
		case 1500:
			h.change("sa-05", false, false)
			h.change("vault-1", false, false)
			h.change("sa-33", true, true)
		}
		h.cronJobController(second)
		h.jobController()
		h.kubelet()
		h.operator()
		h.deliver()
		h.look()
	}
	h.judge()
}

func newHour(t *testing.T, seed uint64) *hour {
	h := &hour{T: t, Rand: rand.New(rand.NewPCG(seed, 7)), clock: clocktesting.NewFakeClock(time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)), clusters: map[string]*playedCluster{}, due: true}
	h.watch = newTestObserver(t, h.clock)
	rare := []string{"sa-02", "sa-33", "vault-2", "kc-03"}
	add := func(kind, format string, from, to int) {
		for i := from; i < to; i++ {
			name := fmt.Sprintf(format, i)
			h.order = append(h.order, name)
			h.clusters[name] = &playedCluster{name: name, kind: kind, rare: slices.Contains(rare, name), jobs: map[string]*batchv1.Job{}}
		}
	}
	add("sa", "sa-%02d", 0, 20)
	add("vault", "vault-%d", 0, 5)
	add("sa", "sa-%02d", 20, 40)
	add("kc", "kc-%02d", 0, 10)
	h.config = &config{name: "m", items: map[string]*inventory.Item{}, due: map[string]bool{}, scanned: map[string]bool{}, taken: map[string]time.Time{}}
	for _, name := range h.order {
		item := &inventory.Item{Name: name, Hash: "0", Applied: h.clock.Now(), Changed: h.clock.Now()}
		h.config.items[name] = item
		h.config.entries = append(h.config.entries, scanstate.Entry{Name: name, Vault: h.clusters[name].kind == "vault", Applied: item.Applied, Changed: item.Changed})
	}
	return h
}

// change changes the entry of a cluster, or its Secret alone, and has a scan due.
func (h *hour) change(cluster string, entry, lost bool) {
	c, now := h.clusters[cluster], h.clock.Now()
	item := *h.config.items[cluster]
	i := slices.IndexFunc(h.config.entries, func(e scanstate.Entry) bool { return e.Name == cluster })
	item.Hash, item.Applied = item.Hash+"x", now
	h.config.entries[i].Applied = now
	if c.secret++; entry {
		c.wanted++
		item.Changed = now
		h.config.entries[i].Changed, h.config.entries[i].Taken = now, time.Time{}
		delete(h.config.taken, cluster)
		h.due = true
	}
	h.config.items[cluster] = &item
	h.config.due[cluster] = true
	delete(h.config.scanned, cluster)
	h.changes = append(h.changes, commitment{cluster: cluster, at: now, version: c.wanted, secret: c.secret, lost: lost})
}

func (h *hour) uid() types.UID {
	h.uids++
	return types.UID(fmt.Sprint(h.uids))
}

// emit has a watch of a kind tell of an object, up to two seconds later than it is so, and in its order.
func (h *hour) emit(kind int, o client.Object, gone bool) {
	at := h.clock.Now().Add(time.Duration(h.IntN(3)) * time.Second)
	if queue := h.events[kind]; len(queue) > 0 && queue[len(queue)-1].at.After(at) {
		at = queue[len(queue)-1].at
	}
	if kind == 2 {
		at = h.clock.Now() // a Job's end is written to its Pod long before
	}
	o, store := o.DeepCopyObject().(client.Object), h.watch.kinds[kind].store
	h.events[kind] = append(h.events[kind], delayed{at, func() error {
		if gone {
			return store.Delete(o)
		}
		return store.Update(o)
	}})
}

func (h *hour) deliver() {
	for kind, queue := range h.events {
		for len(queue) > 0 && !queue[0].at.After(h.clock.Now()) {
			must(h.T, queue[0].deliver())
			queue = queue[1:]
		}
		h.events[kind] = queue
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func now(h *hour) *metav1.Time { return new(metav1.NewTime(h.clock.Now())) }

// operator works through the entries, up to the first whose login to Vault fails.
func (h *hour) operator() {
	if !h.due {
		return
	}
	h.due = false
	write := func(kind int, name string) {
		h.emit(kind, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, CreationTimestamp: *now(h)}}, false)
	}
	for _, name := range h.order {
		c := h.clusters[name]
		if c.kind == "vault" && h.sealed {
			return
		}
		if c.kind == "vault" {
			write(5, "m-vault-kubeconfig-"+name)
		}
		fresh := c.cron == nil || c.has != c.wanted
		if c.cron == nil {
			c.cron = &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "scan-" + name, UID: h.uid(), CreationTimestamp: *now(h), Labels: mondoo.ScanLabels("m", name)},
				Spec: batchv1.CronJobSpec{Schedule: "* * * * *"}}
			if c.rare {
				c.cron.Spec.Schedule = "0 0 1 1 *"
			}
			write(4, "m-k8s-inventory-"+name)
			h.emit(0, c.cron, false)
		} else if fresh && c.kind != "vault" {
			write(4, "m-k8s-inventory-"+name)
		}
		if c.has = c.wanted; fresh || c.kind == "sa" {
			for _, job := range h.sorted(c) {
				if job.Status.Active == 0 && job.Labels[mondoo.LabelCluster] == name {
					h.remove(c, job)
				}
			}
		}
	}
}

func (h *hour) sorted(c *playedCluster) (jobs []*batchv1.Job) {
	for _, name := range slices.Sorted(maps.Keys(c.jobs)) {
		jobs = append(jobs, c.jobs[name])
	}
	return jobs
}

// remove deletes a Job, with its Pod.
func (h *hour) remove(c *playedCluster, job *batchv1.Job) {
	delete(c.jobs, job.Name)
	kind := 1
	if job.Labels[scanstate.LabelCluster] != "" {
		kind = 3
	}
	h.emit(kind, job, true)
	if s := h.of(job.Name); !s.ended {
		s.ended, s.over = true, h.clock.Now()
	}
	phase := corev1.PodRunning
	if h.of(job.Name).failed {
		phase = corev1.PodFailed // an object that goes is told of as it was
	}
	h.emit(2, pod(job, phase), true)
}

func (h *hour) of(job string) *playedScan {
	return h.ledger[slices.IndexFunc(h.ledger, func(s *playedScan) bool { return s.job == job })]
}

func pod(job *batchv1.Job, phase corev1.PodPhase) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: job.Name + "-pod", CreationTimestamp: job.CreationTimestamp, Labels: mondoo.ScanLabels("m", job.Annotations["of"])},
		Status: corev1.PodStatus{Phase: phase}}
	p.Labels[batchv1.JobNameLabel] = job.Name
	if phase == corev1.PodFailed {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "scan", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}}}}
	}
	return p
}

// cronJobController starts scans at full minutes, a moment late, and follows what becomes of them.
func (h *hour) cronJobController(second int) {
	for i, name := range h.order {
		c := h.clusters[name]
		if c.cron == nil {
			continue
		}
		before := c.cron.DeepCopy()
		if c.cron.Status.Active != nil {
			id := c.cron.Status.Active[0]
			if job := c.jobs[id.Name]; job == nil || len(job.Status.Conditions) > 0 {
				c.cron.Status.Active = nil
			}
		}
		for _, job := range h.sorted(c) {
			if at := job.Status.CompletionTime; at != nil && (c.cron.Status.LastSuccessfulTime == nil || at.After(c.cron.Status.LastSuccessfulTime.Time)) {
				c.cron.Status.LastSuccessfulTime = at
			}
		}
		if second%60 == i%3 && c.cron.Status.Active == nil && !c.rare {
			job := h.job(c, fmt.Sprintf("scan-%s-%d", name, second/60), mondoo.ScanLabels("m", name))
			c.cron.Status.Active = []corev1.ObjectReference{{Name: job.Name, UID: job.UID}}
			c.cron.Status.LastScheduleTime = new(metav1.NewTime(h.clock.Now().Truncate(time.Minute)))
		}
		h.history(c)
		if fmt.Sprint(before.Status) != fmt.Sprint(c.cron.Status) {
			h.emit(0, c.cron, false)
			h.due = true
		}
	}
}

// history keeps one success and one failure.
func (h *hour) history(c *playedCluster) {
	for _, kind := range []batchv1.JobConditionType{batchv1.JobComplete, batchv1.JobFailed} {
		var list []*batchv1.Job
		for _, job := range h.sorted(c) {
			if len(job.Status.Conditions) > 0 && job.Status.Conditions[0].Type == kind {
				list = append(list, job)
			}
		}
		slices.SortFunc(list, func(a, b *batchv1.Job) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
		for i, job := range list {
			if i > 0 {
				h.remove(c, job)
			}
		}
	}
}

func (h *hour) job(c *playedCluster, name string, labels map[string]string) *batchv1.Job {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: h.uid(), CreationTimestamp: *now(h), Labels: labels, Annotations: map[string]string{"of": c.name},
		OwnerReferences: []metav1.OwnerReference{{Kind: "CronJob", Name: c.cron.Name, UID: c.cron.UID, Controller: new(true)}}}}
	own := labels[scanstate.LabelCluster] != ""
	kind := 1
	if own {
		job.Annotations[scanstate.Instantiate], kind = scanstate.Manual, 3
	}
	c.jobs[name] = job
	s := &playedScan{cluster: c.name, job: name, own: own, created: h.clock.Now(), fails: h.IntN(10) == 0, version: -1}
	h.ledger, c.scans = append(h.ledger, s), append(c.scans, s)
	h.emit(kind, job, false)
	return job
}

// jobController makes the Pod of a Job, at times a second or two later. Until then it isn't active.
func (h *hour) jobController() {
	for _, name := range h.order {
		c := h.clusters[name]
		for _, job := range h.sorted(c) {
			if job.Status.StartTime != nil || h.IntN(5) == 0 {
				continue
			}
			job.Status.StartTime, job.Status.Active = now(h), 1
			s := h.of(job.Name)
			s.began, s.ends = h.clock.Now(), h.clock.Now().Add(time.Duration(3+h.IntN(20))*time.Second)
			s.version, s.secret = c.has, c.secret
			h.emitJob(job)
			h.emit(2, pod(job, corev1.PodRunning), false)
		}
	}
}

func (h *hour) emitJob(job *batchv1.Job) {
	kind := 1
	if job.Labels[scanstate.LabelCluster] != "" {
		kind = 3
	}
	h.emit(kind, job, false)
}

// kubelet ends scans at their time.
func (h *hour) kubelet() {
	for _, s := range h.ledger {
		if s.ended || s.ends.IsZero() || h.clock.Now().Before(s.ends) {
			continue
		}
		job := h.clusters[s.cluster].jobs[s.job]
		s.ended, s.over, s.failed, s.succeeded = true, h.clock.Now(), s.fails, !s.fails
		job.Status.Active = 0
		if s.fails {
			job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, LastTransitionTime: *now(h)}}
			h.emit(2, pod(job, corev1.PodFailed), false)
		} else {
			job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue, LastTransitionTime: *now(h)}}
			job.Status.CompletionTime = now(h)
			h.emit(2, pod(job, ""), true) // it is watched for as long as it hasn't succeeded
		}
		h.emitJob(job)
	}
}

// look is what Muster does in a second: it tells of scans, and starts those that are due for a change.
func (h *hour) look() {
	input := scanstate.Input{Entries: h.config.entries, AuditConfig: "m", Observed: h.watch.observed("ns", "m"), Now: h.clock.Now()}
	statuses := scanstate.Derive(input)
	h.config.observe(statuses)
	for i := range statuses {
		h.hold(&statuses[i])
	}
	changes := scanstate.OnChange(input, h.config.due)
	for _, cluster := range changes.Scanned {
		delete(h.config.due, cluster)
	}
	for _, cluster := range changes.Lost {
		for i := range h.changes {
			h.changes[i].told = h.changes[i].told || h.changes[i].cluster == cluster
		}
		delete(h.config.due, cluster)
	}
	for _, change := range changes.Ready {
		c := h.clusters[change.Cluster]
		job := jobOf(c.cron, "m", h.config.items[change.Cluster], change.Again)
		if c.jobs[job.Name] == nil && !slices.ContainsFunc(c.scans, func(s *playedScan) bool { return s.job == job.Name }) {
			h.job(c, job.Name, job.Labels)
		}
		delete(h.config.due, change.Cluster)
	}
	for i := range h.changes {
		if c := h.clusters[h.changes[i].cluster]; h.changes[i].lost {
			for _, job := range h.sorted(c) {
				if job.Status.Active == 1 && job.Labels[scanstate.LabelCluster] != "" {
					h.remove(c, job)
				}
			}
		}
	}
}

// late is how long it may take until what happens is seen.
const late = 6 * time.Second

// hold compares what is said of a cluster with what happened to its scans.
func (h *hour) hold(status *scanstate.Status) {
	s, c := status.Standing(), h.clusters[status.Cluster]
	var last, lastKnown *playedScan // the latest of which everything must have been seen, and of these the latest with a result
	for _, p := range c.scans {
		if !p.ended {
			continue
		}
		if seen := h.clock.Since(p.over) > late; seen && (last == nil || p.created.After(last.created)) {
			last = p
		}
		if (p.succeeded || p.failed) && (lastKnown == nil || p.created.After(lastKnown.created)) {
			lastKnown = p
		}
		switch {
		case p.succeeded && s.LastSuccess.Equal(p.over), p.failed && s.State == scanstate.Failed && s.Began.Equal(p.began):
			p.told = true
		case !p.succeeded && !p.failed && (s.Reason == scanstate.ReasonJobGone || s.State == scanstate.Failed && strings.Contains(s.Detail, "is gone")) && h.clock.Since(p.over) < 90*time.Second:
			p.told = true
		}
	}
	if s.State == scanstate.Succeeded && last != nil && !last.succeeded && (lastKnown == nil || !lastKnown.succeeded || !lastKnown.created.After(last.created)) {
		h.Errorf("%s: %s is called good at %s; %s came to an end at %s, failed %t", c.name, s.Job, h.clock.Now(), last.job, last.over, last.failed)
	}
	if !status.LastSuccess.IsZero() && !slices.ContainsFunc(c.scans, func(p *playedScan) bool {
		return p.succeeded && p.over.Equal(status.LastSuccess)
	}) {
		h.Errorf("%s: no scan succeeded at %s", c.name, status.LastSuccess)
	}
	if status.HasScanned() {
		for i := range h.changes {
			if m := &h.changes[i]; m.cluster == c.name && m.version <= c.wanted && m.secret <= c.secret {
				m.scanned = true
			}
		}
		if !slices.ContainsFunc(c.scans, func(p *playedScan) bool {
			return p.succeeded && p.version == c.wanted && p.secret == c.secret
		}) {
			h.Errorf("%s is called scanned with version %d at %s, and was not", c.name, c.wanted, h.clock.Now())
		}
	}
	for i := range h.changes {
		if m := &h.changes[i]; m.cluster == c.name && !m.lost && (status.Stuck != "" || s.State == scanstate.Failed && s.Began.After(m.at)) {
			m.told = true
		}
	}
	h.noFlap(c, s, lastKnown)
}

// noFlap: a state becomes another when something has happened to a scan, and is the former one again when something else has.
func (h *hour) noFlap(c *playedCluster, s *scanstate.Status, lastKnown *playedScan) {
	shown, n := string(s.State), len(c.shown)
	if s.State != scanstate.Running {
		shown += " " + string(s.Reason) // the reason of one that runs is that it is starting
	}
	if n > 0 && c.shown[n-1] == shown {
		return
	}
	since := h.clock.Now().Add(-2 * late)
	if n > 1 && c.shown[n-2] == shown && c.shownAt[n-2].Before(since) {
		since = c.shownAt[n-1].Add(-late)
	}
	happened := 0
	for _, p := range h.ledger {
		for _, at := range []time.Time{p.created, p.began, p.over} {
			if p.cluster == c.name && at.After(since) {
				happened++
			}
		}
	}
	wanted := 1
	if n > 1 && c.shown[n-2] == shown {
		wanted = 2
	}
	if n > 0 && happened < wanted && s.Reason != scanstate.ReasonFirstScan {
		h.Errorf("%s flaps at %s: %q, then %q, after %d events", c.name, h.clock.Now(), c.shown[max(0, n-3):], shown, happened)
	}
	if s.State == scanstate.Succeeded && c.failing && (lastKnown == nil || !lastKnown.succeeded) {
		h.Errorf("%s is said to have recovered at %s", c.name, h.clock.Now())
	}
	c.failing = s.State == scanstate.Failed || c.failing && s.State != scanstate.Succeeded
	c.shown, c.shownAt = append(c.shown, shown), append(c.shownAt, h.clock.Now())
}

// judge looks back on the hour.
func (h *hour) judge() {
	var made, good, bad, lost, own int
	for _, p := range h.ledger {
		if h.clock.Since(p.created) < time.Minute {
			continue // not over yet
		}
		made++
		switch {
		case p.succeeded:
			good++
		case p.failed:
			bad++
		default:
			lost++
		}
		if p.own {
			own++
		}
		if !p.told {
			h.Errorf("nothing was said of %s, created %s, over %s, succeeded %t, failed %t", p.job, p.created, p.over, p.succeeded, p.failed)
		}
	}
	for _, c := range h.changes {
		if !c.scanned && !c.told {
			h.Errorf("the change of %s at %s was neither scanned nor told of", c.cluster, c.at)
		}
		if c.lost && !c.told {
			h.Errorf("the Jobs for %s are deleted, and that was not said", c.cluster)
		}
	}
	if min(made/1000, good, bad, lost, own) == 0 || made < (len(h.order)-4)*(hourOfMinutes-2) {
		h.Errorf("of %d Jobs %d were good, %d failed, %d were deleted, and %d Muster's own", made, good, bad, lost, own)
	}
	h.Logf("%d Jobs: %d good, %d failed, %d deleted before their end; %d were Muster's own, for %d changes", made, good, bad, lost, own, len(h.changes))
}
