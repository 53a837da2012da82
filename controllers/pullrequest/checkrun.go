package pullrequest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
)

// setCheckRun shows the new findings at their lines, where the credentials are those of a GitHub App. It is in addition to the
// status and the comment, which have the same findings, so that an App without permission for it loses only the annotations.
func (w *answering) setCheckRun(ctx context.Context, a answer) error {
	app, ok := w.conn.Client.(connect.CheckRunner)
	if !ok || len(a.annotations) == 0 && !w.pull.annotated {
		return nil
	}
	run := forge.CheckRun{Commit: forge.Commit{Hash: a.head}, Name: report.PlanContext(w.subject.AuditSync) + "/findings", State: a.status.State,
		Title: w.mask(a.status.Description), Summary: "The new findings of this pull request. The comment lists what the merge would do.", TargetURL: w.URL}
	for _, at := range a.annotations[:min(len(a.annotations), forge.MaxAnnotations)] {
		run.Annotations = append(run.Annotations, forge.Annotation{Path: at.Path, Line: at.Line, EndLine: at.EndLine, Level: levels[at.Severity],
			Title: w.mask(at.Title), Message: w.mask(report.Cut(at.Message, forge.MaxAnnotation))})
	}
	content, err := json.Marshal(run)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	run.ExternalID = hex.EncodeToString(sum[:])
	if err := app.SetCheckRun(ctx, run); err != nil {
		return fmt.Errorf("show the annotations: %w", err)
	}
	w.pull.annotated = true
	return nil
}

var levels = map[finding.Severity]forge.AnnotationLevel{finding.Error: forge.Problem, finding.Warning: forge.Warning, finding.Info: forge.Notice}
