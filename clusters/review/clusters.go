package review

import (
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

// Schedule is when a cluster is scanned after the merge.
type Schedule struct {
	// Written is the schedule in its file, with H; empty if the file has none.
	Written string `json:"written,omitempty"`
	// Resolved is the schedule of its CronJob; empty if it inherits one that isn't known.
	Resolved string `json:"resolved,omitempty"`
	// Before is the resolved schedule at the base; empty if there was none.
	Before string `json:"before,omitempty"`
}

// CronJob is the operator's CronJob for a cluster. The action of the Change tells whether it comes, changes or goes.
type CronJob struct {
	Name string `json:"name"`
	// Was is the CronJob that goes when the cluster moves to another audit config.
	Was string `json:"was,omitempty"`
	// Cut is true if the operator cuts the name and adds a hash.
	Cut bool `json:"cut,omitempty"`
}

// Credential is a Secret of a cluster that changes. Its values are never told.
type Credential struct {
	Action plan.Action `json:"action"`
	// Content is what the Secret holds, such as mondoo.Kubeconfig, or else its Kubernetes type.
	Content string `json:"content"`
	Secret  string `json:"secret"`
	// Keys are the data keys that change.
	Keys []string `json:"keys,omitempty"`
	// Elsewhere is true if the credential may be sent to another destination than before.
	Elsewhere bool `json:"elsewhere,omitempty"`
	// Expires is when the first of its credentials expires after the merge, and Expired when it does before; zero if
	// unknown.
	Expires time.Time `json:"expires,omitzero"`
	Expired time.Time `json:"expiredBefore,omitzero"`
}

// cluster completes the change of a cluster with what the fleets have.
func (c *comparison) cluster(change *Change) {
	id := inventory.Cluster{AuditConfig: change.AuditConfig, Name: change.Name}
	before, now := usable(c.clusters[id]), usable(c.clustersNow[id])
	name, cut := mondoo.ScanName(id.AuditConfig, id.Name)
	change.CronJob = &CronJob{Name: name, Cut: cut}
	switch {
	case change.Action == plan.Hold:
		change.CronJob = nil
		return
	case change.Action == plan.Remove || now == nil:
		return
	case before != nil:
		change.Fields = plan.Fields(before.Entry, now.Entry)
	case change.Action == plan.Add:
		change.Fields = slices.DeleteFunc(plan.Fields(mondoo.Entry{}, now.Entry), func(f plan.Field) bool { return f.Path == "name" })
	}
	if change.Action == plan.Move || change.Action == plan.Change && len(change.Fields) == 0 {
		change.CronJob = nil
	}
	change.Fields = slices.DeleteFunc(change.Fields, namesMade)
	change.Path = now.Origin.Path
	if change.Action == plan.Move && before != nil {
		change.From = before.Origin.Path
	}
	if schedule := c.schedule(before, now); before == nil || schedule.Before != schedule.Resolved {
		change.Schedule = &schedule
	}
}

// namesMade reports whether a field only refers to Secrets that Muster makes, before and after. Those are told as
// Credentials.
func namesMade(f plan.Field) bool {
	made := func(value string) bool {
		name := strings.TrimSuffix(strings.TrimPrefix(value, `{"name":"`), `"}`)
		return value == "" || mondoo.IsMade(name)
	}
	return strings.Contains(f.Path, "SecretRef") && made(f.From) && made(f.To)
}

func usable(c *fleet.Cluster) *fleet.Cluster {
	if c == nil || c.Quarantined {
		return nil
	}
	return c
}

func (c *comparison) schedule(before, now *fleet.Cluster) Schedule {
	s := Schedule{Written: now.Schedule, Resolved: now.Entry.Schedule}
	if s.Resolved == "" {
		s.Resolved = c.scheduleNow[now.AuditConfig]
	}
	if before != nil {
		if s.Before = before.Entry.Schedule; s.Before == "" {
			s.Before = c.schedules[before.AuditConfig]
		}
	}
	return s
}

// withoutValues returns the fields of a Secret without any value: not even those of labels and annotations, because an
// annotation may hold a copy of the data.
func withoutValues(fields []plan.Field) []plan.Field {
	var list []plan.Field
	for _, f := range fields {
		if f.Path != "metadata.annotations."+fleet.AnnotationOrigin { // only its file was renamed
			list = append(list, plan.Field{Path: f.Path})
		}
	}
	return list
}
