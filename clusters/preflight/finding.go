package preflight

import (
	"fmt"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Codes of findings about credentials.
const (
	CodeFailed  finding.Code = "preflight-failed"  // a credential doesn't work
	CodePending finding.Code = "preflight-pending" // a new credential waits for its check, or for the end of a scan
)

// Finding returns the finding about a check that failed, without its place. What begins the message. The texts of the check are
// masked already.
func (c Check) Finding(severity finding.Severity, what string) finding.Finding {
	return finding.Finding{Code: CodeFailed, Severity: severity, Message: fmt.Sprintf("%s: %s: %s (%s)", what, c.Name, c.Message, c.Cause), Fix: c.Fix}
}
