package forgetest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
)

const (
	githubComments = "https://docs.github.com/rest/issues/comments"
	// githubCommentLength is in characters.
	githubCommentLength = 65536
)

// githubPulls answers what is about pull requests, comments and accounts, and reports whether it did.
func (s *Server) githubPulls(w http.ResponseWriter, r *http.Request, path string, a access) bool {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	at := func(method string, want ...string) bool {
		if r.Method != method || len(parts) != len(want) {
			return false
		}
		for i, p := range want {
			if p != "*" && p != parts[i] {
				return false
			}
		}
		return true
	}
	id := func(i int) int64 { n, _ := strconv.ParseInt(parts[i], 10, 64); return n }
	write := r.Method != http.MethodGet
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !at(http.MethodGet, "pulls") && !at(http.MethodGet, "pulls", "*") && !at(http.MethodGet, "issues", "*", "comments") &&
		!at(http.MethodPost, "issues", "*", "comments") && !at(http.MethodPatch, "issues", "comments", "*") &&
		!at(http.MethodGet, "collaborators", "*", "permission") && !at(http.MethodGet, "commits", "*", "pulls"):
		return false
	case !a.pulls || write && !a.writes:
		w.Header().Set("X-Accepted-GitHub-Permissions", "issues=write; pull_requests=write")
		githubError(w, http.StatusForbidden, "Resource not accessible by personal access token", githubComments)
	case at(http.MethodGet, "pulls"):
		s.githubListPulls(w, r)
	case at(http.MethodGet, "pulls", "*"):
		s.githubOne(w, s.pull(id(1)))
	case at(http.MethodGet, "issues", "*", "comments") && s.pull(id(1)) != nil:
		s.githubListComments(w, r, id(1))
	case at(http.MethodPost, "issues", "*", "comments") && s.pull(id(1)) != nil:
		s.githubComment(w, r, id(1), a.user, nil)
	case at(http.MethodPatch, "issues", "comments", "*") && s.commentByID(id(2)) != nil:
		s.githubComment(w, r, 0, a.user, s.commentByID(id(2)))
	case at(http.MethodGet, "collaborators", "*", "permission"):
		s.githubPermission(w, parts[1])
	case at(http.MethodGet, "commits", "*", "pulls"):
		s.githubOfCommit(w, r, parts[1])
	default:
		githubError(w, http.StatusNotFound, "Not Found", githubDocs)
	}
	return true
}

// githubLink sets the header that leads to the next page.
func (s *Server) githubLink(w http.ResponseWriter, r *http.Request, page, size, all int) {
	if page*size >= all {
		return
	}
	query := r.URL.Query()
	query.Set("page", strconv.Itoa(page+1))
	w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, s.URL(), r.URL.EscapedPath(), query.Encode()))
}

func (s *Server) githubListPulls(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if state := q.Get("state"); state != "" && state != "open" {
		githubError(w, http.StatusUnprocessableEntity, "this server lists open pull requests only", githubDocs)
		return
	}
	all := s.openPulls(q.Get("base"))
	size, page := number(r, "per_page", 30, 100), number(r, "page", 1, 1<<20)
	list := []map[string]any{}
	for _, p := range paged(all, page, size) {
		list = append(list, githubPull(p))
	}
	s.githubLink(w, r, page, size, len(all))
	if !answerTagged(w, r, list) {
		s.used-- // GitHub doesn't count it
	}
}

// githubOfCommit lists the pull requests that have a commit.
func (s *Server) githubOfCommit(w http.ResponseWriter, r *http.Request, hash string) {
	if _, known := s.commits[hash]; !known {
		githubError(w, http.StatusUnprocessableEntity, "No commit found for SHA: "+hash, githubDocs)
		return
	}
	all := s.withCommit(hash)
	size, page := number(r, "per_page", 30, 100), number(r, "page", 1, 1<<20)
	list := []map[string]any{}
	for _, p := range paged(all, page, size) {
		list = append(list, githubPull(p))
	}
	s.githubLink(w, r, page, size, len(all))
	answerJSON(w, http.StatusOK, list)
}

func (s *Server) githubOne(w http.ResponseWriter, p *PullRequest) {
	if p == nil {
		githubError(w, http.StatusNotFound, "Not Found", githubDocs)
		return
	}
	one := githubPull(*p)
	one["merged"] = p.Merged
	answerJSON(w, http.StatusOK, one)
}

func githubPull(p PullRequest) map[string]any {
	state := map[bool]string{true: "open", false: "closed"}[p.Open]
	head := map[string]any{"ref": "patch-1", "sha": p.Head, "label": "platform:patch-1", "repo": repositoryJSON(p)}
	var merged any
	if p.Merged {
		merged = "2026-11-20T08:00:00Z"
	}
	return map[string]any{
		"number": p.Number, "state": state, "draft": p.Draft, "merged_at": merged, "html_url": p.URL, "body": p.Body, "updated_at": p.Updated.Format(time.RFC3339),
		"user": map[string]any{"login": p.Author, "id": 1}, "head": head,
		"merge_commit_sha": orNull(p.MergedAs), "base": map[string]any{"ref": p.Base, "repo": map[string]any{"id": baseRepository}},
	}
}

// repositoryJSON is the repository of the head.
func repositoryJSON(p PullRequest) any {
	switch {
	case p.Gone:
		return nil
	case p.Fork && !p.ForReview:
		return map[string]any{"id": forkRepository}
	}
	return map[string]any{"id": baseRepository}
}

func (s *Server) githubListComments(w http.ResponseWriter, r *http.Request, pull int64) {
	all := s.conversation(pull)
	size, page := number(r, "per_page", 30, 100), number(r, "page", 1, 1<<20)
	list := []map[string]any{}
	for _, c := range paged(all, page, size) {
		list = append(list, commentJSON(c.Comment))
	}
	s.githubLink(w, r, page, size, len(all))
	answerTagged(w, r, list)
}

// commentJSON is a comment of GitHub and Gitea.
func commentJSON(c forge.Comment) map[string]any {
	var user any
	if c.AuthorID != 0 {
		user = map[string]any{"id": c.AuthorID, "login": c.Author}
	}
	return map[string]any{"id": c.ID, "body": c.Body, "user": user,
		"created_at": c.Created.Format(time.RFC3339), "updated_at": c.Updated.Format(time.RFC3339)}
}

func (s *Server) githubComment(w http.ResponseWriter, r *http.Request, number int64, author forge.User, old *storedComment) {
	body, err := bodyOf(w, r)
	problem := map[string]string{"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": "Body can't be blank"}
	switch {
	case err != nil:
		githubError(w, http.StatusBadRequest, "Problems parsing JSON", githubComments)
		return
	case characters(body) > githubCommentLength:
		problem["message"] = "Body is too long (maximum is 65536 characters)"
		fallthrough
	case strings.TrimSpace(body) == "":
		githubError(w, http.StatusUnprocessableEntity, "Validation Failed", githubComments, problem)
		return
	}
	if old == nil {
		answerJSON(w, http.StatusCreated, commentJSON(s.comment(number, author, body)))
		return
	}
	old.Body, old.Updated = body, s.options.Now().UTC()
	answerJSON(w, http.StatusOK, commentJSON(old.Comment))
}

func (s *Server) githubPermission(w http.ResponseWriter, login string) {
	a := s.accountOf(login)
	if a == nil {
		githubError(w, http.StatusNotFound, login+" is not a user", "https://docs.github.com/rest/collaborators/collaborators")
		return
	}
	answerJSON(w, http.StatusOK, map[string]any{"permission": a.permission, "role_name": a.permission,
		"user": map[string]any{"login": a.Login, "id": a.ID}})
}

// githubAccount answers /user and /users/LOGIN.
func (s *Server) githubAccount(w http.ResponseWriter, path string, a access) {
	login, byLogin := strings.CutPrefix(path, "/users/")
	switch {
	case path == "/user" && a.installed:
		githubError(w, http.StatusForbidden, "Resource not accessible by integration", githubDocs)
	case path == "/user":
		answerJSON(w, http.StatusOK, map[string]any{"login": a.user.Login, "id": a.user.ID, "type": "User"})
	case byLogin && login == Bot.Login:
		answerJSON(w, http.StatusOK, map[string]any{"login": Bot.Login, "id": Bot.ID, "type": "Bot"})
	default:
		githubError(w, http.StatusNotFound, "Not Found", githubDocs)
	}
}
