package scanstate

import (
	"maps"
	"testing"
	"time"
)

// TestReported takes what a newer operator says about a scan of which no Job is left, and nothing else.
func TestReported(t *testing.T) {
	report := func(fields map[string]any) map[string]any {
		scan := map[string]any{"type": "ExternalKubernetesResources", "target": "a", "phase": "Failed", "message": "exit code 1: CANARY"}
		maps.Copy(scan, fields)
		return map[string]any{"status": map[string]any{"scans": []any{"x", scan}}}
	}
	at := func(hour, minute int) time.Time { return time.Date(2026, 11, 23, hour, minute, 0, 0, time.UTC) }
	for _, row := range []struct {
		reason string
		object map[string]any
		change func(*CronJob)
		state  State
	}{
		{"it failed", report(nil), nil, Failed},
		{"it failed at that time", report(map[string]any{"lastScheduleTime": "2026-11-23T11:30:00Z"}), nil, Failed},
		{"an older one failed", report(map[string]any{"lastScheduleTime": "2026-11-23T10:30:00Z"}), nil, Awaiting},
		{"it succeeded", report(map[string]any{"phase": "Succeeded"}), nil, Awaiting},
		{"another cluster", report(map[string]any{"target": "b"}), nil, Awaiting},
		{"a scan of the cluster itself", report(map[string]any{"type": "KubernetesResources"}), nil, Awaiting},
		{"a success came after it", report(nil), func(c *CronJob) { c.LastSuccess = at(11, 40) }, Succeeded},
		{"the success is of an earlier start", report(nil), func(c *CronJob) { c.LastSuccess = at(10, 40) }, Failed},
		{"an operator without such a status", map[string]any{}, nil, Awaiting},
		{"a status of another form", map[string]any{"status": map[string]any{"scans": map[string]any{"a": "b"}}}, nil, Awaiting},
	} {
		cron := CronJob{Name: "scan-a", Cluster: "a", Schedule: "30 * * * *", Created: at(1, 0), LastSchedule: at(11, 30)}
		if row.change != nil {
			row.change(&cron)
		}
		got := Derive(Input{Entries: []Entry{{Name: "a"}}, Reported: ReportedScans(row.object), Observed: Observed{CronJobs: []CronJob{cron}}, Now: at(11, 50),
			Redact: func(text string) string { return "masked " + text[:4] }})[0]
		if got.State != row.state {
			t.Errorf("%s: %s, %s", row.reason, got.State, got.Detail)
		}
		if got.State == Failed && (got.Reason != ReasonReported || got.Detail != "the operator reports that the scan failed: masked exit" || !got.Since.Equal(at(11, 30))) {
			t.Errorf("%s: %+v", row.reason, got)
		}
	}
}
