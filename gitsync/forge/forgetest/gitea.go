package forgetest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
)

func giteaError(w http.ResponseWriter, code int, message string) {
	answerJSON(w, code, map[string]string{"message": message, "url": "https://gitea.example.com/api/swagger"})
}

func (s *Server) gitea(w http.ResponseWriter, r *http.Request) {
	writes, known := s.giteaAuthentic(r)
	if !known {
		giteaError(w, http.StatusUnauthorized, "invalid username, password or token")
		return
	}
	if r.URL.Path == "/api/v1/user" {
		answerJSON(w, http.StatusOK, giteaUser(Robot))
		return
	}
	path, found := strings.CutPrefix(r.URL.Path, "/api/v1/repos/"+s.options.Repository)
	read, isRead := strings.CutPrefix(path, "/commits/")
	commit, isWrite := strings.CutPrefix(path, "/statuses/")
	switch {
	case !found:
		giteaError(w, http.StatusNotFound, "The target couldn't be found.")
	case s.giteaPulls(w, r, path, writes):
	case isRead && r.Method == http.MethodGet && strings.HasSuffix(read, "/status"):
		s.giteaCombined(w, r, strings.TrimSuffix(read, "/status"))
	case isWrite && r.Method == http.MethodPost && !writes:
		giteaError(w, http.StatusForbidden, "token does not have at least one of required scope(s), required=[write:repository], token scope=read:repository")
	case isWrite && r.Method == http.MethodPost:
		s.giteaCreate(w, r, commit)
	default:
		giteaError(w, http.StatusNotFound, "The target couldn't be found.")
	}
}

func (s *Server) giteaAuthentic(r *http.Request) (writes, known bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if scheme == "Basic" {
		plain, _ := base64.StdEncoding.DecodeString(token)
		_, token, _ = strings.Cut(string(plain), ":")
	}
	switch token {
	case "":
		return false, false
	case s.options.Token:
		return true, true
	}
	return false, token == s.options.ReadToken
}

func (s *Server) giteaCombined(w http.ResponseWriter, r *http.Request, commit string) {
	s.mu.Lock()
	_, known := s.commits[commit]
	latest := s.latest(commit)
	s.mu.Unlock()
	if !known {
		giteaError(w, http.StatusNotFound, "commit does not exist [id: "+commit+"]")
		return
	}
	statuses := []map[string]any{}
	for _, p := range paged(latest, number(r, "page", 1, 1<<20), number(r, "limit", 30, 50)) {
		statuses = append(statuses, giteaStatus(p))
	}
	w.Header().Set("X-Total-Count", strconv.Itoa(len(latest)))
	answerJSON(w, http.StatusOK, map[string]any{"state": "pending", "sha": commit, "total_count": len(statuses), "statuses": statuses})
}

func giteaStatus(p Post) map[string]any {
	return map[string]any{
		"id": 1, "status": p.State, "context": p.Context, "description": p.Description, "target_url": p.TargetURL,
		"created_at": p.At.UTC().Format(time.RFC3339), "updated_at": p.At.UTC().Format(time.RFC3339),
	}
}

func (s *Server) giteaCreate(w http.ResponseWriter, r *http.Request, commit string) {
	var in struct {
		State       string `json:"state"`
		TargetURL   string `json:"target_url"`
		Description string `json:"description"`
		Context     string `json:"context"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		giteaError(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.commits[commit]; !known {
		giteaError(w, http.StatusInternalServerError, "") // as the real one does: it logs the reason, and sends none
		return
	}
	s.record(commit, forge.Status{Context: in.Context, State: forge.State(in.State), Description: in.Description, TargetURL: in.TargetURL})
	answerJSON(w, http.StatusCreated, giteaStatus(s.posts[len(s.posts)-1]))
}
