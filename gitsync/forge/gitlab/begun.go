package gitlab

import (
	"sync"

	gitlab "gitlab.com/gitlab-org/api/client-go/v2"

	"github.com/muster-gitops/muster/gitsync/forge"
)

// begun are the pending statuses that a client has set or read.
type begun struct {
	mu   sync.Mutex
	jobs map[subject]*gitlab.CommitStatus
}

type subject struct {
	commit forge.Commit
	name   string
}

// maxBegun bounds the memory. Nearly every pending status is ended soon; what was forgotten is ended in the newest pipeline.
const maxBegun = 10_000

// record takes the newest status of that name, nil for none.
func (b *begun) record(commit forge.Commit, name string, newest *gitlab.CommitStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if newest == nil || stateOf(newest.Status) != forge.Pending {
		delete(b.jobs, subject{commit, name})
		return
	}
	if b.jobs == nil || len(b.jobs) >= maxBegun {
		b.jobs = map[subject]*gitlab.CommitStatus{}
	}
	b.jobs[subject{commit, name}] = newest
}

// job returns the pending status of that name, or nil.
func (b *begun) job(commit forge.Commit, name string) *gitlab.CommitStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.jobs[subject{commit, name}]
}
