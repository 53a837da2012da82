package github

import (
	"cmp"
	"context"
	"net/url"
	"strconv"

	"github.com/google/go-github/v88/github"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/internal/wire"
)

// App is the client of a GitHub App, which can also set check runs.
type App struct {
	*Client
	id     int64
	conn   *wire.Conn
	checks *github.Client
}

// NewApp returns a client for the credentials of an App. It sends no request yet.
func NewApp(repository forge.Repository, credentials forge.Credentials, o forge.Options) (*App, error) {
	c, err := New(repository, credentials, o)
	if err != nil {
		return nil, err
	}
	a := &App{Client: c, id: credentials.App().ID}
	a.conn = c.conn.With(installation(credentials.App(), repository, &github.InstallationPermissions{Checks: new("write")}))
	a.checks, err = client(repository, a.conn)
	return a, err
}

// annotationsAtOnce is GitHub's limit: https://docs.github.com/rest/checks/runs#create-a-check-run.
const annotationsAtOnce = 50

// shownRun has the used fields of GitHub's answer.
type shownRun struct {
	ID         int64   `json:"id"`
	Name       string  `json:"name"`
	ExternalID string  `json:"external_id"`
	Status     string  `json:"status"`
	Conclusion *string `json:"conclusion"`
	App        struct {
		ID int64 `json:"id"`
	} `json:"app"`
	Output struct {
		Annotations int `json:"annotations_count"`
	} `json:"output"`
}

// SetCheckRun shows the check run on its commit. It reads the present one first, and changes it. Annotations can only be added
// to a run: for others, there is a new run, which replaces it. A run with more than 50 annotations takes several requests, and
// gets its result with the last one; if one of them fails, the next call goes on from there.
func (a *App) SetCheckRun(ctx context.Context, run forge.CheckRun) error {
	if err := run.Validate(); err != nil {
		return err
	}
	action := "set the check run " + run.Name + " of " + run.Commit.String()
	shown, err := a.shown(ctx, run)
	if err != nil {
		return a.conn.FailAbout(ctx, wire.CheckRun, action, err)
	}
	id, sent := int64(0), 0
	switch {
	case shown == nil:
	case shown.ExternalID == run.ExternalID:
		id, sent = shown.ID, min(shown.Output.Annotations, len(run.Annotations))
		if sent == len(run.Annotations) && shown.has(run.State) {
			a.conn.Done()
			return nil
		}
	case shown.Output.Annotations == 0:
		id = shown.ID
	case shown.Status != completed:
		if err := a.cancel(ctx, shown); err != nil { // nothing else would end it
			return a.conn.FailAbout(ctx, wire.CheckRun, action, err)
		}
	}
	for first := true; first || sent < len(run.Annotations); first = false {
		end := min(sent+annotationsAtOnce, len(run.Annotations))
		if id, err = a.send(ctx, run, id, run.Annotations[sent:end], end == len(run.Annotations)); err != nil {
			return a.conn.FailAbout(ctx, wire.CheckRun, action, err)
		}
		sent = end
	}
	a.conn.Done()
	return nil
}

// shown returns the newest run of that name by this App, or nil.
func (a *App) shown(ctx context.Context, run forge.CheckRun) (newest *shownRun, _ error) {
	type runs struct {
		Runs *[]shownRun `json:"check_runs"`
	}
	found, err := wire.Object[runs](ctx, a.conn, wire.Request{
		Path: a.path("/commits/%s/check-runs", run.Commit.Hash), Text: maxRunText, Query: url.Values{
			"check_name": {run.Name}, "app_id": {strconv.FormatInt(a.id, 10)}, "filter": {"latest"}, "per_page": {strconv.Itoa(pageSize)},
		}})
	if err != nil {
		return nil, err
	}
	if found.Runs == nil {
		return nil, wire.ErrNothing
	}
	for _, r := range *found.Runs {
		if r.Name == run.Name && r.App.ID == a.id && (newest == nil || r.ID > newest.ID) {
			newest = &r
		}
	}
	return newest, nil
}

// maxRunText cuts the texts of runs that are read.
const maxRunText = 1 << 10

// send creates a run, or changes the one with the id. A run with more to come is in progress.
func (a *App) send(ctx context.Context, run forge.CheckRun, id int64, annotations []forge.Annotation, last bool) (int64, error) {
	output := &github.CheckRunOutput{Title: new(forge.Truncate(forge.Line(run.Title), forge.MaxTitle)), Summary: &run.Summary}
	if run.Text != "" {
		output.Text = &run.Text
	}
	for _, n := range annotations {
		output.Annotations = append(output.Annotations, annotation(n))
	}
	status, conclusion := statusOf(run.State)
	if !last {
		status, conclusion = inProgress, nil
	}
	var target *string
	if run.TargetURL != "" {
		target = &run.TargetURL
	}
	var set *github.CheckRun
	var err error
	if id == 0 {
		set, _, err = a.checks.Checks.CreateCheckRun(ctx, a.repository.Owner(), a.repository.Name(), github.CreateCheckRunOptions{
			Name: run.Name, HeadSHA: run.Commit.Hash, ExternalID: &run.ExternalID, DetailsURL: target, Status: &status, Conclusion: conclusion, Output: output,
		})
	} else {
		set, _, err = a.checks.Checks.UpdateCheckRun(ctx, a.repository.Owner(), a.repository.Name(), id, github.UpdateCheckRunOptions{
			Name: run.Name, ExternalID: &run.ExternalID, DetailsURL: target, Status: &status, Conclusion: conclusion, Output: output,
		})
	}
	if err == nil && set.GetID() < 1 {
		err = wire.ErrNothing
	}
	return set.GetID(), err
}

func (a *App) cancel(ctx context.Context, run *shownRun) error {
	_, _, err := a.checks.Checks.UpdateCheckRun(ctx, a.repository.Owner(), a.repository.Name(), run.ID, github.UpdateCheckRunOptions{
		Name: run.Name, Status: new(completed), Conclusion: new(cancelled),
	})
	return err
}

func annotation(a forge.Annotation) *github.CheckRunAnnotation {
	end := cmp.Or(a.EndLine, a.Line)
	shown := &github.CheckRunAnnotation{Path: &a.Path, StartLine: &a.Line, EndLine: &end, AnnotationLevel: new(string(a.Level)), Message: &a.Message}
	if title := forge.Truncate(forge.Line(a.Title), forge.MaxTitle); title != "" {
		shown.Title = &title
	}
	return shown
}

const (
	inProgress = "in_progress"
	completed  = "completed"
	cancelled  = "cancelled"
)

// statusOf maps the states of a status. GitHub has no error for a run, and shows a failure.
func statusOf(s forge.State) (status string, conclusion *string) {
	switch s {
	case forge.Pending:
		return inProgress, nil
	case forge.Success:
		return completed, new("success")
	case forge.Canceled:
		return completed, new(cancelled)
	default:
		return completed, new("failure")
	}
}

// has reports whether the run shows that state.
func (r shownRun) has(s forge.State) bool {
	status, conclusion := statusOf(s)
	if r.Status != status {
		return false
	}
	return conclusion == nil || r.Conclusion != nil && *r.Conclusion == *conclusion
}
