package forgetest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const githubChecks = "https://docs.github.com/rest/checks/runs"

// Check is a check run of GitHub.
type Check struct {
	ID                                       int64
	Commit, Name, ExternalID                 string
	Status, Conclusion, Title, Summary, Text string
	Annotations                              []string // PATH:LINE-LINE LEVEL MESSAGE
}

// Checks are all check runs, oldest first.
func (s *Server) Checks() []Check {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Check, len(s.checks))
	for i, c := range s.checks {
		all[i] = *c
		all[i].Annotations = slices.Clone(c.Annotations)
	}
	return all
}

type checkIn struct {
	Name       string  `json:"name"`
	HeadSHA    string  `json:"head_sha"`
	ExternalID *string `json:"external_id"`
	Status     string  `json:"status"`
	Conclusion string  `json:"conclusion"`
	Output     *struct {
		Title, Summary, Text string
		Annotations          []struct {
			Path, Message string
			StartLine     int    `json:"start_line"`
			EndLine       int    `json:"end_line"`
			Level         string `json:"annotation_level"`
		}
	} `json:"output"`
}

// githubCheckRuns answers what is about check runs, and reports whether it did.
func (s *Server) githubCheckRuns(w http.ResponseWriter, r *http.Request, path string, a access) bool {
	commit, isList := strings.CutSuffix(strings.TrimPrefix(path, "/commits/"), "/check-runs")
	isList = isList && strings.HasPrefix(path, "/commits/")
	if !isList && !strings.HasPrefix(path, "/check-runs") {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _ := strconv.ParseInt(strings.TrimPrefix(path, "/check-runs/"), 10, 64)
	present := slices.IndexFunc(s.checks, func(c *Check) bool { return c.ID == id })
	switch {
	case !a.checks:
		githubError(w, http.StatusForbidden, "You must authenticate via a GitHub App.", githubChecks)
	case isList && r.Method == http.MethodGet:
		s.githubListChecks(w, r, commit)
	case path == "/check-runs" && r.Method == http.MethodPost:
		s.githubSetCheck(w, r, nil)
	case r.Method == http.MethodPatch && present >= 0:
		s.githubSetCheck(w, r, s.checks[present])
	default:
		githubError(w, http.StatusNotFound, "Not Found", githubChecks)
	}
	return true
}

// githubListChecks lists the latest run of each name.
func (s *Server) githubListChecks(w http.ResponseWriter, r *http.Request, commit string) {
	q := r.URL.Query()
	latest := map[string]*Check{}
	for _, c := range s.checks {
		if c.Commit == commit && (q.Get("check_name") == "" || q.Get("check_name") == c.Name) {
			latest[c.Name] = c
		}
	}
	list := []map[string]any{}
	for _, c := range latest {
		list = append(list, checkJSON(c))
	}
	answerJSON(w, http.StatusOK, map[string]any{"total_count": len(list), "check_runs": list})
}

func checkJSON(c *Check) map[string]any {
	return map[string]any{
		"id": c.ID, "name": c.Name, "head_sha": c.Commit, "external_id": c.ExternalID, "status": c.Status, "conclusion": orNull(c.Conclusion),
		"app": map[string]any{"id": 1}, "output": map[string]any{"title": c.Title, "summary": c.Summary, "annotations_count": len(c.Annotations)},
	}
}

func (s *Server) githubSetCheck(w http.ResponseWriter, r *http.Request, c *Check) {
	var in checkIn
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<20)).Decode(&in); err != nil {
		githubError(w, http.StatusBadRequest, "Problems parsing JSON", githubChecks)
		return
	}
	if problem := s.githubCheckProblem(in, c == nil); problem != "" {
		githubError(w, http.StatusUnprocessableEntity, "Invalid request.\n\n"+problem, githubChecks)
		return
	}
	code := http.StatusOK
	if c == nil {
		c = &Check{ID: int64(len(s.checks) + 1), Commit: in.HeadSHA}
		s.checks = append(s.checks, c)
		code = http.StatusCreated
	}
	c.Name, c.Status, c.Conclusion = in.Name, in.Status, in.Conclusion
	if in.ExternalID != nil {
		c.ExternalID = *in.ExternalID
	}
	if in.Output != nil {
		c.Title, c.Summary, c.Text = in.Output.Title, in.Output.Summary, in.Output.Text
		for _, n := range in.Output.Annotations { // they are added to those before
			c.Annotations = append(c.Annotations, n.Path+":"+strconv.Itoa(n.StartLine)+"-"+strconv.Itoa(n.EndLine)+" "+n.Level+" "+n.Message)
		}
	}
	answerJSON(w, code, checkJSON(c))
}

func (s *Server) githubCheckProblem(in checkIn, created bool) string {
	_, known := s.commits[in.HeadSHA]
	switch {
	case in.Name == "":
		return `"name" wasn't supplied.`
	case created && !known:
		return "No commit found for SHA: " + in.HeadSHA
	case (in.Status == "completed") != (in.Conclusion != ""):
		return "conclusion is required if the status is completed, and only then"
	case in.Output == nil:
		return ""
	case in.Output.Title == "" || in.Output.Summary == "":
		return `"title" and "summary" weren't supplied.`
	case characters(in.Output.Summary) > 65535 || characters(in.Output.Text) > 65535:
		return "Only 65535 characters are allowed"
	case len(in.Output.Annotations) > 50:
		return "No more than 50 items are allowed; " + strconv.Itoa(len(in.Output.Annotations)) + " were supplied."
	}
	for _, a := range in.Output.Annotations {
		if a.Path == "" || a.StartLine < 1 || a.EndLine < a.StartLine || a.Message == "" || !slices.Contains([]string{"notice", "warning", "failure"}, a.Level) {
			return "an annotation is incomplete"
		}
	}
	return ""
}
