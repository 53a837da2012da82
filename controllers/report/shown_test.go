package report_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// TestControlCharactersAreNotShown has them in every text that files or servers can choose, and looks at all that is reported.
func TestControlCharactersAreNotShown(t *testing.T) {
	const hostile = "a\x1b[2J\a\r\u009b\u202eb\u2028c"
	sync := &v1alpha1.AuditSync{}
	sync.Name = "production"
	f := finding.Finding{Code: "yaml", Severity: finding.Error, Cluster: "eu", Path: hostile + ".yaml", Message: hostile, Fix: hostile}
	accepted := f
	accepted.Severity, accepted.Accepted = finding.Warning, hostile
	rejected := good(clustersNamed("eu"), func(p *plan.Plan) {
		p.LeftOut, p.Mismatch = 1, hostile
		p.Add(f)
		p.Add(accepted)
	})
	failed := report.Outcome{Refused: head, Fetch: failure(report.Failed, "FetchFailed", hostile)}
	for _, o := range []report.Outcome{rejected, failed} {
		status := report.Status(sync, o)
		text, err := json.Marshal(status)
		if err != nil {
			t.Fatal(err)
		}
		shown := []string{string(text)}
		for _, e := range report.Events(sync, status, o) {
			shown = append(shown, fmt.Sprintf("%s %s %s", e.Type, e.Reason, e.Note))
		}
		if len(shown) == 1 {
			t.Error("there are no events")
		}
		for _, s := range shown {
			if !strings.Contains(s, "a\ufffd[2J") {
				t.Errorf("the text isn't there: %s", s)
			}
			// JSON escapes what terminals heed.
			if strings.ContainsAny(s, "\x1b\a\r\u009b\u202e\u2028") || strings.Contains(s, `\u001b`) || strings.Contains(s, `\u0007`) || strings.Contains(s, `\r`) || strings.Contains(s, `\u2028`) {
				t.Errorf("control characters: %q", s)
			}
		}
	}
}
