package pullrequest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/judge"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// limits are tighter than those of a branch: whoever may open a pull request chooses what is fetched for it. The branch
// itself is fetched with it, so it must fit, too.
var limits = gitsync.Limits{PackBytes: 128 << 20, ObjectBytes: 16 << 20, TotalBytes: 512 << 20, DeltaBytes: 64 << 20, Objects: 250_000, Files: 200_000}

// audited is what is kept for an AuditSync. It may be lost at any time.
type audited struct {
	dir    string
	limits gitsync.Limits
	judge  judge.Judge
	// ended is closed when the AuditSync's pull requests are no longer answered.
	ended chan struct{}

	mu         sync.Mutex
	repository *gitsync.Repository
	connection *connection
	list       *forge.PullRequestList
	// base is the branch's commit as the last look has fetched it with the heads, and the version of the Subject then. Without a commit
	// that has failed, and without a version there was no need.
	base struct{ commit, version string }
	// pulls are the open pull requests, and left the numbers of those that were open on the branch before.
	pulls map[int64]*pull
	left  map[int64]bool
	// until is when the forge may be asked again after it has failed.
	until  time.Time
	queued map[string]*pull // commits of the merge queue, by ref
	held   held
	// failing are the problems of the last attempts, by the items' names.
	failing map[string]string
	shown   *metav1.Condition
}

func newAudited(dir string, limits gitsync.Limits) *audited {
	return &audited{dir: dir, limits: limits, ended: make(chan struct{}), pulls: map[int64]*pull{}, left: map[int64]bool{}, failing: map[string]string{}}
}

// pull is what is known of an open pull request. The list replaces known at any time, under the lock of audited. All else
// belongs to the worker that answers: the queue hands each pull request to one at a time.
type pull struct {
	known
	shown
}

// known is what the list says, and what was answered.
type known struct {
	forge.PullRequest
	// since is when it was reopened, or came back to this branch; zero if neither was seen. Allowing a head before that doesn't
	// count.
	since time.Time
	// answered is what the last answer was made for. seen is the time of the last change whose comments were all read.
	answered string
	seen     time.Time
}

// shown is what the forge shows of the answer.
type shown struct {
	// inherited is true if an earlier process may have set a status.
	inherited bool
	// comment is ours, with the hash of its text; 0 until it is found or written. read is true once the comments were read.
	comment int64
	text    [sha256.Size]byte
	read    bool
	// status is the last one that was set or seen, on the commit of head.
	status forge.Status
	head   string
	// annotated is true once a check run was set.
	annotated bool
	// problem is what kept the answer from being complete, and again is when to try it again.
	problem string
	again   time.Time
	// moved counts how often in a row the head wasn't the one of the list.
	moved int
}

// within returns a context that ends when the AuditSync's pull requests are no longer answered.
func (a *audited) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-a.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// cache returns the clone for pull requests.
func (a *audited) cache() (*gitsync.Repository, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.ended: // the next audited of this AuditSync has the folder now
		return nil, fmt.Errorf("open the cache of pull requests: %w", os.ErrClosed)
	default:
	}
	if a.repository == nil {
		repository, err := gitsync.Open(a.dir, gitsync.WithLimits(a.limits))
		if err != nil {
			return nil, fmt.Errorf("open the cache of pull requests: %w", err)
		}
		a.repository = repository
	}
	return a.repository, nil
}

// close ends the work and closes the clone. It is called once.
func (a *audited) close() {
	close(a.ended)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.repository != nil {
		_ = a.repository.Close() // the cache is disposable
		a.repository = nil
	}
}

// settled is how long after a change there may be comments that the time of the last change doesn't show: the times of some
// forges have no fractions.
const settled = time.Minute

// listed replaces the list of open pull requests, and returns the numbers of those to look at: new ones, changed ones, those
// that are no longer in it, and those of forks with news, because a maintainer may have allowed the head.
func (a *audited) listed(list *forge.PullRequestList, version string, now time.Time) []int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var due []int64
	open := map[int64]bool{}
	for _, pr := range list.Items {
		open[pr.Number] = true
		p := a.pulls[pr.Number]
		if p == nil {
			p = &pull{shown: shown{inherited: a.list == nil}}
			a.pulls[pr.Number] = p
		}
		if a.left[pr.Number] { // reopened, or retargeted and back, perhaps before its answer was taken back
			p.since, p.answered = cmp.Or(pr.Updated, now.Truncate(time.Second)), "" // the forges' times have no fractions
			delete(a.left, pr.Number)
		}
		p.PullRequest = pr
		if !p.answers(pr, version) || pr.Fork && (p.seen != pr.Updated || p.seen.IsZero()) {
			due = append(due, pr.Number)
		}
	}
	for number := range a.pulls {
		if !open[number] {
			a.left[number] = true
			due = append(due, number)
		}
	}
	a.list = list
	slices.Sort(due)
	return due
}

// answerKey is what an answer depends on, besides trust.
func answerKey(pr forge.PullRequest, version string) string {
	return fmt.Sprintf("%s %t %q ", pr.Head, pr.Fork, version)
}

// answers reports whether the last answer is for what a list has.
func (k *known) answers(pr forge.PullRequest, version string) bool {
	return strings.HasPrefix(k.answered, answerKey(pr, version))
}

// pull returns a pull request with what is known of it now, or nil. listed reports whether the present list has it.
func (a *audited) pull(number int64) (p *pull, now known, listed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p = a.pulls[number]; p == nil || a.list == nil {
		return nil, known{}, false // the list comes first
	}
	return p, p.known, slices.ContainsFunc(a.list.Items, func(pr forge.PullRequest) bool { return pr.Number == number })
}

// maxPrefetch is how many heads are fetched at once. They share the limits of one fetch.
const maxPrefetch = 100

// unanswered returns the full ref names of the first heads that have no answer yet, if there are several. They must not be fetched
// together again if that has failed for the same version.
func (a *audited) unanswered(provider forge.Provider, version string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var heads []string
	for _, number := range slices.Sorted(maps.Keys(a.pulls)) {
		if p := a.pulls[number]; !a.left[number] && !p.answers(p.PullRequest, version) && len(heads) < maxPrefetch {
			heads = append(heads, forge.HeadRef(provider, number))
		}
	}
	if len(heads) < 2 {
		a.base.commit, a.base.version = "", ""
		return nil
	}
	if a.base.version == version && a.base.commit == "" {
		return nil
	}
	return heads
}

// fetched records the branch's commit as of a look; "" if the heads could not be fetched.
func (a *audited) fetched(base, version string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.base.commit, a.base.version = base, version
}

// commits are those that are known of the branch and a head. After another version, the branch may have moved: what is answered for
// that version must not be about the base before it.
func (a *audited) commits(head, version string) gitsync.Known {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.base.version != version {
		return gitsync.Known{}
	}
	return gitsync.Known{Base: a.base.commit, Head: head}
}

// hasList reports whether the list was read with the present credentials.
func (a *audited) hasList() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.list != nil
}

// answered records what an answer was made for.
func (a *audited) answered(p *pull, key string, seen time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.answered, p.seen = key, seen
}

// leave forgets a pull request that isn't open on the branch any more, unless a newer list has it again.
func (a *audited) leave(number int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left[number] {
		delete(a.pulls, number)
		delete(a.failing, item{number: number}.String())
	}
}

// reset forgets what was read from the forge. At the same place only the account may be another one, with other comments.
func (a *audited) reset(place bool) {
	for number, p := range a.pulls {
		a.pulls[number] = &pull{known: known{PullRequest: p.PullRequest, since: p.since}, shown: shown{inherited: true}}
	}
	if !place {
		a.pulls, a.left = map[int64]*pull{}, map[int64]bool{}
	}
	a.list, a.until = nil, time.Time{}
	clear(a.failing)
}

// pause returns how long the forge must not be asked.
func (a *audited) pause(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.until.Sub(now)
}

func (a *audited) pauseUntil(until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until = until
}

// record records the problem of an item, and reports whether the condition changes by it.
func (a *audited) record(name, problem string) (changed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if problem == "" {
		delete(a.failing, name)
	} else {
		a.failing[name] = problem
	}
	if a.list == nil && len(a.failing) == 0 {
		return false
	}
	open := 0
	if a.list != nil {
		open = len(a.list.Items)
	}
	condition := conditionOf(a.failing, open)
	changed = a.shown == nil || a.shown.Status != condition.Status || a.shown.Message != condition.Message
	a.shown = condition
	return changed
}

func (a *audited) condition() *metav1.Condition {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shown == nil {
		return nil
	}
	shown := *a.shown
	return &shown
}

func openText(open int) string {
	switch open {
	case 0:
		return "no pull request is open"
	case 1:
		return "1 pull request is open and has its plan"
	}
	return fmt.Sprintf("%d pull requests are open and have their plans", open)
}

// maxFailing is how many pull requests a condition names.
const maxFailing = 5

func failingText(failing map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(failing)) {
		if len(parts) == maxFailing {
			parts = append(parts, fmt.Sprintf("and %d more", len(failing)-maxFailing))
			break
		}
		text := failing[name]
		if name != "" {
			text = name + ": " + text
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}
