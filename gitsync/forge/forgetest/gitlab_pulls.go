package forgetest

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// gitlabPulls answers what is about merge requests, notes and members, and reports whether it did. The caller holds s.mu.
func (s *Server) gitlabPulls(w http.ResponseWriter, r *http.Request, path string, writes bool) bool {
	parts := strings.Split(path, "/")
	id := func(i int) int64 { n, _ := strconv.ParseInt(parts[i], 10, 64); return n }
	switch {
	case len(parts) == 3 && parts[0] == "members" && parts[1] == "all":
		s.gitlabMember(w, id(2))
		return true
	case len(parts) == 4 && parts[0] == "repository" && parts[1] == "commits" && parts[3] == "merge_requests":
		s.gitlabOfCommit(w, r, parts[2])
		return true
	case parts[0] != "merge_requests":
		return false
	case r.Method != http.MethodGet && !writes:
		answerJSON(w, http.StatusForbidden, map[string]string{"error": "insufficient_scope", "scope": "api",
			"error_description": "The request requires higher privileges than provided by the access token."})
		return true
	case len(parts) == 1:
		s.gitlabListPulls(w, r)
		return true
	case s.pull(id(1)) == nil:
		answerJSON(w, http.StatusNotFound, map[string]string{"message": "404 Not found"})
		return true
	}
	switch r.Method + " " + strconv.Itoa(len(parts)) {
	case "GET 2":
		answerJSON(w, http.StatusOK, gitlabPull(*s.pull(id(1))))
	case "GET 3":
		s.gitlabNotes(w, r, id(1))
	case "POST 3":
		s.gitlabNote(w, r, id(1), nil)
	case "PUT 4":
		old := s.commentByID(id(3))
		if old == nil {
			answerJSON(w, http.StatusNotFound, map[string]string{"message": "404 Note Not Found"})
			return true
		}
		s.gitlabNote(w, r, id(1), old)
	default:
		return false
	}
	return true
}

// gitlabPage sets the headers of a page.
func gitlabPage(w http.ResponseWriter, r *http.Request, all int) (page, size int) {
	size, page = number(r, "per_page", 20, 100), number(r, "page", 1, 1<<20)
	w.Header().Set("X-Page", strconv.Itoa(page))
	w.Header().Set("X-Next-Page", "")
	if page*size < all {
		w.Header().Set("X-Next-Page", strconv.Itoa(page+1))
	}
	return page, size
}

func (s *Server) gitlabListPulls(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("state") != "opened" {
		answerJSON(w, http.StatusBadRequest, map[string]string{"error": "this server lists open merge requests only"})
		return
	}
	all := s.openPulls(q.Get("target_branch"))
	page, size := gitlabPage(w, r, len(all))
	list := []map[string]any{}
	for _, p := range paged(all, page, size) {
		list = append(list, gitlabPull(p))
	}
	answerTagged(w, r, list)
}

// gitlabOfCommit lists the merge requests that have a commit.
func (s *Server) gitlabOfCommit(w http.ResponseWriter, r *http.Request, hash string) {
	if _, known := s.commits[hash]; !known {
		answerJSON(w, http.StatusNotFound, map[string]string{"message": "404 Commit Not Found"})
		return
	}
	all := s.withCommit(hash)
	page, size := gitlabPage(w, r, len(all))
	list := []map[string]any{}
	for _, p := range paged(all, page, size) {
		list = append(list, gitlabPull(p))
	}
	answerJSON(w, http.StatusOK, list)
}

// gitlabMerged are the commits of a merge, "" for one that it did not make.
func gitlabMerged(p PullRequest) (merge, squash string) {
	switch {
	case !p.Merged || p.Forward && !p.Squashed:
		return "", ""
	case p.Forward:
		return "", p.MergedAs
	case p.Squashed:
		return p.MergedAs, strings.Repeat("0d", 20)
	}
	return p.MergedAs, ""
}

func gitlabPull(p PullRequest) map[string]any {
	state := "closed"
	switch {
	case p.Open:
		state = "opened"
	case p.Merged:
		state = "merged"
	}
	var source any = baseRepository
	switch {
	case p.Gone:
		source = nil
	case p.Fork:
		source = forkRepository
	}
	merge, squash := gitlabMerged(p)
	return map[string]any{
		"merge_commit_sha": orNull(merge), "squash_commit_sha": orNull(squash),
		"iid": p.Number, "id": 1000 + p.Number, "state": state, "draft": p.Draft, "sha": p.Head, "target_branch": p.Base, "source_branch": "patch-1",
		"source_project_id": source, "target_project_id": baseRepository, "web_url": p.URL, "description": p.Body, "updated_at": p.Updated.Format(time.RFC3339Nano),
		"author": map[string]any{"id": 1, "username": p.Author},
	}
}

func (s *Server) gitlabNotes(w http.ResponseWriter, r *http.Request, number int64) {
	var all []*storedComment
	for _, c := range s.conversation(number) {
		if !c.event || r.URL.Query().Get("activity_filter") != "only_comments" || s.options.Old {
			all = append(all, c)
		}
	}
	page, size := gitlabPage(w, r, len(all))
	list := []map[string]any{}
	for _, c := range paged(all, page, size) {
		list = append(list, noteJSON(*c))
	}
	answerTagged(w, r, list)
}

func noteJSON(c storedComment) map[string]any {
	return map[string]any{
		"id": c.ID, "type": nil, "system": c.event, "body": c.Body, "author": map[string]any{"id": c.AuthorID, "username": c.Author},
		"created_at": c.Created.Format(time.RFC3339Nano), "updated_at": c.Updated.Format(time.RFC3339Nano),
	}
}

// quickAction is a line that GitLab executes.
var quickAction = regexp.MustCompile(`(?m)^\s*/[a-z_]+`)

func (s *Server) gitlabNote(w http.ResponseWriter, r *http.Request, number int64, old *storedComment) {
	body, err := bodyOf(w, r)
	switch {
	case err != nil || strings.TrimSpace(body) == "":
		answerJSON(w, http.StatusBadRequest, map[string]string{"error": "body is missing"})
		return
	case characters(body) > 1_000_000:
		answerJSON(w, http.StatusBadRequest, map[string]any{"message": map[string]any{"note": []string{"is too long (maximum is 1000000 characters)"}}})
		return
	}
	s.actions = append(s.actions, quickAction.FindAllString(body, -1)...)
	if old == nil {
		s.comment(number, Robot, body)
		answerJSON(w, http.StatusCreated, noteJSON(*s.comments[len(s.comments)-1]))
		return
	}
	old.Body, old.Updated = body, s.options.Now().UTC()
	answerJSON(w, http.StatusOK, noteJSON(*old))
}

// gitlabMember knows members only: 404 is the answer for all others, and for those who don't exist.
func (s *Server) gitlabMember(w http.ResponseWriter, id int64) {
	levels := map[string]int{"read": 20, "write": 30, "admin": 40}
	for _, a := range s.accounts {
		if a.ID == id && levels[a.permission] != 0 {
			answerJSON(w, http.StatusOK, map[string]any{"id": a.ID, "username": a.Login, "state": "active", "access_level": levels[a.permission]})
			return
		}
	}
	answerJSON(w, http.StatusNotFound, map[string]string{"message": "404 Not found"})
}

func (s *Server) gitlabSelf(w http.ResponseWriter) {
	answerJSON(w, http.StatusOK, map[string]any{"id": Robot.ID, "username": Robot.Login, "state": "active"})
}
