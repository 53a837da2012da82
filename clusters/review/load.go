package review

import (
	"maps"
	"slices"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/schedule"
)

// Load is how many scans start in the busiest minute, at the base and after the merge.
type Load struct {
	Before Peak `json:"before"`
	After  Peak `json:"after"`
}

// Peak is the busiest minute of a day.
type Peak struct {
	Clusters int `json:"clusters"`
	// Hour and Minute are when it first is. Hourly is true if the minute is as busy in every hour.
	Hour   int  `json:"hour"`
	Minute int  `json:"minute"`
	Hourly bool `json:"hourly,omitempty"`
}

// A shift of the peak is told from this many clusters on, and from this percentage of the larger peak.
const (
	shiftClusters = 5
	shiftPercent  = 20
)

// Shifts reports whether the busiest minute gets much busier or quieter.
func (l Load) Shifts() bool {
	shift := max(l.After.Clusters-l.Before.Clusters, l.Before.Clusters-l.After.Clusters)
	return shift >= shiftClusters && 100*shift >= shiftPercent*max(l.After.Clusters, l.Before.Clusters)
}

// loadOf compares the busiest minutes. A quarantined cluster keeps the schedule that it has at the base.
func loadOf(c *comparison) Load {
	before, now := map[inventory.Cluster]string{}, map[inventory.Cluster]string{}
	for id, cluster := range c.clusters {
		if usable(cluster) != nil {
			before[id] = c.schedule(nil, cluster).Resolved
			if cluster.Entry.Schedule == "" {
				before[id] = c.schedules[id.AuditConfig]
			}
		}
	}
	for id, cluster := range c.clustersNow {
		if usable(cluster) == nil {
			now[id] = before[id]
			continue
		}
		now[id] = c.schedule(nil, cluster).Resolved
	}
	return Load{Before: peakOf(before), After: peakOf(now)}
}

func peakOf(schedules map[inventory.Cluster]string) Peak {
	counts := map[string]int{}
	for _, expr := range schedules {
		if expr != "" {
			counts[expr]++
		}
	}
	if len(counts) == 0 {
		return Peak{}
	}
	at, n := schedule.Busiest(counts)
	return Peak{Clusters: n, Hour: at.Hour, Minute: at.Minute, Hourly: at.Hourly}
}

// Space is how much room an audit config has left after the merge.
type Space struct {
	AuditConfig string `json:"auditConfig"`
	// Bytes is its size after the merge, and Left what is left under plan.MaxObject.
	Bytes int `json:"bytes"`
	Left  int `json:"left"`
}

// spaceOf returns the audit configs that the pull request changes and that have less than a quarter of the limit left.
func spaceOf(p *plan.Plan, changes []Change) []Space {
	touched := map[string]bool{}
	for _, change := range changes {
		switch change.Kind {
		case plan.KindCluster:
			touched[change.AuditConfig] = true
		case plan.KindAuditConfig:
			touched[change.Name] = true
		}
	}
	left := map[string]Space{}
	for _, w := range p.Configs {
		if touched[w.Name] && plan.MaxObject-w.Size < plan.MaxObject/4 {
			left[w.Name] = Space{AuditConfig: w.Name, Bytes: w.Size, Left: plan.MaxObject - w.Size}
		}
	}
	var list []Space
	for _, name := range slices.Sorted(maps.Keys(left)) {
		list = append(list, left[name])
	}
	return list
}
