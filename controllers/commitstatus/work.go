package commitstatus

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// Reconcile brings one AuditSync's statuses up to date. Failures of the forge are reported as the condition Reported, not as an error.
func (r *Reporter) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	audit := &v1alpha1.AuditSync{}
	if err := r.Client.Get(ctx, req.NamespacedName, audit); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	again, err := r.update(ctx, req.NamespacedName, audit)
	return reconcile.Result{RequeueAfter: again}, err
}

// update returns when to run again; 0 for never.
func (r *Reporter) update(ctx context.Context, key types.NamespacedName, audit *v1alpha1.AuditSync) (again time.Duration, err error) {
	if why := report.Ending(audit); why != "" {
		if again, proceed, err := r.conclude(ctx, key, audit, why); !proceed || err != nil {
			return again, err
		}
	}
	j := r.job(key, audit)
	if j == nil {
		return 0, nil // the first sync of this process, or of a changed AuditSync, sets what to show
	}
	if j.connection, err = r.connect(ctx, audit, j.entry); err != nil {
		return r.failed(ctx, audit, &backoff{}, err), nil
	}
	if wait := j.notBefore.Sub(r.Clock.Now()); wait > 0 {
		return wait, nil
	}
	paced, err := j.run(ctx)
	r.Metrics.ForgeRate(key.Namespace, key.Name, j.repository.Provider, j.client.Rate())
	r.Metrics.ForgeBehind(key.Namespace, key.Name, j.repository.Provider, j.behind())
	if err != nil {
		return r.failed(ctx, audit, &j.backoff, err), nil
	}
	r.succeeded(ctx, audit, j.connection)
	return earlier(paced, j.wait), nil
}

// failed reports why statuses could not be posted, and returns when to try again.
func (r *Reporter) failed(ctx context.Context, audit *v1alpha1.AuditSync, b *backoff, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	reason, wait := b.failed(err, r.Clock.Now())
	r.result(ctx, audit, metav1.ConditionFalse, reason, err.Error())
	return wait
}

// succeeded reports that all statuses are posted, or that the forge rejected some permanently.
func (r *Reporter) succeeded(ctx context.Context, audit *v1alpha1.AuditSync, c *connection) {
	c.failures = 0
	if rejection := c.rejection(); rejection != "" {
		r.result(ctx, audit, metav1.ConditionFalse, reasonRejected, rejection)
		return
	}
	r.result(ctx, audit, metav1.ConditionTrue, report.ReasonSucceeded, fmt.Sprintf("commit statuses are shown in %s on %s as %s",
		c.repository.Path, c.repository.API.Host, report.Contexts(audit)[0]))
}

// job is one run of posting one AuditSync's statuses.
type job struct {
	*connection
	reporter *Reporter
	entry    *entry
	key      types.NamespacedName
	audit    *v1alpha1.AuditSync
	// wanted are the statuses by commit, in the order in which they are posted.
	wanted  []wanted
	current []gitsync.Revision
	// wait is how long until the pending status of a running sync is posted.
	wait time.Duration
}

// wanted are the statuses of one commit.
type wanted struct {
	revision string
	commit   forge.Commit
	statuses []forge.Status
}

// job returns what is currently wanted where the AuditSync reports to; nil for nothing.
func (r *Reporter) job(key types.NamespacedName, audit *v1alpha1.AuditSync) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[key]
	if e == nil || e.at == nil || *e.at != *report.Place(audit) {
		return nil
	}
	j := &job{reporter: r, entry: e, key: key, audit: audit}
	for _, w := range e.wanted {
		j.want(w)
	}
	if e.begun != nil {
		if j.wait = max(begunPatience-r.Clock.Since(e.begunSince), 0); j.wait == 0 {
			j.want(*e.begun)
		}
	}
	for _, text := range e.current {
		if revision, err := gitsync.ParseRevision(text); err == nil { // skip empty ones
			j.current = append(j.current, revision)
		}
	}
	return j
}

func (j *job) want(w report.CommitStatus) {
	revision, err := gitsync.ParseRevision(w.Revision)
	if err != nil {
		return
	}
	w.TargetURL = link(j.reporter.URL, j.key, revision.Hash)
	i := slices.IndexFunc(j.wanted, func(known wanted) bool { return known.commit.Hash == revision.Hash })
	if i < 0 {
		i = len(j.wanted)
		j.wanted = append(j.wanted, wanted{revision: w.Revision, commit: commitOf(revision)})
	}
	j.wanted[i].statuses = append(j.wanted[i].statuses, w.Status)
}

func commitOf(revision gitsync.Revision) forge.Commit {
	return forge.Commit{Hash: revision.Hash, Branch: revision.Ref}
}

// run posts the statuses that differ, and ends the pending statuses of superseded commits. It returns how long to wait with statuses that
// were posted too often.
func (j *job) run(ctx context.Context) (wait time.Duration, err error) {
	j.keep(func(hash string) bool {
		return slices.ContainsFunc(j.wanted, func(w wanted) bool { return w.commit.Hash == hash })
	})
	for _, w := range j.wanted {
		paced, err := j.post(ctx, w.commit, w.statuses, func() error { return j.remember(ctx, w.revision) })
		if err != nil {
			return 0, err
		}
		wait = earlier(wait, paced)
	}
	return wait, j.close(ctx)
}

// behind counts the statuses that are out of date at the forge.
func (j *job) behind() (n int) {
	for _, w := range j.wanted {
		n += j.connection.behind(w.commit, w.statuses)
	}
	return n
}
