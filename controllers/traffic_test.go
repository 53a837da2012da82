package controllers_test

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// traffic follows the requests of a world's controllers. The audit log has a request before it is answered, but not before
// others can see what it has written: a test that reads a status may be ahead of the log by the very request that wrote it.
// Whoever counts requests first waits until those that are under way are answered.
type traffic struct {
	mu    sync.Mutex
	under map[*http.Request]bool // under way; a watch until it begins
	last  time.Time              // when one began or ended
}

// through is a transport that is followed.
func (t *traffic) through(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		watches := r.URL.Query().Get("watch") != "" || strings.Contains(r.URL.Path, "/watch/")
		t.note(func() { t.under[r] = true })
		over := sync.OnceFunc(func() { t.note(func() { delete(t.under, r) }) })
		response, err := next.RoundTrip(r)
		if err != nil || watches {
			over()
			return response, err
		}
		response.Body = &followedBody{response.Body, over}
		return response, nil
	})
}

func (t *traffic) note(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.under == nil {
		t.under = map[*http.Request]bool{}
	}
	t.last = time.Now()
	change()
}

// now are the requests that are under way.
func (t *traffic) now() []*http.Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.under))
}

// quiet says whether nothing has been asked for a while, and nothing is under way.
func (t *traffic) quiet() bool {
	const while = 2 * time.Second
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.under) == 0 && time.Since(t.last) > while
}

// followedBody tells when an answer has been read.
type followedBody struct {
	io.ReadCloser
	over func()
}

func (b *followedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.over()
	}
	return n, err
}

func (b *followedBody) Close() error {
	defer b.over()
	return b.ReadCloser.Close()
}

// answered waits until the requests that are under way now are answered, so that the audit log has them.
func (w *world) answered() {
	w.Helper()
	before := w.traffic.now()
	w.eventually("answers", func() bool {
		still := w.traffic.now()
		return !slices.ContainsFunc(before, func(r *http.Request) bool { return slices.Contains(still, r) })
	})
}

// untilQuiet waits until the controllers have asked the API server nothing for a while: what goes on beside the syncs, such as
// events, is through.
func (w *world) untilQuiet() {
	w.Helper()
	w.eventually("the controllers are quiet", w.traffic.quiet)
}

// settled waits until a whole sync had nothing to do. It requests one after the other, until one begins a second after the last write to
// anything that Muster reads. By then the watches have shown that write, and scans that wait for the next second are due, because times in
// API objects are whole seconds. So what Muster does without a further cause is done, and the API server and the forge have counted it. It returns how many
// syncs it requested.
func (w *world) settled() (syncs int) {
	w.Helper()
	for deadline := time.Now().Add(patience); ; {
		began := time.Now()
		w.request()
		syncs++
		last := w.lastWrite()
		if began.Sub(last.Time) > time.Second {
			return syncs
		}
		if time.Now().After(deadline) {
			w.Fatalf("within %s, no second passed without a write; the last one is %s", patience, last)
		}
	}
}

// lastWrite is the last write to the namespace, whoever it is from. Events, leases, and AuditSyncs, whose status every sync writes, don't count.
func (w *world) lastWrite() (last server.Request) {
	w.Helper()
	requests, err := plane.Requests(w.Context(), 0, "")
	must(w.T, err)
	for _, r := range requests {
		if r.Writes() && r.Namespace == w.namespace && !slices.Contains([]string{"auditsyncs", "events", "leases"}, r.Resource) && r.Time.After(last.Time) {
			last = r
		}
	}
	return last
}

// polls counts how often the controllers have asked the Git server for the refs of the repository: every sync does so once.
func (w *world) polls() int {
	n := 0
	for _, r := range gitServer.Requests() {
		if strings.HasPrefix(r.Path, "/"+w.namespace) && strings.Contains(r.Query, "git-upload-pack") {
			n++
		}
	}
	return n
}

// untilPolled waits until an interval has passed, and the syncs at its beginning and end have looked for something to do.
func (w *world) untilPolled() {
	w.Helper()
	before := w.polls()
	w.eventually("two polls", func() bool { return w.polls() >= before+2 })
}

// mark is the moment of now, for requests.
func (w *world) mark() server.Mark {
	w.Helper()
	w.answered()
	mark, err := plane.Mark()
	must(w.T, err)
	return mark
}

// requests are those of the controllers since a mark.
func (w *world) requests(since server.Mark) []server.Request {
	w.Helper()
	w.answered()
	requests, err := plane.Requests(w.Context(), since, w.user)
	must(w.T, err)
	return requests
}

// TestNoRequestIsMissed reads what was written the moment that it can be seen, and expects the write among the requests.
func TestNoRequestIsMissed(t *testing.T) {
	w := newWorld(t)
	cfg, err := plane.User(w.user, "system:masters")
	must(t, err)
	cfg.Wrap(w.traffic.through)
	writer, err := client.New(cfg, client.Options{})
	must(t, err)
	w.createSecret("changes", nil)
	mark := w.mark()
	for i := 1; i <= 300; i++ {
		text := strconv.Itoa(i)
		done := make(chan error, 1)
		go func() {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "changes"}}
			done <- writer.Patch(t.Context(), secret, client.RawPatch(types.MergePatchType, []byte(`{"stringData":{"i":"`+text+`"}}`)))
		}()
		for string(w.secret("changes").Data["i"]) != text {
			select {
			case err := <-done:
				must(t, err)
				done <- nil
			default:
			}
		}
		if n := w.writes(mark)["secrets"]; n != i {
			t.Fatalf("%d of %d writes are counted", n, i)
		}
		must(t, <-done)
	}
}
