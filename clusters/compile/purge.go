package compile

import (
	"fmt"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/schedule"
)

// usualWindow is the maximum age of assets if the audit config's schedule doesn't have five fields.
const usualWindow = 2 * time.Hour

// purgeWindow warns about clusters that are scanned too rarely. After a scan, the operator has Mondoo delete all its
// assets that were not scanned for twice the interval of the audit config's own schedule, including those of external
// clusters.
func (w *fleetChecks) purgeWindow(config fleet.AuditConfig, members []*fleet.Cluster) {
	object := w.object(config)
	if object == nil {
		return
	}
	own := textAt(object, "spec", "kubernetesResources", "schedule")
	window, source := usualWindow, "has no schedule with five fields"
	if shortest, _, ok := schedule.Gaps(own); ok && !strings.HasPrefix(own, "@") {
		window, source = 2*shortest, fmt.Sprintf("has the schedule %q", own)
	}
	gaps := map[string]time.Duration{} // by schedule: many differ only in the minute
	var tooRare []*fleet.Cluster
	longest := time.Duration(0)
	for _, c := range members {
		expr := c.Entry.Schedule
		if expr == "" {
			expr = own
		}
		if _, rest, _ := strings.Cut(expr, " "); strings.Trim(expr[:len(expr)-len(rest)], "0123456789 ") == "" && rest != "" {
			expr = "0 " + rest
		}
		gap, known := gaps[expr]
		if !known {
			_, gap, _ = schedule.Gaps(expr)
			gaps[expr] = gap
		}
		// An asset exactly as old as the window was scanned a little later, and is older when the next scan ends.
		if gap >= window {
			tooRare, longest = append(tooRare, c), max(longest, gap)
		}
	}
	if len(tooRare) == 0 {
		return
	}
	field := []string{"spec", "schedule"}
	who := "the cluster " + tooRare[0].Name + " is"
	if len(tooRare) > 1 {
		who = fmt.Sprintf("%d clusters (%s) are", len(tooRare), firstNames(tooRare))
	}
	w.add(w.at(tooRare[0], field...), CodePurgeWindow, finding.Warning,
		fmt.Sprintf("%s scanned up to %s apart, and the operator deletes assets at Mondoo that were not scanned for %s, because the audit config %s %s",
			who, hours(longest), hours(window), config.Name, source),
		fmt.Sprintf("scan at least every %s, or give the audit config a schedule with five fields and an interval of more than %s", hours(window/2), hours(longest/2)))
}

// hours formats a duration for messages: 2h, 90m, 3d.
func hours(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}
