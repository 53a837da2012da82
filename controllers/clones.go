package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync"
)

// clones are the clones that AuditSyncs use. AuditSyncs of a namespace with the same URL and the same Secret for it share one, so that a
// poll, a webhook and a new commit cost one fetch, however many AuditSyncs follow the repository. Others never share: the content of a
// repository is only for those who have the credentials.
type clones struct {
	mu   sync.Mutex
	open map[cloneID]*clone
}

// cloneID identifies a clone. Secret is a name, and empty without one. Pinned is the ref of AuditSyncs that name a commit, and empty
// for all others: to find the commit, the whole history may be cloned, which takes the place of what others have fetched.
type cloneID struct{ namespace, url, secret, pinned string }

type clone struct {
	*gitsync.Repository
	id    cloneID
	dir   string
	users int
}

// cloneOf returns which clone an AuditSync uses.
func cloneOf(audit *v1alpha1.AuditSync) cloneID {
	id := cloneID{namespace: audit.Namespace, url: audit.Spec.Source.URL}
	if ref := audit.Spec.Source.SecretRef; ref != nil {
		id.secret = ref.Name
	}
	if ref := audit.Spec.Source.Ref; ref != nil && ref.Commit != "" {
		id.pinned = fmt.Sprintf("%q", []string{ref.Branch, ref.Tag, ref.Commit})
	}
	return id
}

// use returns a clone below a directory, which the caller releases.
func (c *clones) use(id cloneID, below string, now func() time.Time) (*clone, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.open[id]
	if one == nil {
		one = &clone{id: id, dir: id.below(below)}
		var err error
		if one.Repository, err = gitsync.Open(one.dir, gitsync.WithClock(now)); err != nil {
			return nil, fmt.Errorf("open repository cache: %w", err)
		}
		if c.open == nil {
			c.open = map[cloneID]*clone{}
		}
		c.open[id] = one
	}
	one.users++
	return one, nil
}

// shared reports whether more than one AuditSync uses a clone.
func (c *clones) shared(one *clone) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return one.users > 2 // one for this fetch, and one for the last
}

// release ends one use. Without users, a clone is removed from disk. Snapshots stay readable until they are closed.
func (c *clones) release(one *clone) {
	if one == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if one.users--; one.users > 0 {
		return
	}
	delete(c.open, one.id)
	one.Close() //nolint:errcheck // the cache is disposable
	// What can't be removed only costs disk space, and the next start of the Pod clears it.
	_ = os.RemoveAll(one.dir)
}

// below returns the directory of a clone. No AuditSync has a name with an underscore, so it is never that of an AuditSync.
func (id cloneID) below(dir string) string {
	sum := sha256.Sum256([]byte(id.url + "\n" + id.secret + "\n" + id.pinned))
	return filepath.Join(dir, id.namespace, "_"+hex.EncodeToString(sum[:16]))
}

// request is a value of the annotation that requests a sync, and when it was first seen.
type request struct {
	value string
	at    time.Time
}

// noteRequest is a predicate that records requests for a sync.
func (r *Reconciler) noteRequest(e event.UpdateEvent) bool {
	value := e.ObjectNew.GetAnnotations()[v1alpha1.AnnotationReconcile]
	if value == e.ObjectOld.GetAnnotations()[v1alpha1.AnnotationReconcile] {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.requests == nil {
		r.requests = map[types.NamespacedName]request{}
	}
	r.requests[client.ObjectKeyFromObject(e.ObjectNew)] = request{value, r.Clock.Now()}
	return true
}

// gather is how long a request waits for those for other AuditSyncs with the same clone. A webhook requests all within moments.
const gather = 100 * time.Millisecond

// gatherRequests waits until a listing of a shared clone's refs will most likely be for all that a webhook requests.
func (r *Reconciler) gatherRequests(ctx context.Context, since time.Time, shared bool) {
	if wait := gather - r.Clock.Since(since); shared && wait > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// listedSince returns when the refs of the repository must have been listed at the earliest, so that nothing newer is missed than
// without a shared clone: after a request, after what this AuditSync has used already, and not so long ago that its interval since then
// might end before this sync does, because the next one would come an interval later. Zero means that they must be listed again.
func (r *Reconciler) listedSince(audit *v1alpha1.AuditSync, st *state, version string) time.Time {
	since := r.Clock.Now().Add(-interval(audit) / 2)
	for _, other := range []time.Time{st.fetched.Add(1), audit.CreationTimestamp.Add(time.Second)} {
		if other.After(since) {
			since = other
		}
	}
	if syncRequested(audit) {
		r.mu.Lock()
		defer r.mu.Unlock()
		seen := r.requests[client.ObjectKeyFromObject(audit)]
		switch {
		case seen.value != audit.Annotations[v1alpha1.AnnotationReconcile]:
			return time.Time{}
		case st.fetched.Before(seen.at):
			return seen.at
		}
		return st.fetched.Add(1) // the fetch for this request has failed
	}
	if st.source != "" && st.source != version {
		return time.Time{}
	}
	return since
}
