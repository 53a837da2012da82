package gitsync

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/cache"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// peakHeap runs f and returns by how much the heap grew at most meanwhile. Garbage is collected often, so that what is counted is held.
func peakHeap(f func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			runtime.ReadMemStats(&now)
			if now.HeapAlloc > before.HeapAlloc {
				peak.Store(max(peak.Load(), now.HeapAlloc-before.HeapAlloc))
			}
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	f()
	close(stop)
	<-stopped
	return peak.Load()
}

// endless answers with a start and then with the same bytes over and over, until the client hangs up. It gives up at a size that nothing
// honest has, so that a client without a bound fails the test and not the machine.
type endless struct {
	start, more string
	sent        atomic.Int64
}

const givesUp = 256 << 20

func (e *endless) write(w io.Writer) {
	more := strings.Repeat(e.more, max(1, 64<<10/len(e.more)))
	_, err := io.WriteString(w, e.start)
	for err == nil && e.sent.Load() < givesUp {
		var n int
		n, err = io.WriteString(w, more)
		e.sent.Add(int64(n))
	}
}

// A server that never ends any part of its answer is left early, whatever the part, and what it said is not held.
func TestEndlessAnswers(t *testing.T) {
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	const hash = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
	start := pkt("shallow "+hash) + "0000" + pkt("NAK\n")
	listing := pkt("# service=git-upload-pack\n") + "0000" + pkt(hash+" HEAD\x00side-band-64k shallow ofs-delta\n")
	for name, tc := range map[string]struct {
		get, post *endless
		what      string // LimitError.What, or nothing where HTTP's own bound ends it
		bytes     int64  // with what the buffers of the connection take, 4 MiB here
	}{
		"shallow lines":          {post: &endless{more: pkt("shallow " + hash)}, what: "answer before the pack", bytes: 8 << 20},
		"unshallow lines":        {post: &endless{more: pkt("unshallow " + hash)}, what: "answer before the pack", bytes: 8 << 20},
		"lines of neither kind":  {post: &endless{more: pkt("hello")}, what: "answer before the pack", bytes: 8 << 20},
		"ACK lines":              {post: &endless{start: "0000", more: pkt("ACK " + hash + " common\n")}, what: "answer before the pack", bytes: 8 << 20},
		"NAK lines":              {post: &endless{start: "0000", more: pkt("NAK\n")}, what: "answer before the pack", bytes: 8 << 20},
		"progress":               {post: &endless{start: start, more: pkt("\x02counting objects\n")}, what: "answer with the pack", bytes: 8 << 20},
		"empty frames":           {post: &endless{start: start, more: pkt("\x01")}, what: "answer with the pack", bytes: 8 << 20},
		"pack data":              {post: &endless{start: start, more: pkt("\x01" + strings.Repeat("x", 60_000))}, what: "pack", bytes: 16 << 20},
		"refs":                   {get: &endless{start: listing, more: pkt(hash + " refs/heads/branch\n")}, what: "list of refs", bytes: maxAdvertisement + 8<<20},
		"shallow lines for refs": {get: &endless{start: listing, more: pkt("shallow " + hash)}, what: "list of refs", bytes: maxAdvertisement + 8<<20},
		"peeled refs":            {get: &endless{start: listing, more: pkt(hash + " refs/tags/v1^{}\n")}, what: "list of refs", bytes: maxAdvertisement + 8<<20},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, o)
			srv.answerWith(func(w http.ResponseWriter, r *http.Request, backend http.Handler) {
				switch {
				case r.Method == http.MethodPost && tc.post != nil:
					tc.post.write(w)
				case r.Method == http.MethodGet && tc.get != nil:
					w.Header().Set("Content-Type", advertised)
					tc.get.write(w)
				default:
					backend.ServeHTTP(w, r)
				}
			})
			r := open(t, t.TempDir(), WithLimits(Limits{PackBytes: 2 << 20}))
			var err error
			started := time.Now()
			heap := peakHeap(func() { _, err = r.Fetch(t.Context(), Source{URL: srv.url}) })
			e := tc.post
			if tc.get != nil {
				e = tc.get
			}
			t.Logf("left after %.1f MiB, %.1f MiB of heap, %v", mib(e.sent.Load()), mib(int64(heap)), time.Since(started).Round(time.Millisecond))
			var limit *LimitError
			if !errors.As(err, &limit) || limit.What != tc.what {
				t.Errorf("got %v", err)
			}
			if sent := e.sent.Load(); sent > tc.bytes {
				t.Errorf("%.1f MiB were taken", mib(sent))
			}
			if heap > 48<<20 {
				t.Errorf("%.1f MiB of heap", mib(int64(heap)))
			}
		})
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// As many different refs as the listing may have fit into a share of the process's memory.
func TestManyRefs(t *testing.T) {
	body := manyRefs(maxAdvertisement)
	srv := serve(t, newOrigin(t))
	srv.answerWith(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", advertised)
		_, _ = io.WriteString(w, body)
	})
	var refs Refs
	var err error
	started := time.Now()
	heap := peakHeap(func() { refs, err = List(t.Context(), Source{URL: srv.url}) })
	t.Logf("%d refs, %.1f MiB of heap, %v", len(refs.All), mib(int64(heap)), time.Since(started).Round(time.Millisecond))
	if err != nil || len(refs.All) < 250_000 {
		t.Fatalf("%d refs, %v", len(refs.All), err)
	}
	if heap > 160<<20 {
		t.Errorf("%.1f MiB of heap", mib(int64(heap)))
	}
}

// manyRefs is a listing of so many bytes.
func manyRefs(size int) string {
	var body strings.Builder
	const hash = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
	body.WriteString(pkt("# service=git-upload-pack\n") + "0000" + pkt(hash+" HEAD\x00side-band-64k shallow\n"))
	for i := 0; body.Len() < size-1000; i++ {
		body.WriteString(pkt(fmt.Sprintf("%s %x", hash, i)))
	}
	return body.String() + "0000"
}

// One large listing or pack is taken apart at a time. Small ones don't wait for it, and a server that is slow with a large one holds nobody up.
func TestPlace(t *testing.T) { // alone, because it takes the turn of the whole process
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	o.commit("large", map[string]string{"f": strings.Repeat("x", smallPack+1)})
	honest := serve(t, o).url
	large, slow := serve(t, o), serve(t, o)
	listing := manyRefs(2 << 20)
	large.answerWith(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", advertised)
		_, _ = io.WriteString(w, listing)
	})
	reached := make(chan struct{})
	slow.answerWith(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", advertised)
		_, _ = io.WriteString(w, listing[:len(listing)-100])
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's always is one
		close(reached)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _, _ = List(ctx, Source{URL: slow.url}) })
	<-reached
	if refs, err := List(t.Context(), Source{URL: large.url}); err != nil || len(refs.All) == 0 {
		t.Errorf("beside a slow server: %d refs, %v", len(refs.All), err)
	}
	cancel()
	group.Wait()

	leave, err := enter(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	waits := func(err error) bool {
		remote, ok := errors.AsType[*RemoteError](err)
		return ok && remote.Reason == TimedOut
	}
	const moment = 200 * time.Millisecond
	if _, err := List(t.Context(), Source{URL: large.url, Timeout: moment}); !waits(err) {
		t.Errorf("a large listing: %v", err)
	}
	if _, err := open(t, t.TempDir()).Fetch(t.Context(), Source{URL: honest, Ref: Ref{Branch: "large"}, Timeout: 5 * moment}); !waits(err) {
		t.Errorf("a large pack: %v", err)
	}
	fetch(t, open(t, t.TempDir()), Source{URL: honest, Ref: Ref{Branch: "main"}})
	leave()
	fetch(t, open(t, t.TempDir()), Source{URL: honest, Ref: Ref{Branch: "large"}})
}

// BenchmarkHostilePeers has as many servers at once as the controller asks by default, each with the largest listing that is taken, or with a
// pack of nothing but deltas on each other. It prints how much memory they take together at most, and fails when that is more than half of
// the gibibyte that the Deployment gives.
func BenchmarkHostilePeers(b *testing.B) {
	const most = 512 << 20
	raw := chainPack(100, 1<<20)
	b.Run("packs", func(b *testing.B) {
		var peak uint64
		for b.Loop() {
			peak = max(peak, peakHeap(func() {
				var group sync.WaitGroup
				for range 16 {
					group.Go(func() {
						if _, err := receivePack(b.Context(), bytes.NewReader(raw), b.TempDir(), Limits{}.withDefaults(), nil); err != nil {
							b.Error(err)
						}
					})
				}
				group.Wait()
			}))
		}
		report(b, peak, most)
	})
	b.Run("listings", func(b *testing.B) { benchmarkListings(b, most) })
}

func report(b *testing.B, peak, most uint64) {
	b.Helper()
	b.ReportMetric(mib(int64(peak)), "MiB/peak")
	if peak > most {
		b.Errorf("%.1f MiB of heap", mib(int64(peak)))
	}
}

func benchmarkListings(b *testing.B, most uint64) {
	b.Helper()
	listing := manyRefs(maxAdvertisement)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", advertised)
		_, _ = io.WriteString(w, listing)
	}))
	defer server.Close()
	var peak uint64
	for b.Loop() {
		peak = max(peak, peakHeap(func() {
			var group sync.WaitGroup
			for range 16 {
				group.Go(func() {
					if _, err := List(b.Context(), Source{URL: server.URL + "/r.git", AllowPlainHTTP: true}); err != nil {
						b.Error(err)
					}
				})
			}
			group.Wait()
		}))
	}
	report(b, peak, most)
}

// The header of an answer is bounded before HTTP's library holds it.
func TestEndlessHeader(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	e := &endless{start: "HTTP/1.1 200 OK\r\n", more: "X-More: and more\r\n"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		e.write(conn)
		_ = conn.Close()
	}()
	_, err = open(t, t.TempDir()).Fetch(t.Context(), Source{URL: "http://" + listener.Addr().String() + "/r.git"})
	<-done
	if _, ok := errors.AsType[*RemoteError](err); !ok {
		t.Errorf("got %v", err)
	}
	if sent := e.sent.Load(); sent > 8<<20 {
		t.Errorf("%.1f MiB were taken", mib(sent))
	}
}

// Over SSH nothing bounds what comes but this package and the channel's window.
func TestEndlessSSH(t *testing.T) {
	client, identity := newSigner(t, "ed25519")
	host, _ := newSigner(t, "ed25519")
	const hash = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
	listing := pkt(hash + " HEAD\x00side-band-64k shallow ofs-delta\n")
	for name, tc := range map[string]struct {
		out, stderr *endless
		what        string
		timeout     time.Duration
	}{
		"refs":          {out: &endless{start: listing, more: pkt(hash + " refs/heads/branch\n")}, what: "list of refs"},
		"shallow lines": {out: &endless{start: listing + "0000", more: pkt("shallow " + hash)}, what: "answer before the pack"},
		"stderr":        {stderr: &endless{more: "words\n"}, timeout: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serveSSH(t, newOrigin(t), client.PublicKey(), host)
			srv.stub.Store(new(func(channel ssh.Channel) {
				var group sync.WaitGroup
				defer group.Wait()
				if tc.stderr != nil {
					group.Go(func() { tc.stderr.write(channel.Stderr()) })
				}
				if tc.out != nil {
					group.Go(func() { tc.out.write(channel) })
				}
				_, _ = io.Copy(io.Discard, channel)
			}))
			auth, err := srv.auth(identity, knownhosts.Line([]string{srv.addr}, host.PublicKey())+"\n")
			if err != nil {
				t.Fatal(err)
			}
			started := time.Now()
			heap := peakHeap(func() {
				_, err = open(t, t.TempDir()).Fetch(t.Context(), Source{URL: srv.url(), Auth: auth, Timeout: cmp.Or(tc.timeout, 30*time.Second)})
			})
			t.Logf("%.1f MiB of heap, %v", mib(int64(heap)), time.Since(started).Round(time.Millisecond))
			var limit *LimitError
			var remote *RemoteError
			if tc.what != "" && (!errors.As(err, &limit) || limit.What != tc.what) || tc.what == "" && (!errors.As(err, &remote) || remote.Reason != TimedOut) {
				t.Errorf("got %v", err)
			}
			if heap > 64<<20 {
				t.Errorf("%.1f MiB of heap", mib(int64(heap)))
			}
		})
	}
}

// deltaOf is a delta instruction stream from a base of one size to a result of another.
func deltaOf(base, result int, instructions ...byte) []byte {
	var b []byte
	for _, n := range []int{base, result} {
		for ; n >= 0x80; n >>= 7 {
			b = append(b, byte(n)|0x80)
		}
		b = append(b, byte(n))
	}
	return append(b, instructions...)
}

// chainPack is a pack of one blob and a chain of deltas on it. Each delta inserts size zeros, so that it is as large as what it makes.
func chainPack(links, size int) []byte {
	insert := make([]byte, 0, size+size/100)
	for left := size; left > 0; left -= 127 {
		n := min(left, 127)
		insert = append(append(insert, byte(n)), make([]byte, n)...)
	}
	objects := [][]byte{rawObject(3, 1, nil, []byte("x"))}
	base, distance := 1, len(objects[0])
	for range links {
		delta := deltaOf(base, size, insert...)
		objects = append(objects, rawObject(6, int64(len(delta)), offsetOf(distance), delta))
		base, distance = size, len(objects[len(objects)-1])
	}
	return rawPack(uint32(len(objects)), objects...)
}

// offsetOf is how a delta says how far back in the pack its base is.
func offsetOf(distance int) []byte {
	b := []byte{byte(distance & 0x7f)}
	for distance >>= 7; distance > 0; distance >>= 7 {
		distance--
		b = append([]byte{byte(distance&0x7f) | 0x80}, b...)
	}
	return b
}

// To read an object at the end of a chain, go-git holds the deltas of all of it. A small pack can have gigabytes of them.
func TestDeltaChains(t *testing.T) {
	limits := Limits{DeltaBytes: 16 << 20}.withDefaults()
	raw := chainPack(64, 1<<20)
	var err error
	heap := peakHeap(func() { _, err = receivePack(t.Context(), bytes.NewReader(raw), t.TempDir(), limits, nil) })
	t.Logf("a pack of %.1f KiB, %.1f MiB of heap: %v", float64(len(raw))/1024, mib(int64(heap)), err)
	var limit *LimitError
	if !errors.As(err, &limit) || limit.What != "deltas in a pack" {
		t.Errorf("got %v", err)
	}
	if heap > 8<<20 {
		t.Errorf("%.1f MiB of heap", mib(int64(heap)))
	}
	dir := t.TempDir()
	name, err := receivePack(t.Context(), bytes.NewReader(chainPack(10, 1<<20)), dir, limits, nil)
	if err != nil {
		t.Fatalf("a chain within the limit: %v", err)
	}
	if _, err := openPack(dir, name, cache.NewObjectLRUDefault()); err != nil {
		t.Error(err)
	}
}

// A folder of millions of names, a fan of empty folders, and commits with megabytes of text or of signature are refused before they are taken apart.
func TestLargeObjectsOfAKind(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	blob := o.hash("blob", "x")
	var wide, fan strings.Builder
	empty := o.hash("tree", "")
	for i := range 3000 {
		wide.WriteString(rawTree("100644", fmt.Sprintf("f%06d", i), blob))
		fan.WriteString(rawTree("40000", fmt.Sprintf("f%06d", i), empty))
	}
	o.commitTree("wide", o.hash("tree", wide.String()))
	top := o.hash("tree", fan.String())
	o.commitTree("fan", top)
	o.commitTree("fan-of-fans", o.hash("tree", rawTree("40000", "a", top, "40000", "b", top)))
	commit := o.hash("commit", "tree "+empty+"\nauthor A <a@example.com> 1700000000 +0000\ncommitter A <a@example.com> 1700000000 +0000\n\n"+strings.Repeat("m", maxCommit))
	o.git("update-ref", "refs/heads/talk", commit)
	// Each line of a signature is appended to those before.
	commit = o.hash("commit", "tree "+empty+"\nauthor A <a@example.com> 1700000000 +0000\ncommitter A <a@example.com> 1700000000 +0000\ngpgsig x"+strings.Repeat("\n ", maxCommit/3)+"\n\nm")
	o.git("update-ref", "refs/heads/signed", commit)
	url := serve(t, o).url
	for branch, tc := range map[string]struct {
		files int64
		what  string
	}{
		"wide": {2999, "files in a commit"}, "fan": {2999, "files in a commit"}, "fan-of-fans": {6001, "files in a commit"}, "talk": {0, "commit"}, "signed": {0, "commit header"},
	} {
		_, err := open(t, t.TempDir(), WithLimits(Limits{Files: tc.files})).Fetch(t.Context(), Source{URL: url, Ref: Ref{Branch: branch}})
		var limit *LimitError
		if !errors.As(err, &limit) || limit.What != tc.what {
			t.Errorf("%s: %v", branch, err)
		}
	}
	fetch(t, open(t, t.TempDir(), WithLimits(Limits{Files: 3000})), Source{URL: url, Ref: Ref{Branch: "wide"}})
	fetch(t, open(t, t.TempDir(), WithLimits(Limits{Files: 6002})), Source{URL: url, Ref: Ref{Branch: "fan-of-fans"}})
}

// saidWire is a wire on which everything has been said already.
type saidWire struct{ listing, answer []byte }

func (w saidWire) advertisement(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(w.listing)), nil
}
func (w saidWire) exchange(context.Context, []byte) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(w.answer)), nil
}
func (saidWire) spent() bool           { return false }
func (saidWire) serverMessage() string { return "" }
func (saidWire) close()                {}

// Whatever a server says, the answer is refs and a pack, or one of the documented errors.
func FuzzAnswers(f *testing.F) {
	const hash = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
	listing := pkt(hash+" HEAD\x00side-band-64k shallow ofs-delta multi_ack_detailed symref=HEAD:refs/heads/main\n") + pkt(hash+" refs/heads/main\n") + pkt(hash+" refs/tags/v1^{}\n") + "0000"
	pack := string(rawPack(1, rawObject(3, 5, nil, []byte("hello"))))
	f.Add([]byte(listing), []byte(pkt("shallow "+hash)+"0000"+pkt("ACK "+hash+" common\n")+pkt("NAK\n")+pkt("\x02words\n")+pkt("\x01"+pack)+"0000"))
	f.Add([]byte(pkt("# service=git-upload-pack\n")+"0000"+listing), []byte("0000"+pkt("NAK\n")+pkt("\x03no\n")))
	f.Add([]byte(pkt("ERR no\n")), []byte(pack))
	f.Fuzz(func(t *testing.T, listing, answer []byte) {
		limits := Limits{PackBytes: 1 << 20, ObjectBytes: 1 << 20, TotalBytes: 4 << 20}.withDefaults()
		r := &remote{url: "https://git.example.com/r", limits: limits, wire: saidWire{listing, answer}}
		refs, err := r.refs(t.Context())
		if err == nil {
			err = r.objects(t.Context(), refs, way{wants: hashes(hash)}, nil, func(pack io.Reader) error {
				_, err := receivePack(t.Context(), pack, t.TempDir(), limits, nil)
				return err
			})
		}
		var limit *LimitError
		var remote *RemoteError
		if err != nil && !errors.As(err, &limit) && !errors.As(err, &remote) {
			t.Errorf("got %T %v", err, err)
		}
	})
}
