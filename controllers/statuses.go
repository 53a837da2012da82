package controllers

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

const (
	// begunPatience is how long a sync may run before its commit is posted as pending. Most syncs end earlier, which saves two
	// requests.
	begunPatience = time.Second
	// statusWorkers is how many AuditSyncs are posted concurrently, so that one hanging forge doesn't block the others for long.
	statusWorkers = 4
)

// statuses posts the commit statuses that the reconciler wants to the forges. It runs concurrently with the reconciler, so that a slow or
// broken forge doesn't delay syncs, and retries until the forge shows what is wanted.
//
// Only the last wanted statuses count. Before it posts, it reads the statuses that the forge shows. So no status is posted twice, even if
// an earlier process or another replica posted it. It remembers what the forge shows, and sends no requests while nothing changes.
type statuses struct {
	client  client.Client
	clock   clock.WithTicker
	metrics *report.Metrics
	// url is the link to details, with placeholders; empty for none.
	url    string
	queue  workqueue.TypedDelayingInterface[types.NamespacedName]
	events events.EventRecorder
	// changed requests a sync of an AuditSync whose condition Reported must change. Only the reconciler writes conditions.
	changed chan event.TypedGenericEvent[*v1alpha1.AuditSync]

	mu   sync.Mutex
	byID map[types.NamespacedName]*commitReport
}

// commitReport holds the wanted commit statuses of one AuditSync and the state of posting them.
type commitReport struct {
	// at is where to post, from the AuditSync at the time of the sync. The AuditSync may have changed before the worker runs. A status
	// that is posted in one place and recorded as pending in another would never be completed.
	at *v1alpha1.ReportPlace
	// wanted are the statuses from the last sync. current are the revisions that are being synced or applied, the newest first. The
	// statuses of other revisions are superseded.
	wanted  []report.CommitStatus
	current []string
	// begun is the pending status of the revision that is being synced, since begunSince; nil for none.
	begun      *report.CommitStatus
	begunSince time.Time
	redactor   *redact.Redactor
	condition  *metav1.Condition

	// deletingSince is when the AuditSync's deletion started to wait. released is true once it no longer has to.
	deletingSince time.Time
	released      bool

	// poster and ending are only used by the worker. The queue ensures that each AuditSync has at most one.
	poster *poster
	ending ending
}

func newStatuses(c client.Client, clock clock.WithTicker, metrics *report.Metrics, recorder events.EventRecorder, statusURL string) *statuses {
	return &statuses{client: c, clock: clock, metrics: metrics, events: recorder, url: statusURL,
		queue:   workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[types.NamespacedName]{Clock: clock}),
		changed: make(chan event.TypedGenericEvent[*v1alpha1.AuditSync]),
		byID:    map[types.NamespacedName]*commitReport{}}
}

// NeedLeaderElection returns true: only the leader posts.
func (s *statuses) NeedLeaderElection() bool { return true }

// Start posts until ctx ends. Statuses that aren't posted by then are posted after the next start.
func (s *statuses) Start(ctx context.Context) error {
	var group sync.WaitGroup
	for range statusWorkers {
		group.Go(func() {
			for s.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	s.queue.ShutDown()
	group.Wait()
	return nil
}

func (s *statuses) next(ctx context.Context) bool {
	key, shutdown := s.queue.Get()
	if shutdown {
		return false
	}
	defer s.queue.Done(key)
	if again := s.work(ctx, key); again > 0 {
		s.queue.AddAfter(key, again)
	}
	return true
}

func (s *statuses) of(key types.NamespacedName) *commitReport {
	c := s.byID[key]
	if c == nil {
		c = &commitReport{redactor: &redact.Redactor{}}
		s.byID[key] = c
	}
	return c
}

// place sets where to post. A new place drops what was wanted in the old one.
func (c *commitReport) place(at *v1alpha1.ReportPlace) {
	if c.at == nil || *c.at != *at {
		c.at, c.wanted, c.current, c.begun = at, nil, nil, nil
	}
}

// begin records that the sync of a revision has begun.
func (s *statuses) begin(audit *v1alpha1.AuditSync, revision string, redactor *redact.Redactor) {
	if s == nil || audit.Spec.Forge == nil || audit.Status.LastAttemptedRevision == revision {
		return
	}
	key := client.ObjectKeyFromObject(audit)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.of(key)
	c.place(report.Place(audit))
	if c.begun != nil && c.begun.Revision == revision {
		return
	}
	begun := report.CommitBegun(audit, revision)
	c.begun, c.begunSince, c.redactor = &begun, s.clock.Now(), redactor
	c.current = []string{revision, audit.Status.LastAppliedRevision}
	s.queue.AddAfter(key, begunPatience)
}

// show sets the wanted statuses after a sync. Audit is the AuditSync before the sync.
func (s *statuses) show(audit *v1alpha1.AuditSync, status v1alpha1.AuditSyncStatus, o report.Outcome, redactor *redact.Redactor) {
	if s == nil || audit.Spec.Forge == nil {
		s.stop(audit)
		return
	}
	key := client.ObjectKeyFromObject(audit)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.of(key)
	c.place(report.Place(audit))
	c.redactor = redactor
	if o.Revision != "" || o.Refused != "" {
		c.wanted = report.CommitStatuses(audit, status, o)
		for i := range c.wanted {
			c.wanted[i].Description = redactor.String(c.wanted[i].Description)
		}
		c.current = []string{o.Refused, o.Revision, status.LastAppliedRevision}
	}
	if c.begun != nil && hasStatus(c.wanted, c.begun.Revision) {
		c.begun = nil
	}
	s.queue.Add(key)
}

// hasStatus reports whether the list has a status for a revision.
func hasStatus(list []report.CommitStatus, revision string) bool {
	return slices.ContainsFunc(list, func(s report.CommitStatus) bool { return s.Revision == revision })
}

// forget drops everything that is kept for a deleted AuditSync.
func (s *statuses) forget(key types.NamespacedName) {
	if s != nil {
		s.forgetIf(key, func(*commitReport) bool { return true })
	}
}

// forgetIdle drops everything that is kept for an AuditSync without a forge, unless it has one again.
func (s *statuses) forgetIdle(key types.NamespacedName) {
	s.forgetIf(key, func(c *commitReport) bool { return c.begun == nil && len(c.wanted) == 0 })
}

func (s *statuses) forgetIf(key types.NamespacedName, match func(*commitReport) bool) {
	s.mu.Lock()
	c := s.byID[key]
	dropped := c != nil && match(c)
	if dropped {
		delete(s.byID, key)
	}
	s.mu.Unlock()
	if dropped {
		s.metrics.ForgetForge(key.Namespace, key.Name)
	}
}

// reported sets the condition Reported in a status.
func (s *statuses) reported(audit *v1alpha1.AuditSync, status *v1alpha1.AuditSyncStatus) {
	if audit.Spec.Forge == nil {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionReported)
		return
	}
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.byID[client.ObjectKeyFromObject(audit)]; c != nil && c.condition != nil {
		condition := *c.condition
		condition.ObservedGeneration = audit.Generation
		meta.SetStatusCondition(&status.Conditions, condition)
	}
}

// result records the result of the last attempt, and requests a sync if it differs from the one before.
func (s *statuses) result(ctx context.Context, audit *v1alpha1.AuditSync, status metav1.ConditionStatus, reason, message string) {
	key := client.ObjectKeyFromObject(audit)
	s.mu.Lock()
	c := s.byID[key]
	if c == nil {
		s.mu.Unlock()
		return
	}
	message = report.Cut(c.redactor.String(message), maxCondition)
	same := c.condition != nil && c.condition.Status == status && c.condition.Reason == reason && c.condition.Message == message
	c.condition = &metav1.Condition{Type: v1alpha1.ConditionReported, Status: status, Reason: reason, Message: message}
	s.mu.Unlock()
	if !same {
		s.requestSync(ctx, audit)
	}
}

func (s *statuses) requestSync(ctx context.Context, audit *v1alpha1.AuditSync) {
	select {
	case s.changed <- event.TypedGenericEvent[*v1alpha1.AuditSync]{Object: audit}:
	case <-ctx.Done():
	}
}

// maxCondition is the maximum length of a forge's message in a condition.
const maxCondition = 1024

// targetURL returns the link to the details of a commit.
func (s *statuses) targetURL(key types.NamespacedName, hash string) string {
	return strings.NewReplacer("{namespace}", key.Namespace, "{name}", key.Name, "{commit}", hash).Replace(s.url)
}

// ValidateStatusURL validates the template for the links of commit statuses. Empty is valid and means no links.
func ValidateStatusURL(template string) error {
	if template == "" {
		return nil
	}
	filled := strings.NewReplacer("{namespace}", "n", "{name}", "n", "{commit}", "c").Replace(template)
	if i := strings.IndexAny(filled, "{}"); i >= 0 {
		return fmt.Errorf("the status URL %q has an unknown placeholder; use {namespace}, {name} and {commit}", template)
	}
	u, err := url.Parse(filled)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return fmt.Errorf("the status URL %q is not a valid URL; use https://HOST/PATH with the placeholders {namespace}, {name} and {commit}", template)
	}
	if u.User != nil {
		return fmt.Errorf("the status URL contains credentials, which everyone who can see a commit could read; remove them")
	}
	if strings.ContainsFunc(template, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("the status URL %q contains a blank or a control character", template)
	}
	return nil
}
