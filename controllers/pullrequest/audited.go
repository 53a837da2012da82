package pullrequest

import (
	"fmt"
	"maps"
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
	dir   string
	judge judge.Judge

	mu         sync.Mutex
	repository *gitsync.Repository
	connection *connection
	list       *forge.PullRequestList
	pulls      map[int64]*pull
	queued     map[string]*pull // commits of the merge queue, by ref
	// failing are the problems of the last attempts, by the items' names.
	failing map[string]string
	shown   *metav1.Condition
}

// pull is what is known of a pull request. The queue hands each to one worker at a time.
type pull struct {
	forge.PullRequest
	// since is when it was reopened, or came back to this branch; zero if neither was seen. Allowing a head before that doesn't
	// count.
	since time.Time
	// answered is what the last complete answer was made for.
	answered string
	// comment is ours, with its text; 0 until it is found or written. read is true once the comments were read.
	comment int64
	text    string
	read    bool
	// status is the last one that was set or seen, on the commit of head.
	status forge.Status
	head   string
	// annotated is true once a check run was set.
	annotated bool
}

// cache returns the clone for pull requests.
func (a *audited) cache() (*gitsync.Repository, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.repository == nil {
		repository, err := gitsync.Open(a.dir, gitsync.WithLimits(limits))
		if err != nil {
			return nil, fmt.Errorf("open the cache of pull requests: %w", err)
		}
		a.repository = repository
	}
	return a.repository, nil
}

func (a *audited) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.repository != nil {
		_ = a.repository.Close() // the cache is disposable
		a.repository = nil
	}
}

// listed replaces the list of open pull requests, and returns the numbers of those to look at: new ones, changed ones, those
// that are no longer in it, and all of forks.
func (a *audited) listed(list *forge.PullRequestList, version string, now time.Time) []int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var due []int64
	open := map[int64]bool{}
	for _, pr := range list.Items {
		open[pr.Number] = true
		known := a.pulls[pr.Number]
		if known == nil {
			known = &pull{}
			a.pulls[pr.Number] = known
		}
		if !known.Open && known.Number != 0 { // reopened, or retargeted and back
			known.since, known.answered = now.Truncate(time.Second), "" // the forges' times have no fractions
		}
		if !strings.HasPrefix(known.answered, answerKey(pr, version)) || pr.Fork { // a maintainer may have allowed its head
			due = append(due, pr.Number)
		}
		known.PullRequest = pr
	}
	for number, known := range a.pulls {
		if !open[number] && known.Open {
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

// pull returns what is known of a pull request, or nil.
func (a *audited) pull(number int64) *pull {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pulls[number]
}

// closed records that a pull request isn't open on the branch any more. It is kept, so that it counts as reopened when it is.
func (a *audited) closed(number int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.pulls[number]; known != nil {
		known.Open, known.answered = false, ""
	}
	delete(a.failing, item{number: number}.String())
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
