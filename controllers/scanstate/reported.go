package scanstate

import (
	"time"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Reported is what an operator after v13.3.0 reports about an entry in the audit config's status.scans.
type Reported struct {
	// Failed is true if the phase of the last scan is Failed.
	Failed bool
	// Scheduled is the scheduled start of that scan; zero if the operator doesn't report it.
	Scheduled time.Time
	Message   string
}

// ReportedScans returns the operator's reports about external clusters, by entry. It skips reports that it can't parse.
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
		scheduled, _ := time.Parse(time.RFC3339, text("lastScheduleTime")) // zero if missing or malformed
		reports[text("target")] = Reported{Failed: text("phase") == "Failed", Scheduled: scheduled, Message: text("message")}
	}
	return reports
}

// reported sets the status of a cluster whose last scan has no Job any more but was reported as failed by the operator. The operator
// deletes the Jobs of a CronJob that it changes, and then its report is the only record.
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
