package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/inventory"
)

// describe joins the results of the stages to a plan.
func (d *decided) describe(configs []configPlan, secrets secretsPlan) *Plan {
	p := newPlan(d.desired, d.policy)
	next := map[string]*inventory.Inventory{"": secrets.next}
	var told notes
	told.join(d.told)
	for i := range configs {
		c := &configs[i]
		told.join(c.notes)
		p.config(c)
		if c.next != nil {
			next[c.name] = c.next
		}
	}
	told.join(secrets.notes)
	told.join(d.missingSecrets())
	told.join(d.liveConfigs())
	for _, f := range told.findings {
		p.Add(f)
	}
	d.attribute(told.steps)
	slices.SortStableFunc(told.steps, func(a, b Step) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.AuditConfig, b.AuditConfig), strings.Compare(a.Name, b.Name))
	})
	p.Steps, p.NotKept, p.Contested = told.steps, told.notKept, d.contested(next)
	p.Secrets, p.Delete.Secrets = secrets.writes, secrets.remove
	p.Outside = d.outside(configs)
	d.count(p, next)
	p.ScansLeft = boundDue(next)
	if p.approvable = d.approvable(p.Steps); d.policy.Revision != "" && len(p.approvable) > 0 {
		p.Approval = inventory.ApprovalValue(d.policy.Revision, p.approvable)
	}
	d.compareInventories(p, next)
	d.tellHeld(p)
	return p
}

// config adds the result of planning an audit config.
func (p *Plan) config(c *configPlan) {
	if c.write != nil {
		p.Configs = append(p.Configs, *c.write)
	}
	if c.remove != nil {
		p.Delete.AuditConfigs = append(p.Delete.AuditConfigs, *c.remove)
	}
	if len(c.foreign) > 0 {
		p.Foreign[c.name] = c.foreign
	}
	if c.refused {
		p.Refused = append(p.Refused, c.name)
	}
	p.Waiting = p.Waiting || c.missing
}

// count counts the clusters that are applied or left out, and the steps that wait. Clusters that wait to move are
// neither applied nor left out.
func (d *decided) count(p *Plan, next map[string]*inventory.Inventory) {
	for i := range d.clusters {
		switch c := &d.clusters[i]; {
		case next[c.AuditConfig] == nil || c.Quarantined && !d.moves.held[idOf(c)]:
			p.LeftOut++
		case !c.Quarantined:
			p.Applied++
		}
	}
	for _, s := range p.Steps {
		if s.Action == Hold && s.Reason.waits() {
			p.Held++
		}
		if !s.Until.IsZero() && (p.Next.IsZero() || s.Until.Before(p.Next)) {
			p.Next = s.Until
		}
	}
}

// outside returns the Secrets that the plan depends on and that the fleet doesn't have. Those of the fleet start a sync
// by their label.
func (d *decided) outside(configs []configPlan) []string {
	names := map[string]bool{}
	for _, refs := range d.references {
		for _, ref := range refs {
			names[ref.Name] = true
		}
	}
	for i := range configs {
		for _, name := range configs[i].reads {
			names[name] = true
		}
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool { return d.wanted(name) })
	return slices.Sorted(maps.Keys(names))
}

// contested lists the fields in the next inventories that keep being changed.
func (d *decided) contested(next map[string]*inventory.Inventory) []Step {
	var list []Step
	note := func(kind, auditConfig, name string, corrected []inventory.Correction) {
		var paths []string
		for _, c := range corrected {
			if c.Times > maxAtOnce && c.Dropped < maxDropped && d.policy.recent(c) {
				paths = append(paths, c.Path)
			}
		}
		if len(paths) > 0 {
			list = append(list, about(kind, auditConfig, name, paths))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(next)) {
		inv := next[name]
		note(KindAuditConfig, "", name, inv.Corrected)
		for i := range inv.Clusters {
			note(KindCluster, name, inv.Clusters[i].Name, inv.Clusters[i].Corrected)
		}
		for i := range inv.Secrets {
			note(KindSecret, "", inv.Secrets[i].Name, inv.Secrets[i].Corrected)
		}
	}
	return list
}

// compareInventories finds the inventories to write before and after everything else.
func (d *decided) compareInventories(p *Plan, next map[string]*inventory.Inventory) {
	approved, left := d.approvals(p.Steps)
	for _, name := range slices.Sorted(maps.Keys(next)) {
		before, after := d.inventories[name], next[name]
		if before != nil {
			after.Version = before.Version
		}
		after.Sort()
		after.Approved = left[name]
		if after.Equal(before) && approved[name].Equal(left[name]) {
			continue
		}
		if intent := inventory.Intent(before, after, approved[name]); !intent.Equal(before) {
			p.Before = append(p.Before, intent)
			before = intent
		}
		if !after.Equal(before) {
			p.After = append(p.After, after)
		}
	}
}

// some lists the first ten names.
func some(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
