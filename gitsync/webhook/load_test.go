package webhook

import (
	"bytes"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// perSecond is how many deliveries an AuditSync's forge sends in the load tests.
const perSecond = 500

// load is what became of the deliveries of a while.
type load struct {
	sent, refused, guessed atomic.Int64
	took                   time.Duration
	before, after          uint64 // bytes of heap in use
}

// run sends valid deliveries at a steady rate, with guesses between them, though not as many as would get their source told to
// wait, and measures the heap after a warm-up of a second and in the end.
func run(s *site, seconds int) *load {
	s.Helper()
	l := &load{}
	l.send(s, 1)
	l.before = heap()
	began := time.Now()
	sent := l.sent.Load()
	l.send(s, seconds)
	l.took = time.Since(began)
	l.sent.Add(-sent)
	l.after = heap()
	return l
}

// send keeps to the rate on the average: what a busy machine delays is made up for.
func (l *load) send(s *site, seconds int) {
	body := payload(s, "github-push")
	jobs := make(chan string, perSecond)
	var wait sync.WaitGroup
	for range 32 {
		wait.Go(func() {
			for key := range jobs {
				r, err := s.try("production", bytes.NewReader(body), gitHub("push", key, body)...)
				l.count(key, err == nil && r.status == http.StatusAccepted)
			}
		})
	}
	began, n := time.Now(), 0
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n < seconds*perSecond {
		<-tick.C
		for due := int(time.Since(began).Seconds() * perSecond); n < min(due, seconds*perSecond); n++ {
			jobs <- secret
			if n%(perSecond/5) == 0 {
				jobs <- guess
				s.forget()
			}
		}
	}
	close(jobs)
	wait.Wait()
	s.forget()
}

const guess = "a-guess-0123456789abcdef"

func (l *load) count(key string, accepted bool) {
	switch {
	case key == secret && accepted:
		l.sent.Add(1)
	case key == secret:
		l.refused.Add(1)
	case accepted:
		l.guessed.Add(1)
	}
}

// forget empties what the test itself gathers.
func (s *site) forget() {
	s.take()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs.Reset()
	s.answers.Reset()
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools held back
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// patient is for the load tests: deliveries remembered as in earnest would still fill up, which is bounded and not flat.
func patient(o *Options) { o.Limits.Replays = perSecond / 2 }

func (l *load) check(t testing.TB, seconds int) {
	t.Helper()
	sent, refused, guessed := l.sent.Load(), l.refused.Load(), l.guessed.Load()
	if sent != int64(seconds*perSecond) || refused > 0 || guessed > 0 {
		t.Errorf("%d valid deliveries were accepted and %d were not; %d guesses were accepted", sent, refused, guessed)
	}
	const room = 8 << 20
	if l.after > l.before+room {
		t.Errorf("the heap grew from %d to %d bytes", l.before, l.after)
	}
}

// TestLoad is the short form of BenchmarkAMinuteOf500PerSecond.
func TestLoad(t *testing.T) {
	seconds := 3
	if testing.Short() {
		seconds = 1
	}
	l := run(start(t, production(nil), patient), seconds)
	l.check(t, seconds)
	t.Logf("%d deliveries in %s, heap %d KiB before and %d KiB after", l.sent.Load(), l.took, l.before>>10, l.after>>10)
}

// BenchmarkAMinuteOf500PerSecond is one round of a minute, however long benchmarks are asked to take.
func BenchmarkAMinuteOf500PerSecond(b *testing.B) {
	s := start(b, production(nil), patient)
	for b.Loop() {
		l := run(s, 60)
		l.check(b, 60)
		b.ReportMetric(float64(l.sent.Load()), "deliveries")
		b.ReportMetric(float64(l.sent.Load())/l.took.Seconds(), "deliveries/s")
		b.ReportMetric(float64(l.refused.Load()), "refused")
		b.ReportMetric(float64(l.before>>10), "KiB-before")
		b.ReportMetric(float64(l.after>>10), "KiB-after")
	}
}

// BenchmarkVerify8MiB is what a stranger can make a receiver do with one request.
func BenchmarkVerify8MiB(b *testing.B) {
	body := make([]byte, 8<<20)
	c := credentials{provider: GitHub, macs: [][]byte{make([]byte, 32)}}
	target := production(nil)["production"]
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		v := c.verifier(target)
		_, _ = v.Write(body)
		if v.ok() {
			b.Fatal("verified")
		}
	}
}
