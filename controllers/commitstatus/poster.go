package commitstatus

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
)

const (
	// paceEvery is the minimum interval between posts of one status of one commit, after a burst of paceBurst. GitHub accepts 1,000
	// posts in total. A status that changes more often, as when two controllers fight over an object, is posted in its latest state.
	paceEvery = 5 * time.Minute
	paceBurst = 10
)

// poster has one repository on a forge show commit statuses. It remembers what is settled, and sends no request for that. It is not safe
// for concurrent use.
type poster struct {
	client connect.Client
	clock  clock.PassiveClock
	// count counts an attempt to post by its result, and returns that.
	count func(error) error
	known map[place]*known
}

// place identifies a status by commit and context.
type place struct{ hash, context string }

// known is what is known of a status at the forge.
type known struct {
	// settled is the status that is shown as wanted, or was rejected permanently; zero for none. rejected is the reason for the latter.
	settled  forge.Status
	rejected error
	pace     *rate.Limiter
}

func newPoster(client connect.Client, clock clock.PassiveClock, count func(error) error) *poster {
	return &poster{client: client, clock: clock, count: count, known: map[place]*known{}}
}

func (p *poster) of(commit forge.Commit, name string) *known {
	k := p.known[place{commit.Hash, name}]
	if k == nil {
		k = &known{pace: rate.NewLimiter(rate.Every(paceEvery), paceBurst)}
		p.known[place{commit.Hash, name}] = k
	}
	return k
}

// post has the forge show the statuses of a commit. Before it posts a pending one it calls pending, and posts nothing if that fails. It
// returns how long to wait with statuses that were posted too often. A status that the forge rejects permanently is settled as well, and
// rejection has the reason.
func (p *poster) post(ctx context.Context, commit forge.Commit, statuses []forge.Status, pending func() error) (wait time.Duration, err error) {
	var contexts []string
	var due []forge.Status
	for _, status := range statuses {
		if p.of(commit, status.Context).settled != status {
			contexts, due = append(contexts, status.Context), append(due, status)
		}
	}
	if len(due) == 0 {
		return 0, nil
	}
	shown, err := p.client.Statuses(ctx, commit, contexts)
	if err != nil {
		return 0, p.count(err)
	}
	for _, status := range due {
		k := p.of(commit, status.Context)
		if p.client.UpToDate(shown[status.Context], status) {
			k.settled, k.rejected = status, nil
			continue
		}
		if paced := p.paced(k); paced > 0 {
			wait = earlier(wait, paced)
			continue
		}
		if status.State == forge.Pending {
			if err := pending(); err != nil {
				return 0, err
			}
		}
		err := p.count(p.client.SetStatus(ctx, commit, status))
		if err != nil && !final(err) {
			return 0, err
		}
		k.settled, k.rejected = status, err
	}
	return wait, nil
}

// end replaces the pending ones among a commit's statuses. If the forge rejects one permanently, it returns the error after it has tried
// the others.
func (p *poster) end(ctx context.Context, commit forge.Commit, statuses []forge.Status) (rejected error) {
	var contexts []string
	for _, status := range statuses {
		contexts = append(contexts, status.Context)
	}
	shown, err := p.client.Statuses(ctx, commit, contexts)
	if err != nil {
		return err
	}
	for _, status := range statuses {
		if shown[status.Context].State != forge.Pending {
			continue
		}
		p.of(commit, status.Context).settled = forge.Status{} // otherwise the status that is wanted later would count as shown
		switch err := p.count(p.client.SetStatus(ctx, commit, status)); {
		case final(err):
			rejected = cmp.Or(rejected, err)
		case err != nil:
			return err
		}
	}
	return rejected
}

// behind counts the statuses of a commit that are out of date at the forge.
func (p *poster) behind(commit forge.Commit, statuses []forge.Status) (n int) {
	for _, status := range statuses {
		if k := p.of(commit, status.Context); k.settled != status || k.rejected != nil {
			n++
		}
	}
	return n
}

// ended reports whether all statuses of a commit are final.
func (p *poster) ended(commit forge.Commit, contexts []string) bool {
	return !slices.ContainsFunc(contexts, func(name string) bool {
		settled := p.of(commit, name).settled
		return settled == forge.Status{} || settled.State == forge.Pending
	})
}

// keep forgets all commits for which the function returns false.
func (p *poster) keep(hash func(string) bool) {
	maps.DeleteFunc(p.known, func(at place, _ *known) bool { return !hash(at.hash) })
}

// rejection returns the first reason for which a status was rejected permanently, in sorted order; empty if none was.
func (p *poster) rejection() (first string) {
	for _, k := range p.known {
		if k.rejected != nil && (first == "" || k.rejected.Error() < first) {
			first = k.rejected.Error()
		}
	}
	return first
}

// paced reserves a post of a status, or returns how long to wait for one.
func (p *poster) paced(k *known) time.Duration {
	now := p.clock.Now()
	reservation := k.pace.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// earlier returns the shorter wait; 0 is none.
func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
