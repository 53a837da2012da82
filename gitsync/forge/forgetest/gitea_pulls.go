package forgetest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/muster-gitops/muster/gitsync/forge"
)

const giteaAdminsOnly = "Only admins can query all permissions, repo admins can query all repo permissions, collaborators can query only their own"

// giteaPulls answers what is about pull requests and comments, and reports whether it did.
func (s *Server) giteaPulls(w http.ResponseWriter, r *http.Request, path string, writes bool) bool {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	id := func(i int) int64 { n, _ := strconv.ParseInt(parts[i], 10, 64); return n }
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method + " " + parts[0] + " " + strconv.Itoa(len(parts)) {
	case "GET pulls 1":
		s.giteaListPulls(w, r)
	case "GET pulls 2":
		p := s.pull(id(1))
		if p == nil {
			giteaError(w, http.StatusNotFound, "The target couldn't be found.")
			return true
		}
		answerJSON(w, http.StatusOK, giteaPull(*p))
	case "GET issues 3":
		if s.pull(id(1)) == nil {
			giteaError(w, http.StatusInternalServerError, "") // as the real one does
			return true
		}
		list := []map[string]any{}
		for _, c := range s.conversation(id(1)) { // it has no pages
			list = append(list, commentJSON(c.Comment))
		}
		w.Header().Set("X-Total-Count", strconv.Itoa(len(list)))
		answerJSON(w, http.StatusOK, list)
	case "POST issues 3", "PATCH issues 3":
		s.giteaComment(w, r, writes, id(1), id(2))
	case "GET commits 3":
		if parts[2] != "pull" {
			return false
		}
		s.giteaOfCommit(w, parts[1])
	case "GET git 5":
		s.giteaHeads(w, id(3))
	case "GET collaborators 3":
		s.giteaPermission(w, parts[1], writes)
	default:
		return false
	}
	return true
}

func (s *Server) giteaListPulls(w http.ResponseWriter, r *http.Request) {
	all := s.openPulls(r.URL.Query().Get("base_branch"))
	list := []map[string]any{}
	for _, p := range paged(all, number(r, "page", 1, 1<<20), number(r, "limit", 30, 50)) {
		list = append(list, giteaPull(p))
	}
	w.Header().Set("X-Total-Count", strconv.Itoa(len(all)))
	answerJSON(w, http.StatusOK, list)
}

// giteaOfCommit answers with the pull request that was merged as a commit, and with one of them if there are several.
func (s *Server) giteaOfCommit(w http.ResponseWriter, hash string) {
	for _, p := range s.pulls {
		if p.Merged && p.MergedAs == hash {
			moved := giteaPull(p)
			moved["head"].(map[string]any)["sha"] = strings.Repeat("0b", 20) // the branch was used again
			answerJSON(w, http.StatusOK, moved)
			return
		}
	}
	giteaError(w, http.StatusNotFound, "pull request does not exist [id: 0, issue_id: 0, head_repo_id: 0, base_repo_id: 7, head_branch: , base_branch: ]")
}

// giteaHeads lists the refs that begin with that of a head.
func (s *Server) giteaHeads(w http.ResponseWriter, number int64) {
	list := []map[string]any{{"ref": fmt.Sprintf("refs/pull/%d/head/other", number), "object": map[string]any{"type": "commit", "sha": strings.Repeat("0c", 20)}}}
	if p := s.pull(number); p != nil {
		list = append(list, map[string]any{"ref": fmt.Sprintf("refs/pull/%d/head", number), "object": map[string]any{"type": "commit", "sha": p.Head}})
	}
	answerJSON(w, http.StatusOK, list)
}

func giteaPull(p PullRequest) map[string]any {
	pull := githubPull(p)
	pull["merged"] = p.Merged
	head := map[string]any{"label": "patch-1", "ref": "patch-1", "sha": p.Head, "repo": repositoryJSON(p)}
	if p.ForReview {
		head["label"], head["ref"] = "", fmt.Sprintf("refs/pull/%d/head", p.Number)
	}
	pull["head"] = head
	return pull
}

func (s *Server) giteaComment(w http.ResponseWriter, r *http.Request, writes bool, number, id int64) {
	if !writes {
		giteaError(w, http.StatusForbidden, "token does not have at least one of required scope(s), required=[write:issue], token scope=read:repository")
		return
	}
	body, err := bodyOf(w, r)
	if err != nil || body == "" {
		giteaError(w, http.StatusUnprocessableEntity, "[]: Body Required")
		return
	}
	if r.Method == http.MethodPost {
		if s.pull(number) == nil {
			giteaError(w, http.StatusInternalServerError, "")
			return
		}
		answerJSON(w, http.StatusCreated, commentJSON(s.comment(number, Robot, body)))
		return
	}
	c := s.commentByID(id)
	if c == nil {
		giteaError(w, http.StatusNotFound, "comment does not exist")
		return
	}
	c.Body, c.Updated = body, s.options.Now().UTC()
	answerJSON(w, http.StatusOK, commentJSON(c.Comment))
}

func (s *Server) giteaPermission(w http.ResponseWriter, login string, admin bool) {
	a := s.accountOf(login)
	switch {
	case !admin:
		giteaError(w, http.StatusForbidden, giteaAdminsOnly)
	case a == nil:
		giteaError(w, http.StatusNotFound, "user does not exist [uid: 0, name: "+login+"]")
	default:
		answerJSON(w, http.StatusOK, map[string]any{"permission": a.permission, "role_name": a.permission,
			"user": giteaUser(a.User)})
	}
}

func giteaUser(u forge.User) map[string]any {
	return map[string]any{"id": u.ID, "login": u.Login, "username": u.Login}
}
