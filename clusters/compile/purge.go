package compile

import (
	"fmt"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/schedule"
)

// usualWindow is how old assets may grow where the audit config's schedule is none of five fields.
const usualWindow = 2 * time.Hour

// purgeWindow warns of clusters that are scanned too seldom. After a scan the operator has Mondoo delete all assets that it manages and
// that were not scanned for twice the interval of the audit config's own schedule, those of external clusters with them.
func (w *wide) purgeWindow(config fleet.AuditConfig, members []*fleet.Cluster) {
	object := w.object(config)
	if object == nil {
		return
	}
	own := textAt(object, "spec", "kubernetesResources", "schedule")
	window, source := usualWindow, "has no schedule of five fields"
	if shortest, _, ok := schedule.Gaps(own); ok && !strings.HasPrefix(own, "@") {
		window, source = 2*shortest, fmt.Sprintf("has the schedule %q", own)
	}
	gaps := map[string]time.Duration{} // by schedule: many differ in the minute alone
	var seldom []*fleet.Cluster
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
		// What is as old as the window has been scanned a little later, and is older when the next scan ends.
		if gap >= window {
			seldom, longest = append(seldom, c), max(longest, gap)
		}
	}
	if len(seldom) == 0 {
		return
	}
	field := []string{"spec", "schedule"}
	who := "the cluster " + seldom[0].Name + " is"
	if len(seldom) > 1 {
		who = fmt.Sprintf("%d clusters (%s) are", len(seldom), firstNames(seldom))
	}
	w.add(w.at(seldom[0], field...), CodePurgeWindow, finding.Warning,
		fmt.Sprintf("%s scanned up to %s apart, and the operator deletes assets at Mondoo that were not scanned for %s, because the audit config %s %s",
			who, hours(longest), hours(window), config.Name, source),
		fmt.Sprintf("scan at least every %s, or give the audit config a schedule of five fields whose interval is more than %s", hours(window/2), hours(longest/2)))
}

// hours prints a duration for people: 2h, 90m, 3d.
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
