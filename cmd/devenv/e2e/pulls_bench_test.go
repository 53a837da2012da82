package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// BenchmarkPullRequests opens 50 pull requests on a fleet of 1,000 clusters with encrypted kubeconfigs, starts the controller,
// and waits until all have their comments. Then it pushes ten times to one of them. It prints, in milliseconds:
//
//	start     from the start of the controller until the fleet is applied
//	answered  from then until all pull requests have a comment
//	comment   from the end of git push until the comment names the head: the median, and the slowest
//	sync      from the end of a git push to the branch until it is applied, with the pull requests open: the median
//	calls     the median of the requests to the forge's API for a push, those of this benchmark left out
func BenchmarkPullRequests(b *testing.B) {
	const n, open = 1000, 50
	p := &pulls{world: newWorld(b, false), robot: "robot", tokens: map[string]string{}}
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}
	for i := range n {
		files[pathOf(i)] = p.sealedCluster(nameOf(i), far(0))
	}
	p.push(files)
	var numbers []int64
	for i := range open {
		name := fmt.Sprint("pull-", i)
		p.branch(name, map[string]string{pathOf(i): strings.Replace(files[pathOf(i)], far(0), far(1), 1)})
		numbers = append(numbers, p.open(name, "main"))
	}
	began := time.Now()
	p.startController(scanstate.Bounds{})
	p.createSync(func(audit *v1alpha1.AuditSync) { audit.Spec.Forge.PullRequests = true })
	p.eventually("the fleet is applied", func() bool { return p.audit().Status.LastAppliedRevision != "" })
	applied := time.Now()
	// Asking Gitea all the time would take the CPU from what is measured.
	p.eventually("all comments are written", func() bool { return p.commentsWritten() >= open })
	answered := time.Now()
	for _, number := range numbers {
		if len(p.comments(number)) != 1 {
			b.Errorf("pull request %d has no comment", number)
		}
	}

	var took []time.Duration
	var calls []int
	for b.Loop() {
		for i := range 10 {
			time.Sleep(time.Second) // of a burst the webhook's receiver passes on one in a second
			before := p.apiCalls()
			head := p.more("pull-0", map[string]string{pathOf(0): strings.Replace(files[pathOf(0)], far(0), far(2+i+len(took)), 1)})
			pushed := time.Now()
			p.eventually("the comment is about the head", func() bool {
				own := p.comments(numbers[0])
				return len(own) == 1 && strings.Contains(own[0], head)
			})
			took = append(took, time.Since(pushed))
			calls = append(calls, p.apiCalls()-before)
		}
	}
	var syncs []time.Duration
	for i := range 5 {
		time.Sleep(3 * time.Second) // the checks of all pull requests against the new base
		commit := p.push(map[string]string{pathOf(n - 1 - i): strings.Replace(files[pathOf(n-1-i)], far(0), far(1), 1)})
		pushed := time.Now()
		p.eventually("the push is applied", func() bool { return strings.HasSuffix(p.audit().Status.LastAppliedRevision, commit) })
		syncs = append(syncs, time.Since(pushed))
	}
	slices.Sort(took)
	slices.Sort(calls)
	slices.Sort(syncs)
	b.ReportMetric(float64(applied.Sub(began).Milliseconds()), "start-ms")
	b.ReportMetric(float64(answered.Sub(applied).Milliseconds()), "answered-ms")
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "comment-ms")
	b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "comment-max-ms")
	b.ReportMetric(float64(syncs[len(syncs)/2].Milliseconds()), "sync-ms")
	b.ReportMetric(float64(calls[len(calls)/2]), "calls")
	b.ReportMetric(0, "ns/op") // commits and pauses are in that
}

// commentsWritten counts the comments that the controller has made.
func (p *pulls) commentsWritten() (n int) {
	for _, r := range p.gitea.Requests() {
		if r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/comments") && r.Code == http.StatusCreated {
			n++
		}
	}
	return n
}

// apiCalls counts the requests that the controller has made to Gitea's API.
func (p *pulls) apiCalls() (n int) {
	for _, r := range p.gitea.Requests() {
		if strings.HasPrefix(r.Path, "/api/") {
			n++
		}
	}
	return n
}
