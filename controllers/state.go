package controllers

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/open"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scan"
	"github.com/muster-gitops/muster/gitsync"
)

// state is what is kept in memory of an AuditSync between reconciles. It can be lost at any time; everything in it is read
// or rendered anew then. Reconciles of one AuditSync never overlap, so it needs no lock.
type state struct {
	repository *gitsync.Repository
	// watchdog runs its syncs.
	watchdog watchdog
	// snapshot is of a commit that the public keys verify, where there are any.
	snapshot *gitsync.Snapshot
	// fetched is when the remote was last asked, and source what it was asked for.
	fetched time.Time
	source  string
	// origin is the address and ref that the snapshot comes from.
	origin string
	// refused is the revision that the remote has, when it may not be applied.
	refused string
	// tally is what the present revision has changed so far.
	tally report.Tally
	// failures counts failed attempts since the last success.
	failures int
	// conflict says that the last write met an object that the caches had not shown.
	conflict bool
	// undeclared are fields of audit configs that the API server doesn't have, with when it said so. learned says that the last write has
	// told of another one.
	undeclared map[string]time.Time
	learned    bool
	// leaving says that its deletion has been told of.
	leaving bool
	// pipeline remembers the last fleet in all its stages; fleet is what it gave for the inputs that rendered names.
	pipeline *clusters.Pipeline
	fleet    *fleet.Opened
	rendered renderKey
	// opener opens files with the keys of the version keys. The pipeline remembers nothing over another opener.
	opener open.Opener
	keys   string
	// redactor knows the secrets of the fleet and of the credentials in use; credentials are the latter by themselves. renders
	// counts, so that it can tell since when it knows them.
	redactor    *redact.Redactor
	credentials []string
	renders     int
	concealed   []string
	// scanned are the statuses that were last reported, and driven what they were derived for.
	scanned []scan.Status
	driven  map[string]*driven
	// startedJobs were made and not seen yet. scansRefused is until when no more are made, for the reason scansRefusal.
	startedJobs  map[string]time.Time
	scansRefused time.Time
	scansRefusal string
}

func (r *Reconciler) state(key types.NamespacedName) (*state, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if st := r.states[key]; st != nil {
		return st, nil
	}
	repository, err := gitsync.Open(r.repositoryDir(key))
	if err != nil {
		return nil, fmt.Errorf("open repository cache: %w", err)
	}
	if r.states == nil {
		r.states = map[types.NamespacedName]*state{}
	}
	st := &state{repository: repository, pipeline: clusters.NewPipeline(), redactor: &redact.Redactor{}}
	r.states[key] = st
	return st, nil
}

// drop lets go of the snapshot, so that nothing is rendered from it any more.
func (st *state) drop() {
	if st.snapshot != nil {
		st.snapshot.Close() //nolint:errcheck // the cache is disposable
		st.snapshot = nil
	}
}

func (st *state) close() {
	st.drop()
	st.repository.Close() //nolint:errcheck // as above
}
