package forgetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
)

// job is GitLab's representation of a status.
type job struct {
	id, pipeline                           int64
	commit, ref, name, state, text, target string
	retried                                bool // replaced by another one with its name
}

func (s *Server) gitlab(w http.ResponseWriter, r *http.Request) {
	if !s.gitlabRate(w) {
		return
	}
	token := cmp.Or(r.Header.Get("Private-Token"), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if token == "" || token != s.options.Token && token != s.options.ReadToken {
		answerJSON(w, http.StatusUnauthorized, map[string]string{"message": "401 Unauthorized"})
		return
	}
	if r.URL.Path == "/api/v4/user" {
		s.gitlabSelf(w)
		return
	}
	// The project's path is one segment, its slashes escaped.
	path, found := strings.CutPrefix(r.URL.EscapedPath(), "/api/v4/projects/")
	project, path, _ := strings.Cut(path, "/")
	if name, err := url.PathUnescape(project); !found || err != nil || name != s.options.Repository {
		answerJSON(w, http.StatusNotFound, map[string]string{"message": "404 Project Not Found"})
		return
	}
	read, isRead := strings.CutPrefix(strings.TrimSuffix(path, "/statuses"), "repository/commits/")
	write, isWrite := strings.CutPrefix(path, "statuses/")
	if !isRead {
		read = ""
	}
	if !isWrite {
		write = ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gitlabPulls(w, r, path, token == s.options.Token) {
		return
	}
	if _, known := s.commits[read+write]; !known { // one of them is empty
		answerJSON(w, http.StatusNotFound, map[string]string{"message": "404 Commit Not Found"})
		return
	}
	switch {
	case isRead && r.Method == http.MethodGet:
		s.gitlabList(w, r, read)
	case isWrite && r.Method == http.MethodPost && token == s.options.ReadToken:
		answerJSON(w, http.StatusForbidden, map[string]string{"error": "insufficient_scope", "scope": "api",
			"error_description": "The request requires higher privileges than provided by the access token."})
	case isWrite && r.Method == http.MethodPost:
		s.gitlabSet(w, r, write)
	default:
		answerJSON(w, http.StatusNotFound, map[string]string{"error": "404 Not Found"})
	}
}

// gitlabRate answers like GitLab's throttle, which precedes everything else and answers in plain text.
func (s *Server) gitlabRate(w http.ResponseWriter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	if now.Sub(s.window) >= time.Minute {
		s.window, s.used = now, 0
	}
	reset := s.window.Add(time.Minute)
	allowed := s.used < s.options.Rate
	if allowed {
		s.used++
	}
	w.Header().Set("RateLimit-Limit", strconv.Itoa(s.options.Rate))
	w.Header().Set("RateLimit-Observed", strconv.Itoa(s.used))
	w.Header().Set("RateLimit-Remaining", strconv.Itoa(s.options.Rate-s.used))
	w.Header().Set("RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	if !allowed {
		w.Header().Set("Retry-After", strconv.Itoa(int(reset.Sub(now).Seconds())))
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = fmt.Fprint(w, "Retry later\n")
	}
	return allowed
}

func (s *Server) gitlabList(w http.ResponseWriter, r *http.Request, commit string) {
	q := r.URL.Query()
	var all []*job
	for _, j := range s.jobs {
		if j.commit == commit && !j.retried && (q.Get("name") == "" || q.Get("name") == j.name) && (q.Get("ref") == "" || q.Get("ref") == j.ref) {
			all = append(all, j)
		}
	}
	size, page := number(r, "per_page", 20, 100), number(r, "page", 1, 1<<20)
	statuses := []map[string]any{}
	for _, j := range paged(all, page, size) {
		statuses = append(statuses, gitlabStatus(j))
	}
	w.Header().Set("X-Page", strconv.Itoa(page))
	if page*size < len(all) {
		w.Header().Set("X-Next-Page", strconv.Itoa(page+1))
	}
	answerJSON(w, http.StatusOK, statuses)
}

func gitlabStatus(j *job) map[string]any {
	return map[string]any{
		"id": j.id, "sha": j.commit, "ref": j.ref, "status": j.state, "name": j.name, "description": orNull(j.text),
		"target_url": orNull(j.target), "pipeline_id": j.pipeline, "coverage": nil, "allow_failure": false,
		"created_at": "2026-01-19T08:40:25.934Z", "started_at": nil, "finished_at": nil,
		"author": map[string]any{"username": "robot", "state": "active", "id": 28, "name": "Robot"},
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

type gitlabStatusIn struct {
	State, Ref, Name, Context, Description string
	TargetURL                              string `json:"target_url"`
	PipelineID                             int64  `json:"pipeline_id"`
}

// problem is the body of an answer 400, or nil.
func (in gitlabStatusIn) problem() any {
	tooLong := []string{"is too long (maximum is 255 characters)"}
	switch {
	case !slices.Contains([]string{"pending", "running", "success", "failed", "canceled", "skipped"}, in.State):
		return map[string]string{"error": "state does not have a valid value"}
	case characters(in.Description) > 255:
		return map[string]any{"message": map[string]any{"description": tooLong}}
	case characters(in.TargetURL) > 255:
		return map[string]any{"message": map[string]any{"target_url": tooLong}}
	}
	return nil
}

// gitlabSet does what Ci::CreateCommitStatusService does: it finds or creates the pipeline, finds or creates the unfinished
// job in it, then changes the job's state, which the state machine may reject.
func (s *Server) gitlabSet(w http.ResponseWriter, r *http.Request, commit string) {
	var in gitlabStatusIn
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		answerJSON(w, http.StatusBadRequest, map[string]string{"error": "state is missing"})
		return
	}
	if problem := in.problem(); problem != nil {
		answerJSON(w, http.StatusBadRequest, problem)
		return
	}
	pipeline, ref, known := s.gitlabPipeline(commit, in.Ref, in.PipelineID)
	if !known {
		answerJSON(w, http.StatusNotFound, map[string]string{"message": "404 Pipeline for pipeline_id, sha and ref Not Found"})
		return
	}
	j, begun := s.gitlabJob(pipeline, commit, ref, cmp.Or(in.Name, in.Context, "default"))
	event := map[string]string{"pending": "enqueue", "running": "run"}[in.State]
	if begun && (event == "enqueue" || event == "run" && j.state == "running") {
		answerJSON(w, http.StatusBadRequest, map[string]any{"message": fmt.Sprintf(
			"Cannot transition status via :%s from :%s (Reason(s): Status cannot transition via %q)", event, j.state, event)})
		return
	}
	// Values that are missing or empty don't change.
	j.state, j.text, j.target = in.State, cmp.Or(in.Description, j.text), cmp.Or(in.TargetURL, j.target)
	state := map[string]forge.State{"failed": forge.Failure, "running": forge.Pending}[in.State]
	s.posts = append(s.posts, Post{Commit: commit, Branch: ref, Pipeline: pipeline, At: s.options.Now(), Status: forge.Status{
		Context: j.name, State: cmp.Or(state, forge.State(in.State)), Description: j.text, TargetURL: j.target}})
	answerJSON(w, http.StatusCreated, gitlabStatus(j))
}

// gitlabJob finds the unfinished job with that name, or creates one that replaces those before it.
func (s *Server) gitlabJob(pipeline int64, commit, ref, name string) (_ *job, begun bool) {
	for _, j := range s.jobs {
		if j.pipeline == pipeline && j.name == name && (j.state == "pending" || j.state == "running") {
			return j, true
		}
	}
	for _, other := range s.jobs {
		other.retried = other.retried || other.pipeline == pipeline && other.name == name
	}
	j := &job{id: int64(len(s.jobs) + 1), pipeline: pipeline, commit: commit, ref: ref, name: name}
	s.jobs = append(s.jobs, j)
	return j, false
}

// gitlabPipeline finds the newest pipeline of the commit, at that ref if given, or creates one at the first branch that has
// the commit. There is one pipeline per commit and ref; NewPipeline creates more.
func (s *Server) gitlabPipeline(commit, ref string, id int64) (pipeline int64, at string, known bool) {
	for _, p := range slices.Backward(s.pipelines) {
		if p.commit == commit && (ref == "" || p.ref == ref) && (id == 0 || p.id == id) {
			return p.id, p.ref, true
		}
	}
	if id != 0 {
		return 0, "", false
	}
	if ref == "" {
		ref = s.commits[commit][0]
	}
	return s.newPipeline(commit, ref), ref, true
}

func (s *Server) newPipeline(commit, ref string) int64 {
	p := pipeline{id: int64(len(s.pipelines) + 100), commit: commit, ref: ref}
	s.pipelines = append(s.pipelines, p)
	return p.id
}

type pipeline struct {
	id          int64
	commit, ref string
}

// NewPipeline starts a pipeline on GitLab, as a push or a user does.
func (s *Server) NewPipeline(commit, ref string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newPipeline(commit, ref)
}
