package forgetest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
)

const (
	githubAPI    = "/api/v3"
	githubDocs   = "https://docs.github.com/rest/commits/statuses#create-a-commit-status"
	githubLimits = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"
	// githubWrites is how many requests that create content are accepted per minute.
	githubWrites   = 80
	githubStatuses = 1000
)

func githubError(w http.ResponseWriter, code int, message, docs string, errors ...map[string]string) {
	body := map[string]any{"message": message, "documentation_url": docs, "status": strconv.Itoa(code)}
	if len(errors) > 0 {
		body["errors"] = errors
	}
	answerJSON(w, code, body)
}

func (s *Server) github(w http.ResponseWriter, r *http.Request) {
	path, found := strings.CutPrefix(r.URL.Path, githubAPI)
	if !found {
		http.NotFound(w, r)
		return
	}
	if path == "/app/installations/2/access_tokens" && r.Method == http.MethodPost {
		s.githubToken(w, r)
		return
	}
	if path == "/app" && r.Method == http.MethodGet {
		s.githubApp(w, r)
		return
	}
	a, known := s.githubAuthentic(w, r)
	if !known || !s.githubRate(w, r) {
		return
	}
	if path == "/user" || strings.HasPrefix(path, "/users/") {
		s.githubAccount(w, path, a)
		return
	}
	path, found = strings.CutPrefix(path, "/repos/"+s.options.Repository)
	if !found {
		githubError(w, http.StatusNotFound, "Not Found", githubDocs)
		return
	}
	read, isRead := strings.CutPrefix(strings.TrimSuffix(path, "/status"), "/commits/")
	commit, isWrite := strings.CutPrefix(path, "/statuses/")
	switch {
	case s.githubPulls(w, r, path, a), s.githubCheckRuns(w, r, path, a):
	case (isRead || isWrite) && !a.statuses:
		githubError(w, http.StatusForbidden, "Resource not accessible by integration", githubDocs)
	case isRead && r.Method == http.MethodGet:
		s.githubCombined(w, r, read)
	case isWrite && r.Method == http.MethodPost && !a.writes:
		w.Header().Set("X-Accepted-GitHub-Permissions", "statuses=write")
		githubError(w, http.StatusForbidden, "Resource not accessible by personal access token", githubDocs)
	case isWrite && r.Method == http.MethodPost:
		s.githubCreate(w, r, commit)
	default:
		githubError(w, http.StatusNotFound, "Not Found", githubDocs)
	}
}

// access is what a token may do.
type access struct {
	writes, statuses, pulls, checks, installed bool
	user                                       forge.User
}

func (s *Server) githubAuthentic(w http.ResponseWriter, r *http.Request) (_ access, known bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	s.mu.Lock()
	permissions, installed := s.tokens[token]
	s.mu.Unlock()
	switch {
	case r.UserAgent() == "":
		githubError(w, http.StatusForbidden, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header", githubDocs)
		return access{}, false
	case scheme != "Bearer" && scheme != "token", token == "":
	case installed:
		return access{writes: true, statuses: permissions["statuses"] != "", pulls: permissions["pull_requests"] != "",
			checks: permissions["checks"] != "", installed: true, user: Bot}, true
	case token == s.options.Token:
		return access{writes: true, statuses: true, pulls: true, user: Robot}, true
	case token == s.options.ReadToken:
		return access{statuses: true, pulls: true, user: Robot}, true
	}
	githubError(w, http.StatusUnauthorized, "Bad credentials", "https://docs.github.com/rest")
	return access{}, false
}

// githubApp answers the App itself.
func (s *Server) githubApp(w http.ResponseWriter, r *http.Request) {
	if s.options.App == nil || !githubJWT(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), s.options.App) {
		githubError(w, http.StatusUnauthorized, "A JSON web token could not be decoded", "https://docs.github.com/rest")
		return
	}
	answerJSON(w, http.StatusOK, map[string]any{"id": 1, "slug": strings.TrimSuffix(Bot.Login, "[bot]"), "name": "Muster"})
}

// githubRate counts down, and applies both of GitHub's limits.
func (s *Server) githubRate(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	if now.Sub(s.window) >= time.Hour {
		s.window, s.used = now, 0
	}
	allowed := s.used < s.options.Rate
	if allowed {
		s.used++
	}
	w.Header().Set("X-RateLimit-Limit", strconv.Itoa(s.options.Rate))
	w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(s.options.Rate-s.used))
	w.Header().Set("X-RateLimit-Used", strconv.Itoa(s.used))
	w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(s.window.Add(time.Hour).Unix(), 10))
	w.Header().Set("X-RateLimit-Resource", "core")
	if !allowed {
		githubError(w, http.StatusForbidden, "API rate limit exceeded for user ID 1.", githubLimits)
		return false
	}
	if r.Method == http.MethodGet {
		return true
	}
	for len(s.writes) > 0 && now.Sub(s.writes[0]) >= time.Minute {
		s.writes = s.writes[1:]
	}
	if len(s.writes) >= githubWrites {
		w.Header().Set("Retry-After", "60")
		githubError(w, http.StatusForbidden, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
			githubLimits+"#about-secondary-rate-limits")
		return false
	}
	s.writes = append(s.writes, now)
	return true
}

func (s *Server) githubCombined(w http.ResponseWriter, r *http.Request, commit string) {
	s.mu.Lock()
	_, known := s.commits[commit]
	latest := s.latest(commit)
	s.mu.Unlock()
	if !known {
		githubError(w, http.StatusUnprocessableEntity, "No commit found for SHA: "+commit, githubDocs)
		return
	}
	size, page := number(r, "per_page", 30, 100), number(r, "page", 1, 1<<20)
	statuses := []map[string]any{}
	for _, p := range paged(latest, page, size) {
		statuses = append(statuses, githubStatus(p))
	}
	if page*size < len(latest) {
		next := fmt.Sprintf("%s%s?per_page=%d&page=%d", s.URL(), r.URL.Path, size, page+1)
		w.Header().Set("Link", `<`+next+`>; rel="next"`)
	}
	answerJSON(w, http.StatusOK, map[string]any{
		"state": "pending", "statuses": statuses, "sha": commit, "total_count": len(latest),
	})
}

func githubStatus(p Post) map[string]any {
	status := map[string]any{
		"id": 1, "state": p.State, "context": p.Context, "description": p.Description, "target_url": nil,
		"created_at": p.At.UTC().Format(time.RFC3339), "updated_at": p.At.UTC().Format(time.RFC3339),
	}
	if p.TargetURL != "" {
		status["target_url"] = p.TargetURL
	}
	return status
}

func (s *Server) githubCreate(w http.ResponseWriter, r *http.Request, commit string) {
	var in struct {
		State       string `json:"state"`
		TargetURL   string `json:"target_url"`
		Description string `json:"description"`
		Context     string `json:"context"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		githubError(w, http.StatusBadRequest, "Problems parsing JSON", githubDocs)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.commits[commit]; !known {
		githubError(w, http.StatusUnprocessableEntity, "No commit found for SHA: "+commit, githubDocs)
		return
	}
	if in.Context == "" {
		in.Context = "default"
	}
	if problem := s.githubProblem(commit, in.State, in.Description, in.Context, in.TargetURL); problem != nil {
		githubError(w, http.StatusUnprocessableEntity, "Validation Failed", githubDocs, problem)
		return
	}
	s.record(commit, forge.Status{Context: in.Context, State: forge.State(in.State), Description: in.Description, TargetURL: in.TargetURL})
	answerJSON(w, http.StatusCreated, githubStatus(s.posts[len(s.posts)-1]))
}

// githubProblem is an element of "errors" in GitHub's wording. The caller holds s.mu.
func (s *Server) githubProblem(commit, state, description, name, target string) map[string]string {
	problem := func(field, message string) map[string]string {
		return map[string]string{"resource": "Status", "code": "custom", "field": field, "message": message}
	}
	same := 0
	for _, p := range s.posts {
		if p.Commit == commit && strings.EqualFold(p.Context, name) {
			same++
		}
	}
	switch {
	case state != "pending" && state != "success" && state != "failure" && state != "error":
		return problem("state", "state is not included in the list")
	case characters(description) > 140:
		return problem("description", "description is too long (maximum is 140 characters)")
	case strings.ContainsFunc(description, func(r rune) bool { return r > 0xFFFF }):
		return problem("description", "description doesn't accept 4-byte Unicode")
	case target != "" && !strings.HasPrefix(target, "http://") && !strings.HasPrefix(target, "https://"):
		return problem("target_url", "target_url must use http(s) scheme")
	case same >= githubStatuses:
		return map[string]string{"resource": "Status", "code": "custom",
			"message": "This SHA and context has reached the maximum number of statuses."}
	}
	return nil
}

// githubToken checks an App's JSON Web Token as GitHub does: RS256, with the App's key, valid for at most ten minutes.
func (s *Server) githubToken(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s.options.App == nil || !githubJWT(token, s.options.App) {
		githubError(w, http.StatusUnauthorized, "A JSON web token could not be decoded", "https://docs.github.com/rest")
		return
	}
	var in struct {
		Repositories []string          `json:"repositories"`
		Permissions  map[string]string `json:"permissions"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Repositories) != 1 || !leastPermissions(in.Permissions) || !strings.HasSuffix(s.options.Repository, "/"+in.Repositories[0]) {
		githubError(w, http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.", "https://docs.github.com/rest")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	installed := fmt.Sprintf("ghs_%d_installation_token", len(s.tokens)+1)
	s.tokens[installed] = in.Permissions
	answerJSON(w, http.StatusCreated, map[string]any{
		"token": installed, "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "permissions": in.Permissions,
	})
}

// leastPermissions rejects a token for more than one purpose.
func leastPermissions(asked map[string]string) bool {
	purposes := []map[string]string{{"statuses": "write"}, {"pull_requests": "write", "metadata": "read"}, {"checks": "write"}}
	return slices.ContainsFunc(purposes, func(p map[string]string) bool { return maps.Equal(p, asked) })
}

func githubJWT(token string, key *rsa.PublicKey) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	var claims struct {
		Issuer  string `json:"iss"`
		Issued  int64  `json:"iat"`
		Expires int64  `json:"exp"`
	}
	payload, errPayload := base64.RawURLEncoding.DecodeString(parts[1])
	signature, errSignature := base64.RawURLEncoding.DecodeString(parts[2])
	if errPayload != nil || errSignature != nil || json.Unmarshal(payload, &claims) != nil {
		return false
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	now := time.Now().Unix()
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil &&
		claims.Issuer == "1" && claims.Issued <= now && claims.Expires > now && claims.Expires-claims.Issued <= 600
}

// number reads a parameter between 1 and its limit.
func number(r *http.Request, name string, usual, limit int) int {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil || n < 1 {
		return usual
	}
	return min(n, limit)
}
