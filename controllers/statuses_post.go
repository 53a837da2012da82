package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
)

const (
	// paceEvery is the minimum interval between posts of one status of one commit, after a burst of paceBurst. GitHub accepts 1,000
	// posts in total. A status that changes more often, as when two controllers fight over an object, is posted in its latest state.
	paceEvery = 5 * time.Minute
	paceBurst = 10
)

// work brings one AuditSync's statuses up to date, and returns when to run again; 0 for never.
func (s *statuses) work(ctx context.Context, key types.NamespacedName) (again time.Duration) {
	audit := &v1alpha1.AuditSync{}
	if err := s.client.Get(ctx, key, audit); err != nil {
		return ignoreGone(err)
	}
	if why := report.Ending(audit); why != "" {
		if again, proceed := s.conclude(ctx, audit, why); !proceed {
			return again
		}
	}
	job, found := s.job(key, report.Place(audit))
	if !found {
		return 0 // the first sync of this process, or of a changed AuditSync, sets what to show
	}
	p, err := s.posterOf(ctx, audit, job.report)
	if err != nil {
		return s.failed(ctx, audit, nil, err)
	}
	if wait := p.notBefore.Sub(s.clock.Now()); wait > 0 {
		return wait
	}
	job.poster, job.audit = p, audit
	wait, err := job.run(ctx)
	s.metrics.ForgeRate(key.Namespace, key.Name, p.repository.Provider, p.client.Rate())
	s.metrics.ForgeBehind(key.Namespace, key.Name, p.repository.Provider, job.behind())
	switch {
	case ctx.Err() != nil:
		return 0
	case err != nil:
		return s.failed(ctx, audit, p, err)
	}
	s.succeeded(ctx, audit, p)
	return earlier(wait, job.wait)
}

// succeeded reports that all statuses are posted, or that the forge rejected some permanently.
func (s *statuses) succeeded(ctx context.Context, audit *v1alpha1.AuditSync, p *poster) {
	p.failures = 0
	if len(p.rejected) > 0 {
		s.result(ctx, audit, metav1.ConditionFalse, reasonRejected, p.rejection())
		return
	}
	s.result(ctx, audit, metav1.ConditionTrue, report.ReasonSucceeded, fmt.Sprintf("commit statuses are shown in %s on %s as %s",
		p.repository.Path, p.repository.API.Host, report.Contexts(audit)[0]))
}

func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// statusJob is one run of posting one AuditSync's statuses.
type statusJob struct {
	*poster
	statuses *statuses
	report   *commitReport
	key      types.NamespacedName
	audit    *v1alpha1.AuditSync
	// wanted are the statuses by commit, in the order in which they are posted.
	wanted  []wantedStatuses
	current []gitsync.Revision
	// wait is how long until the pending status of a running sync is posted.
	wait time.Duration
}

// wantedStatuses are the statuses of one commit.
type wantedStatuses struct {
	revision string
	commit   forge.Commit
	statuses []forge.Status
}

// job returns what is currently wanted in a place.
func (s *statuses) job(key types.NamespacedName, at *v1alpha1.ReportPlace) (*statusJob, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byID[key]
	if c == nil || c.at == nil || *c.at != *at {
		return nil, false
	}
	j := &statusJob{statuses: s, report: c, key: key}
	for _, w := range c.wanted {
		j.want(w)
	}
	if c.begun != nil {
		if j.wait = begunPatience - s.clock.Since(c.begunSince); j.wait <= 0 {
			j.wait = 0
			j.want(*c.begun)
		}
	}
	for _, text := range c.current {
		if revision, err := gitsync.ParseRevision(text); err == nil { // skip empty ones
			j.current = append(j.current, revision)
		}
	}
	return j, true
}

func (j *statusJob) want(w report.CommitStatus) {
	revision, err := gitsync.ParseRevision(w.Revision)
	if err != nil {
		return
	}
	w.TargetURL = j.statuses.targetURL(j.key, revision.Hash)
	for i := range j.wanted {
		if j.wanted[i].commit.Hash == revision.Hash {
			j.wanted[i].statuses = append(j.wanted[i].statuses, w.Status)
			return
		}
	}
	j.wanted = append(j.wanted, wantedStatuses{revision: w.Revision, commit: forge.Commit{Hash: revision.Hash, Branch: revision.Ref},
		statuses: []forge.Status{w.Status}})
}

// run posts the statuses that differ, and ends the pending statuses of superseded commits. It returns how long to wait with statuses that
// were posted too often.
func (j *statusJob) run(ctx context.Context) (wait time.Duration, err error) {
	j.keep()
	for _, w := range j.wanted {
		paced, err := j.commit(ctx, w)
		if err != nil {
			return 0, err
		}
		wait = earlier(wait, paced)
	}
	return wait, j.close(ctx)
}

// commit posts one commit's statuses.
func (j *statusJob) commit(ctx context.Context, w wantedStatuses) (wait time.Duration, err error) {
	var contexts []string
	var due []forge.Status
	for _, status := range w.statuses {
		if settled, found := j.settled[place{w.commit.Hash, status.Context}]; !found || settled != status {
			contexts, due = append(contexts, status.Context), append(due, status)
		}
	}
	if len(due) == 0 {
		return 0, nil
	}
	shown, err := j.client.Statuses(ctx, w.commit, contexts)
	if err != nil {
		return 0, j.statuses.count(j.key, j.poster, err)
	}
	for _, status := range due {
		at := place{w.commit.Hash, status.Context}
		if j.client.UpToDate(shown[status.Context], status) {
			j.settle(at, status, nil)
			continue
		}
		if paced := j.paced(at); paced > 0 {
			wait = earlier(wait, paced)
			continue
		}
		if status.State == forge.Pending {
			if err := j.remember(ctx, w.revision); err != nil {
				return 0, err
			}
		}
		err := j.statuses.count(j.key, j.poster, j.client.SetStatus(ctx, w.commit, status))
		if err != nil && !final(err) {
			return 0, err
		}
		j.settle(at, status, err)
	}
	return wait, nil
}

// count counts an attempt to post a status by its result, and returns the error.
func (s *statuses) count(key types.NamespacedName, p *poster, err error) error {
	if !errors.Is(err, context.Canceled) {
		s.metrics.ForgePost(key.Namespace, key.Name, p.repository.Provider, err)
	}
	return err
}

// behind counts the statuses that are out of date at the forge.
func (j *statusJob) behind() (n int) {
	for _, w := range j.wanted {
		for _, status := range w.statuses {
			at := place{w.commit.Hash, status.Context}
			if settled, found := j.settled[at]; !found || settled != status || j.rejected[at] != "" {
				n++
			}
		}
	}
	return n
}

// keep drops commits without wanted statuses from the cache.
func (j *statusJob) keep() {
	wanted := func(hash string) bool {
		return slices.ContainsFunc(j.wanted, func(w wantedStatuses) bool { return w.commit.Hash == hash })
	}
	for at := range j.settled {
		if !wanted(at.hash) {
			delete(j.settled, at)
			delete(j.rejected, at)
		}
	}
	for at := range j.pace {
		if !wanted(at.hash) {
			delete(j.pace, at)
		}
	}
}

// paced reserves a post of a status, or returns how long to wait for one.
func (j *statusJob) paced(at place) time.Duration {
	limiter := j.pace[at]
	if limiter == nil {
		limiter = rate.NewLimiter(rate.Every(paceEvery), paceBurst)
		j.pace[at] = limiter
	}
	now := j.statuses.clock.Now()
	reservation := limiter.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}
