package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/muster-gitops/muster/gitsync"
)

// Secrets are canaries: they are looked for in everything that a receiver says.
const (
	secret   = "CANARY-secret-0123456789abcdef"
	previous = "CANARY-previous-0123456789abcd"
)

var signing = "whsec_" + base64.StdEncoding.EncodeToString([]byte("CANARY-signing-key-0123456789abc"))

const address = "https://git.example.com/platform/fleet.git"

// register is a Targets in memory.
type register struct {
	mu      sync.Mutex
	targets map[string]Target
	events  []Event
	err     error
}

func (r *register) Target(_ context.Context, namespace, name string) (Target, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, found := r.targets[namespace+"/"+name]
	if !found {
		return Target{}, ErrUnknown
	}
	return t, r.err
}

func (r *register) Notify(_ context.Context, _, _ string, e Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	r.events = append(r.events, e)
	return nil
}

func (r *register) take() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.events
	r.events = nil
	return all
}

// site is a receiver on a real socket.
type site struct {
	testing.TB
	*Receiver
	*register
	url, host string
	registry  *prometheus.Registry

	mu      sync.Mutex
	logs    bytes.Buffer
	answers bytes.Buffer
}

func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logs.Write(p)
}

// start serves the targets below the namespace "ns", and looks for canaries in the end.
func start(t testing.TB, targets map[string]Target, change func(*Options)) *site {
	t.Helper()
	s := &site{TB: t, register: &register{targets: map[string]Target{}}, registry: prometheus.NewRegistry()}
	for name, target := range targets {
		s.targets["ns/"+name] = target
	}
	numbers, err := NewMetrics(s.registry)
	if err != nil {
		t.Fatal(err)
	}
	level := slog.LevelDebug
	if _, ok := t.(*testing.B); ok {
		level = slog.LevelError
	}
	o := Options{Targets: s.register, Metrics: numbers, Log: slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: level}))}
	if change != nil {
		change(&o)
	}
	if s.Receiver, err = New(o); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.host = listener.Addr().String()
	s.url = "http://" + s.host
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		s.lookForCanaries()
	})
	return s
}

// production is the target that most tests use.
func production(change func(*Target)) map[string]Target {
	t := Target{Secrets: [][]byte{[]byte(secret)}, Provider: Auto, RepositoryURL: address, Ref: gitsync.Ref{Branch: "main"}}
	if change != nil {
		change(&t)
	}
	return map[string]Target{"production": t}
}

func (s *site) exposition() string {
	s.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.Fatal(err)
	}
	var out bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			s.Fatal(err)
		}
	}
	return out.String()
}

func (s *site) lookForCanaries() {
	s.mu.Lock()
	logs, answers := s.logs.String(), s.answers.String()
	s.mu.Unlock()
	key := strings.TrimPrefix(signing, "whsec_")
	for what, text := range map[string]string{"logs": logs, "answers": answers, "metrics": s.exposition()} {
		for _, canary := range []string{"CANARY", key, hex.EncodeToString([]byte("CANARY"))} {
			if i := strings.Index(text, canary); i >= 0 {
				s.Errorf("%s hold a canary: …%s…", what, text[max(0, i-100):min(len(text), i+100)])
			}
		}
	}
}

// reply is what the sender sees.
type reply struct {
	status int
	text   string
	header http.Header
}

// post sends a body with headers ("Name: value") to a receiver.
func (s *site) post(name string, body []byte, headers ...string) reply {
	s.Helper()
	r, err := s.try(name, bytes.NewReader(body), headers...)
	if err != nil {
		s.Fatal(err)
	}
	return r
}

func (s *site) try(name string, body io.Reader, headers ...string) (reply, error) {
	return s.request(http.MethodPost, Path("ns", name), body, headers...)
}

func (s *site) send(method, path string, body []byte, headers ...string) reply {
	s.Helper()
	r, err := s.request(method, path, bytes.NewReader(body), headers...)
	if err != nil {
		s.Fatal(err)
	}
	return r
}

func (s *site) request(method, path string, body io.Reader, headers ...string) (reply, error) {
	request, err := http.NewRequestWithContext(context.Background(), method, s.url+path, body)
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		if key == "Content-Type" {
			request.Header.Del(key)
		}
		request.Header.Add(key, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close() //nolint:errcheck // it has been read
	text, err := io.ReadAll(response.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers.Write(text)
	s.answers.WriteString(strings.Join(response.Header["Retry-After"], ","))
	return reply{response.StatusCode, strings.TrimSpace(string(text)), response.Header}, err
}

// counted is how often an outcome has been counted, for all providers.
func (s *site) counted(o outcome) (n int) {
	s.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "outcome" && l.GetValue() == string(o) {
					n += int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return n
}

func hexMAC(key string, body []byte) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}

var deliveries struct {
	sync.Mutex
	n int
}

// unique is the id of another delivery.
func unique() string {
	deliveries.Lock()
	defer deliveries.Unlock()
	deliveries.n++
	return "72d3162e-cc78-11e3-81ab-" + strconv.Itoa(100000000000+deliveries.n)
}

// The headers of deliveries, as the forges send them.

func gitHub(event, key string, body []byte) []string {
	return []string{"User-Agent: GitHub-Hookshot/044aadd", "X-GitHub-Event: " + event, "X-GitHub-Delivery: " + unique(), "X-GitHub-Hook-ID: 292430182",
		"X-Hub-Signature: sha1=0000000000000000000000000000000000000000", "X-Hub-Signature-256: sha256=" + hexMAC(key, body)}
}

func giteaOnly(event, key, id string, body []byte) []string {
	mac := hexMAC(key, body)
	return []string{"X-Gitea-Delivery: " + id, "X-Gitea-Event: " + event, "X-Gitea-Event-Type: " + event, "X-Gitea-Signature: " + mac,
		"X-Gogs-Delivery: " + id, "X-Gogs-Event: " + event, "X-Gogs-Signature: " + mac,
		"X-Hub-Signature: sha1=0000000000000000000000000000000000000000", "X-Hub-Signature-256: sha256=" + mac, "X-GitHub-Delivery: " + id, "X-GitHub-Event: " + event}
}

func gitea(event, key string, body []byte) []string { return giteaOnly(event, key, unique(), body) }

func forgejo(event, key string, body []byte) []string {
	id := unique()
	return append(giteaOnly(event, key, id, body), "X-Forgejo-Delivery: "+id, "X-Forgejo-Event: "+event, "X-Forgejo-Signature: "+hexMAC(key, body))
}

func gitLabToken(event, token string) []string {
	id := unique()
	return []string{"X-Gitlab-Event: " + event, "X-Gitlab-Token: " + token, "X-Gitlab-Event-UUID: " + id, "Idempotency-Key: " + id, "X-Gitlab-Instance: https://git.example.com"}
}

// gitLabSigned is GitLab with a signing token; the time may be moved.
func gitLabSigned(event, key string, body []byte, off time.Duration) []string {
	return append([]string{"X-Gitlab-Event: " + event, "X-Gitlab-Instance: https://git.example.com"}, standard(key, body, off)...)
}

func standard(key string, body []byte, off time.Duration) []string {
	id, at := unique(), strconv.FormatInt(time.Now().Add(off).Unix(), 10)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
	if err != nil {
		raw = []byte(key)
	}
	m := hmac.New(sha256.New, raw)
	m.Write([]byte(id + "." + at + "."))
	m.Write(body)
	return []string{"webhook-id: " + id, "webhook-timestamp: " + at, "webhook-signature: v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))}
}

// with replaces a header, or takes it away when the value is empty.
func with(headers []string, name, value string) []string {
	var out []string
	for _, h := range headers {
		if !strings.HasPrefix(strings.ToLower(h), strings.ToLower(name)+": ") {
			out = append(out, h)
		}
	}
	if value != "" {
		out = append(out, name+": "+value)
	}
	return out
}

func payload(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

var errDown = errors.New("the API server is down")

// several puts signatures of others around the good one.
func several(headers []string) []string {
	const other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for i, h := range headers {
		if value, ok := strings.CutPrefix(h, "webhook-signature: "); ok {
			headers[i] = "webhook-signature: " + other + " v1a,AAAA " + value + " " + other
		}
	}
	return headers
}
