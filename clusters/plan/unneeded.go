package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// ReasonReplaced is why a Secret is removed although its cluster stays: the cluster has another one now, such as one
// for another server, or needs none.
const ReasonReplaced Reason = "its cluster no longer needs it"

// unneeded plans the removal of Muster's own Secrets that are no longer in the fleet, except for those in kept, and
// those that something in the management cluster still names.
func (d *decided) unneeded(p *secretsPlan, configs []configPlan, kept map[string]bool) {
	held := map[string]Reason{}
	if before := d.inventories[""]; before != nil {
		for i := range before.Secrets {
			name := before.Secrets[i].Name
			if reason := d.removals.of[inventory.SecretKey(name)].stays; reason != "" && !d.wanted(name) {
				held[name] = reason
			}
		}
	}
	var names []string
	for name, live := range d.live.Secrets {
		if !d.wanted(name) && !kept[name] && held[name] == "" && live.Labels[fleet.LabelSync] == d.desired.Sync && d.desired.Sync != "" &&
			d.live.Reserved[name] == "" && d.mayRemove(name, configs) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var named namers
	if len(names) > 0 {
		named = d.namedAfter(configs)
	}
	for _, name := range names {
		if named[name] != "" {
			held[name] = reasonNamed
			continue
		}
		p.step(Step{Action: Remove, Kind: KindSecret, Name: name, Reason: d.replaced(name, configs)})
		p.remove = append(p.remove, Deletion{Name: name, Version: d.live.Secrets[name].Version})
	}
	for _, name := range slices.Sorted(maps.Keys(held)) {
		d.holdSecret(p, Step{Action: Hold, Kind: KindSecret, Name: name, Reason: held[name]}, named)
	}
}

// mayRemove reports whether an inventory has a Secret. The label alone doesn't prove that Muster made it: users copy
// manifests. Everything of a refused audit config stays.
func (f *facts) mayRemove(secret string, configs []configPlan) bool {
	return slices.ContainsFunc(f.inventoriesOf()[secret], func(inv *inventory.Inventory) bool {
		return inv.AuditConfig == "" || nextOf(configs, inv.AuditConfig) != nil
	})
}

func nextOf(configs []configPlan, auditConfig string) *inventory.Inventory {
	if at := slices.IndexFunc(configs, func(c configPlan) bool { return c.name == auditConfig }); at >= 0 {
		return configs[at].next
	}
	return nil
}

// replaced returns the reason for removing a Secret if it was made for a cluster that stays.
func (f *facts) replaced(secret string, configs []configPlan) Reason {
	by := f.made.by[secret]
	if nextOf(configs, by.AuditConfig).Cluster(by.Name) != nil {
		return ReasonReplaced
	}
	return ""
}

// holdSecret plans a Secret that stays although the fleet no longer has it.
func (f *facts) holdSecret(p *secretsPlan, step Step, named namers) {
	name := step.Name
	if step.Reason == reasonNamed {
		step.NamedBy = named[name]
	}
	if item := f.inventories[""].Secret(name); item != nil {
		step.Origin = item.Origin
		p.next.Secrets = append(p.next.Secrets, *item)
	} else if cluster, made := f.maker(name); made != nil {
		// The cluster no longer has it. Record it on its own, or it would never be removed.
		p.next.Secrets = append(p.next.Secrets, inventory.Item{Name: name, Origin: made.Origin, Commit: made.Commit, MadeFor: cluster})
	}
	p.step(step)
}

// maker returns the cluster that a Secret was applied for, with its item, or nil.
func (f *facts) maker(secret string) (inventory.Cluster, *inventory.Item) {
	for _, inv := range f.inventoriesOf()[secret] {
		for i := range inv.Clusters {
			if item := &inv.Clusters[i]; slices.Contains(item.Secrets, secret) {
				return inventory.Cluster{AuditConfig: inv.AuditConfig, Name: item.Name}, item
			}
		}
	}
	return inventory.Cluster{}, nil
}

// namedAfter returns the Secrets that audit configs and their entries will name after this plan, each with the first
// that names it. That includes entries of clusters that are kept, audit configs whose removal is held, and those that
// Muster doesn't manage.
func (f *facts) namedAfter(configs []configPlan) namers {
	named, live := namers{}, maps.Clone(f.live.AuditConfigs)
	for i := range configs {
		if configs[i].remove != nil {
			delete(live, configs[i].name)
		}
	}
	for i := range configs {
		write := configs[i].write
		if write == nil {
			continue
		}
		named.object(write.Name, write.Object)
		if write.ListOnly {
			named.refs("the audit config "+write.Name, live[write.Name]["spec"], "externalClusters")
		}
		delete(live, write.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(live)) {
		named.object(name, live[name])
	}
	return named
}

// namers maps the names of Secrets to what names them, as text for messages.
type namers map[string]string

// object records what an audit config names, with its entries if the list is readable.
func (n namers) object(name string, object map[string]any) {
	by := "the audit config " + name
	if entries, err := mondoo.Entries(object); err == nil {
		for _, entry := range entries {
			n.refs("the entry "+mondoo.TextAt(entry, "name")+" of "+by, entry, "")
		}
	}
	n.refs(by, object["spec"], "")
}

// refs records the names in all references to Secrets below a value. Such fields are named like mondooCredsSecretRef,
// privateRegistriesPullSecretRefs and secretKeyRef, and hold one reference or a list.
func (n namers) refs(by string, v any, except string) {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			if namesSecret(key) {
				n.names(by, item)
			}
			if key != except {
				n.refs(by, item, except)
			}
		}
	case []any:
		for _, item := range v {
			n.refs(by, item, except)
		}
	}
}

// namesSecret reports whether a field by that name refers to Secrets.
func namesSecret(field string) bool {
	lower := strings.ToLower(field)
	return strings.Contains(lower, "secret") && strings.HasSuffix(strings.TrimSuffix(lower, "s"), "ref")
}

// names records the name in a reference, or in each reference of a list.
func (n namers) names(by string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if name := mondoo.TextAt(v, "name"); n[name] == "" {
			n[name] = by
		}
	case []any:
		for _, item := range v {
			n.names(by, item)
		}
	}
}
