// Package forgetest has servers that store commit statuses, pull requests and comments as GitHub, GitLab and Gitea do, and
// reject what these reject.
// They are for tests in which the real forge can't run, or can't be made to fail in time. They answer as the forges
// document.
//
// The server for Gitea is for tests that control the clock; server.StartGitea in cmd/devenv/server runs a real one.
package forgetest

import (
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/muster-gitops/muster/gitsync/forge"
)

// Options are the content of the server and the accepted credentials. The zero value has the repository platform/fleet
// without commits, and accepts the token "t0ken".
type Options struct {
	// Repository is its path. Default "platform/fleet".
	Repository string
	// Token has all permissions, ReadToken only reads. Default "t0ken", and none.
	Token, ReadToken string
	// App is the public half of a GitHub App's key. The App's id is 1, its installation's is 2.
	App *rsa.PublicKey
	// Old is a GitLab that doesn't leave out notes of events.
	Old bool
	// TLS serves https with a certificate of CACert.
	TLS bool
	// Rate is how many requests are answered per hour on GitHub, or per minute on GitLab. Default 5,000 and 2,000.
	Rate int
	// Now is the server's clock. Default time.Now.
	Now func() time.Time
}

// Post is one status that was set.
type Post struct {
	Commit string
	forge.Status
	// Branch is the branch of the status on GitLab.
	Branch string
	// Pipeline is GitLab's, 0 elsewhere.
	Pipeline int64
	At       time.Time
}

// Server is a running forge. It is safe for concurrent use.
type Server struct {
	provider forge.Provider
	options  Options
	http     *httptest.Server
	handler  http.HandlerFunc
	release  chan struct{}
	tokens   map[string]map[string]string // the permissions of the tokens of App installations

	mu       sync.Mutex
	commits  map[string][]string // the branches that have it
	posts    []Post
	requests []string
	answer   http.HandlerFunc
	window   time.Time
	used     int
	writes   []time.Time

	jobs      []*job // jobs and the next field are GitLab's
	pipelines []pipeline

	pulls       []PullRequest
	accounts    []account
	comments    []*storedComment
	lastComment int64
	actions     []string // GitLab's quick actions
	checks      []*Check
}

// StartGitHub starts a server that answers as GitHub Enterprise Server does. It stops when the test ends.
func StartGitHub(t testing.TB, o Options) *Server { return start(t, forge.GitHub, o) }

// StartGitLab starts a server that answers as GitLab does. It stops when the test ends.
func StartGitLab(t testing.TB, o Options) *Server { return start(t, forge.GitLab, o) }

// StartGitea starts a server that answers as Gitea does. It stops when the test ends.
func StartGitea(t testing.TB, o Options) *Server { return start(t, forge.Gitea, o) }

// Start starts a server of that provider.
func Start(t testing.TB, provider forge.Provider, o Options) *Server { return start(t, provider, o) }

func start(t testing.TB, provider forge.Provider, o Options) *Server {
	if o.Repository == "" {
		o.Repository = "platform/fleet"
	}
	if o.Token == "" {
		o.Token = "t0ken"
	}
	if o.Rate == 0 {
		o.Rate = map[forge.Provider]int{forge.GitHub: 5000, forge.GitLab: 2000}[provider]
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{provider: provider, options: o, release: make(chan struct{}), tokens: map[string]map[string]string{}, commits: map[string][]string{}}
	s.handler = map[forge.Provider]http.HandlerFunc{forge.GitHub: s.github, forge.GitLab: s.gitlab, forge.Gitea: s.gitea}[provider]
	s.http = httptest.NewUnstartedServer(s.count(s.handler))
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0) // tests provoke failed handshakes
	if o.TLS {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	t.Cleanup(func() {
		close(s.release)
		s.http.Close()
	})
	return s
}

// Provider is whose forge it answers as.
func (s *Server) Provider() forge.Provider { return s.provider }

// URL is the server's address, without a slash at the end.
func (s *Server) URL() string { return s.http.URL }

// GitURL is where its repository would be, if it had one.
func (s *Server) GitURL() string { return s.http.URL + "/" + s.options.Repository + ".git" }

// CACert is the PEM certificate of its CA, or nil without TLS.
func (s *Server) CACert() []byte {
	if s.http.Certificate() == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
}

// AddCommit adds a commit on these branches, or on main if none are given.
func (s *Server) AddCommit(hash string, branches ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(branches) == 0 {
		branches = []string{"main"}
	}
	s.commits[hash] = branches
}

// Posts are all statuses that were set, oldest first, without rejected ones.
func (s *Server) Posts() []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Post(nil), s.posts...)
}

// Requests are all requests, as "METHOD PATH", including rejected ones.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// Shown is the latest status of each context of a commit.
func (s *Server) Shown(commit string) map[string]forge.Status {
	shown := map[string]forge.Status{}
	for _, p := range s.Posts() {
		if p.Commit == commit {
			shown[p.Context] = p.Status
		}
	}
	return shown
}

// AnswerWith answers all requests with the handler, until it is called with nil.
func (s *Server) AnswerWith(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = h
}

// Answer answers a request as without AnswerWith.
func (s *Server) Answer(w http.ResponseWriter, r *http.Request) { s.handler(w, r) }

// AnswerSome answers the requests with this method and end of the path with the handler, until AnswerWith is called with nil.
// The handler gets what the server itself would do as next.
func (s *Server) AnswerSome(method, suffix string, h func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc)) {
	s.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method || !strings.HasSuffix(r.URL.EscapedPath(), suffix) {
			s.handler(w, r)
			return
		}
		h(w, r, s.handler)
	})
}

// Hang answers nothing until the client disconnects or the test ends.
func (s *Server) Hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // the server notices a disconnect only after that
	select {
	case <-r.Context().Done():
	case <-s.release:
	}
}

// Status returns a handler that answers with this code, headers as pairs, and body.
func Status(code int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body) // the client may have disconnected
	}
}

func (s *Server) count(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.EscapedPath())
		answer := s.answer
		s.mu.Unlock()
		w.Header().Set("Date", s.options.Now().UTC().Format(http.TimeFormat))
		if answer != nil {
			answer(w, r)
			return
		}
		next(w, r)
	})
}

// record stores a status. The caller holds s.mu.
func (s *Server) record(commit string, status forge.Status) {
	s.posts = append(s.posts, Post{Commit: commit, Status: status, At: s.options.Now()})
}

// latest are the last statuses of each context of a commit, in the order in which the contexts first appeared. The caller
// holds s.mu.
func (s *Server) latest(commit string) []Post {
	var order []string
	last := map[string]Post{}
	for _, p := range s.posts {
		if p.Commit != commit {
			continue
		}
		if _, found := last[p.Context]; !found {
			order = append(order, p.Context)
		}
		last[p.Context] = p
	}
	latest := make([]Post, len(order))
	for i, name := range order {
		latest[i] = last[name]
	}
	return latest
}

func characters(s string) int { return utf8.RuneCountInString(s) }

func answerJSON(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value) // the client may have disconnected
}

// paged returns a page of a list. The first page is 1.
func paged[T any](all []T, page, size int) []T {
	from := min(max(page-1, 0)*size, len(all))
	return all[from:min(from+size, len(all))]
}
