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
	// begunPatience is how long a commit may be worked on before the forge is told that it is. Most have their answer by then,
	// and are spared two requests.
	begunPatience = time.Second
	// statusWorkers is how many forges are talked to at once. One that hangs holds up no other AuditSync for long.
	statusWorkers = 4
)

// statuses has the forge show the commit statuses that the reconciler wants to see there. It works beside the reconciler,
// so that a forge that is slow or down holds up no sync, and it keeps at it until what is shown is what is wanted.
//
// The last that is wanted counts. Before anything is posted, what is shown is read and compared, so that nothing is posted
// twice, whoever posted it: this process, the one before, or another replica. What was found to be shown is remembered, and
// nothing is asked while nothing changes.
type statuses struct {
	client  client.Client
	clock   clock.WithTicker
	metrics *report.Metrics
	// url is where people find details, with placeholders; empty for none.
	url    string
	queue  workqueue.TypedDelayingInterface[types.NamespacedName]
	events events.EventRecorder
	// changed asks for a sync of an AuditSync whose condition Reported is to change: one writer of conditions is enough.
	changed chan event.TypedGenericEvent[*v1alpha1.AuditSync]

	mu   sync.Mutex
	byID map[types.NamespacedName]*commitReport
}

// commitReport is what is to be shown for one AuditSync, and what came of it.
type commitReport struct {
	// at is where to show it, as the AuditSync said when it was made. The worker's AuditSync may have changed since, and what is posted
	// in one place and noted as pending in another, nobody would end.
	at *v1alpha1.ReportPlace
	// wanted is the result of the last sync. current are the revisions that somebody works on or that are in force, the newest
	// first; nobody waits for an answer about others.
	wanted  []report.CommitStatus
	current []string
	// begun is the revision that is being worked on, since a time; nil for none.
	begun      *report.CommitStatus
	begunSince time.Time
	redactor   *redact.Redactor
	condition  *metav1.Condition

	// leaving is since when the AuditSync's deletion waits, and left says that it needs to no more.
	leaving time.Time
	left    bool

	// poster and ending belong to whoever works on the AuditSync, which the queue makes one at a time.
	poster *poster
	ending ending
}

func newStatuses(c client.Client, clock clock.WithTicker, metrics *report.Metrics, recorder events.EventRecorder, statusURL string) *statuses {
	return &statuses{client: c, clock: clock, metrics: metrics, events: recorder, url: statusURL,
		queue:   workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[types.NamespacedName]{Clock: clock}),
		changed: make(chan event.TypedGenericEvent[*v1alpha1.AuditSync]),
		byID:    map[types.NamespacedName]*commitReport{}}
}

// NeedLeaderElection says that only the replica that works posts.
func (s *statuses) NeedLeaderElection() bool { return true }

// Start works until ctx ends. What isn't posted by then is so after the next start.
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

// place notes where to show what is wanted from now on. What was wanted elsewhere is not.
func (c *commitReport) place(at *v1alpha1.ReportPlace) {
	if c.at == nil || *c.at != *at {
		c.at, c.wanted, c.current, c.begun = at, nil, nil, nil
	}
}

// begin takes note that a revision is being worked on.
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

// show takes note of what a sync has come to. Audit is the AuditSync before it.
func (s *statuses) show(audit *v1alpha1.AuditSync, status v1alpha1.AuditSyncStatus, o report.Outcome, redactor *redact.Redactor) {
	if s == nil || audit.Spec.Forge == nil {
		s.quit(audit)
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
	if c.begun != nil && answers(c.wanted, c.begun.Revision) {
		c.begun = nil
	}
	s.queue.Add(key)
}

// answers says whether there is an answer about a revision itself.
func answers(list []report.CommitStatus, revision string) bool {
	return slices.ContainsFunc(list, func(s report.CommitStatus) bool { return s.Revision == revision })
}

// forget drops what is held for an AuditSync that is gone.
func (s *statuses) forget(key types.NamespacedName) {
	if s != nil {
		s.forgetIf(key, func(*commitReport) bool { return true })
	}
}

// forgetIdle drops what is held for an AuditSync that has no forge any more, unless it has got one meanwhile.
func (s *statuses) forgetIdle(key types.NamespacedName) {
	s.forgetIf(key, func(c *commitReport) bool { return c.begun == nil && len(c.wanted) == 0 })
}

func (s *statuses) forgetIf(key types.NamespacedName, may func(*commitReport) bool) {
	s.mu.Lock()
	c := s.byID[key]
	gone := c != nil && may(c)
	if gone {
		delete(s.byID, key)
	}
	s.mu.Unlock()
	if gone {
		s.metrics.ForgetForge(key.Namespace, key.Name)
	}
}

// reported brings the condition Reported into a status.
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

// result notes what came of the last attempt, and has the reconciler report it when it is something else than before.
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
		s.askForSync(ctx, audit)
	}
}

func (s *statuses) askForSync(ctx context.Context, audit *v1alpha1.AuditSync) {
	select {
	case s.changed <- event.TypedGenericEvent[*v1alpha1.AuditSync]{Object: audit}:
	case <-ctx.Done():
	}
}

// maxCondition bounds what a forge says in a condition.
const maxCondition = 1024

// targetURL is where people find details of a commit.
func (s *statuses) targetURL(key types.NamespacedName, hash string) string {
	return strings.NewReplacer("{namespace}", key.Namespace, "{name}", key.Name, "{commit}", hash).Replace(s.url)
}

// ValidateStatusURL says what is wrong with a template for the links of commit statuses. Empty is good, and means none.
func ValidateStatusURL(template string) error {
	if template == "" {
		return nil
	}
	filled := strings.NewReplacer("{namespace}", "n", "{name}", "n", "{commit}", "c").Replace(template)
	if i := strings.IndexAny(filled, "{}"); i >= 0 {
		return fmt.Errorf("the status URL %q has a placeholder that is none of {namespace}, {name} and {commit}", template)
	}
	u, err := url.Parse(filled)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return fmt.Errorf("the status URL %q is no address; write it as https://HOST/PATH, with {namespace}, {name} and {commit} where they belong", template)
	}
	if u.User != nil {
		return fmt.Errorf("the status URL holds credentials; everybody who sees a commit sees it")
	}
	if strings.ContainsFunc(template, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("the status URL %q has a blank or a control character", template)
	}
	return nil
}
