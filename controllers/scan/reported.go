package scan

import (
	"time"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Reported is what an operator after v13.3.0 says about an entry in status.scans of the audit config.
type Reported struct {
	// Failed says that the phase of the last scan is Failed.
	Failed bool
	// Scheduled is when that scan was to begin; zero where the operator doesn't say.
	Scheduled time.Time
	Message   string
}

// ReportedScans are the operator's reports about external clusters, by entry. What can't be read is no report.
func ReportedScans(auditConfig map[string]any) map[string]Reported {
	list, _ := mondoo.At(auditConfig, []string{"status", "scans"}).([]any)
	var reports map[string]Reported
	for _, item := range list {
		scan, _ := item.(map[string]any)
		text := func(field string) string { value, _ := scan[field].(string); return value }
		if text("type") != "ExternalKubernetesResources" || text("target") == "" {
			continue
		}
		if reports == nil {
			reports = map[string]Reported{}
		}
		scheduled, _ := time.Parse(time.RFC3339, text("lastScheduleTime")) // zero where it is none
		reports[text("target")] = Reported{Failed: text("phase") == "Failed", Scheduled: scheduled, Message: text("message")}
	}
	return reports
}

// reported is the status of a cluster whose last scan has left no Job, where the operator has seen it fail. It deletes the Jobs of a
// CronJob that it changes, and what it says is then all that is left.
func (d *deriver) reported(s *Status, cron *CronJob) bool {
	report := d.Reported[s.Cluster]
	if s.Reason != ReasonJobGone && (s.State != Succeeded || !cron.LastSchedule.After(s.LastSuccess)) || !report.Failed ||
		!report.Scheduled.IsZero() && report.Scheduled.Before(cron.LastSchedule) {
		return false
	}
	s.State, s.Reason, s.Began, s.Since = Failed, ReasonReported, cron.LastSchedule, cron.LastSchedule
	s.Job, s.Duration, s.Detail = "", 0, d.join("the operator reports that the scan failed", report.Message)
	return true
}
