package controllers

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scans"
	"github.com/muster-gitops/muster/gitsync"
)

// state is the in-memory state of an AuditSync between reconciles. If it is lost, everything in it is read or rendered again.
// Reconciles of one AuditSync never overlap, so it needs no lock.
type state struct {
	// clone is the one with the snapshot, or that a first fetch has failed in.
	clone *clone
	// watchdog runs its syncs.
	watchdog watchdog
	// snapshot is the last fetched commit. If there are public keys, it is one that they verify.
	snapshot *gitsync.Snapshot
	// fetched is when the remote was last asked, for this AuditSync or for another one with the same clone. source is what was fetched.
	fetched time.Time
	source  string
	// origin is the URL and ref of the snapshot.
	origin string
	// refused is the remote's current revision if it must not be applied.
	refused string
	// tally is what the current revision has changed so far.
	tally report.Tally
	// failures counts failed attempts since the last success.
	failures int
	// conflict is true if the last write showed that the caches are behind.
	conflict bool
	// undeclared are the fields of audit configs that the API server doesn't know, and when it last reported them. learned is true if
	// the last write added one.
	undeclared map[string]time.Time
	learned    bool
	// deletionReported is true once the events about the deletion have been recorded.
	deletionReported bool
	// pipeline caches all stages of the last fleet. fleet is its result for the inputs in rendered. desired is what is planned and
	// applied of it.
	pipeline *clusters.Pipeline
	fleet    *fleet.Opened
	desired  *fleet.Opened
	rendered renderKey
	// opener decrypts files with the keys of the version in keys. The pipeline drops its cache if the opener changes.
	opener clusters.Opener
	keys   string
	// redactor knows the secrets of the fleet and the credentials in use. credentials are those for the repository. renders counts
	// renders, and concealed are the values added since the last one, so that the redactor can drop older values.
	redactor    *redact.Redactor
	credentials []string
	renders     int
	concealed   []string
	// settled is the last sync that had nothing to do.
	settled settled
	// scans is what package scans remembers.
	scans scans.Memory
}

func (r *Reconciler) state(key types.NamespacedName) *state {
	r.mu.Lock()
	defer r.mu.Unlock()
	if st := r.states[key]; st != nil {
		return st
	}
	if r.states == nil {
		r.states = map[types.NamespacedName]*state{}
	}
	st := &state{pipeline: clusters.NewPipeline(), redactor: &redact.Redactor{}}
	r.states[key] = st
	return st
}

// drop closes the snapshot, so that it is not rendered any more.
func (st *state) drop() {
	if st.snapshot != nil {
		st.snapshot.Close() //nolint:errcheck // the cache is disposable
		st.snapshot = nil
	}
}
