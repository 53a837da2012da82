package plan

import (
	"cmp"
	"maps"
	"path"
	"strconv"
	"strings"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/load"
)

// Reasons for holding a removal.
const (
	reasonBudget   = "over the removal budget"
	reasonBroken   = "its file has an error"
	reasonPrune    = "pruning is off"
	reasonOwner    = "an audit config is never removed without approval"
	reasonNotReady = "it has an error where it moves to"
	reasonUnread   = "an unreadable file may contain it"
	reasonPresent  = "its file exists, but no longer contains it"
	reasonReserved = "an AuditSync itself uses it"
	reasonNamed    = "something that stays names it"
	reasonConfig   = "it moves when the removal of its audit config is approved"
	reasonKeeps    = "some of its clusters stay"
	reasonAlong    = "it is in no file, and is removed with its audit config"
)

// waits reports whether an approval would release a removal held for this reason.
func waits(reason string) bool {
	return reason == reasonBudget || reason == reasonPresent || reason == reasonUnread || reason == reasonOwner
}

// removals are the items that are no longer in Git, and the decisions about them.
type removals struct {
	limit  string
	reason map[inventory.Key]string     // item → why it stays; absent: it is removed
	target map[inventory.Cluster]string // cluster → the audit config that it moves to
	items  map[inventory.Key]bool
	unread bool // whether an unreadable file may contain anything
}

// decideRemovals finds the items of the inventories that the fleet lacks, and decides which of them stay.
func (p *planner) decideRemovals() {
	r := removals{reason: map[inventory.Key]string{}, target: map[inventory.Cluster]string{}, items: map[inventory.Key]bool{}, limit: "maxRemovals " + p.maxRemovals()}
	read := p.read()
	unread := p.unread(read)
	r.unread = unread
	errors, elsewhere := p.reported()
	total, counted := 0, []inventory.Key{}
	consider := func(key inventory.Key, item inventory.Item, present, moved bool, keep string) {
		total++
		switch {
		case present:
			return
		case keep != "":
			r.reason[key] = keep
		case p.fleet.Broken[item.Origin] && errors[item.Origin]: // otherwise the user sees no error for it
			r.reason[key] = reasonBroken
		case !p.policy.Prune:
			r.reason[key] = reasonPrune
		case moved:
		case (p.fleet.Present[item.Origin] && !read[item.Origin] || elsewhere[key]) && !p.approved[key]:
			r.reason[key] = reasonPresent
		case unread && !p.fleet.Present[item.Origin] && !p.approved[key]:
			r.reason[key] = reasonUnread
		case !p.approved[key]:
			counted = append(counted, key)
		}
		r.items[key] = true
	}
	for _, inv := range p.inventories {
		for _, item := range inv.Clusters {
			cluster := inventory.Cluster{AuditConfig: inv.AuditConfig, Name: item.Name}
			present, target, ready := p.whereabouts(cluster)
			moved, keep := target != "", ""
			if moved {
				r.target[cluster] = target
			}
			switch {
			case p.moves.waits[cluster]:
				keep = reasonConfig
			case moved && !ready:
				keep = reasonNotReady
			}
			consider(inventory.ClusterKey(cluster), item, present, moved, keep)
		}
		for _, item := range inv.Secrets {
			if item.MadeFor != (inventory.Cluster{}) {
				continue // its removal was decided with its cluster's, and doesn't count by itself
			}
			keep := ""
			if p.live.Reserved[item.Name] != "" {
				keep = reasonReserved
			}
			consider(inventory.SecretKey(item.Name), item, p.wanted[item.Name] != nil, false, keep)
		}
	}
	if len(counted) > p.budget(total) {
		for _, key := range counted {
			r.reason[key] = reasonBudget
		}
	}
	p.removals = r
}

// reported returns the files that have an error, and the clusters in files that aren't used because of their
// names.
func (p *planner) reported() (errors map[string]bool, elsewhere map[inventory.Key]bool) {
	errors, elsewhere = map[string]bool{}, map[inventory.Key]bool{}
	for _, f := range p.fleet.Findings {
		switch {
		case f.Severity == finding.Error:
			errors[f.Path] = true
		case f.Code == load.CodeUnused && f.Cluster != "":
			for _, inv := range p.inventories {
				elsewhere[inventory.ClusterKey(inventory.Cluster{AuditConfig: inv.AuditConfig, Name: f.Cluster})] = true
			}
		}
	}
	return errors, elsewhere
}

// whereabouts reports whether a cluster is in the fleet under its audit config. Otherwise target is the audit config
// that it moved to, if any, and ready reports whether it can be applied there. A cluster that was already applied in
// the other audit config only shares the name.
func (p *planner) whereabouts(applied inventory.Cluster) (present bool, target string, ready bool) {
	for _, c := range p.named[applied.Name] {
		if c.AuditConfig == applied.AuditConfig || c.AuditConfig == "" {
			return true, "", true
		}
		if other := p.item(c.AuditConfig, c.Name); other == nil || other.Hash == "" {
			target, ready = c.AuditConfig, !c.Quarantined && p.accepts(c.AuditConfig)
		}
	}
	return false, target, ready
}

// accepts reports whether an audit config exists or will exist, has room, and may be changed by this AuditSync.
func (p *planner) accepts(auditConfig string) bool {
	desired, _ := p.desiredConfig(auditConfig)
	return p.refused[auditConfig] == nil && !p.full[auditConfig] && (desired.Object != nil || p.live.AuditConfigs[auditConfig] != nil)
}

// budget returns how many of total items may be removed at once.
func (p *planner) budget(total int) int {
	text := p.maxRemovals()
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		n, err := strconv.Atoi(percent)
		if err != nil {
			return 0
		}
		return max(1, total*n/100)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

func (p *planner) maxRemovals() string { return cmp.Or(p.policy.MaxRemovals, DefaultMaxRemovals) }

// read returns the files that something in the fleet comes from, and those from which a kustomization drops everything.
// Dropping an object is a removal in Git, like deleting its file.
func (p *planner) read() map[string]bool {
	read := make(map[string]bool, len(p.fleet.Clusters))
	for i := range p.fleet.Clusters {
		read[p.fleet.Clusters[i].Origin.Path] = true
	}
	for i := range p.fleet.Secrets {
		read[p.fleet.Secrets[i].Origin.Path] = true
	}
	for _, c := range p.fleet.AuditConfigs {
		read[c.Origin.Path] = true
	}
	maps.Copy(read, p.fleet.Dropped)
	delete(read, "") // the origin of an audit config that is in no file
	return read
}

// unread reports whether there is a broken file that nothing in the fleet comes from. Its intended content is unknown:
// it may be any of the deleted files under a new name.
func (p *planner) unread(read map[string]bool) bool {
	for path := range p.fleet.Broken {
		if !read[path] {
			return true
		}
	}
	return false
}

// ofOtherKinds returns the files whose only errors are objects of kinds that Muster doesn't apply and that weren't
// meant as clusters.
func ofOtherKinds(f *fleet.Opened) map[string]bool {
	other := map[string]bool{}
	for _, at := range f.Findings {
		if at.Severity != finding.Error {
			continue
		}
		onlyKind := at.Code == compile.CodeKind && at.Cluster == ""
		if known, seen := other[at.Path]; !seen || known {
			other[at.Path] = onlyKind
		}
	}
	return other
}

// Unread counts the broken files that the fleet has nothing from. Each of them should have contained a cluster.
func Unread(f *fleet.Opened) int {
	if f.Stopped {
		return 0
	}
	known := map[string]bool{}
	for i := range f.Clusters {
		c := &f.Clusters[i]
		known[c.Origin.Path] = true
		if c.File != nil && c.File.Spec.KubeconfigFile != "" {
			known[path.Join(path.Dir(c.Origin.Path), c.File.Spec.KubeconfigFile)] = true // it counts as a part of its cluster
		}
	}
	for i := range f.Secrets {
		known[f.Secrets[i].Origin.Path] = true
	}
	for i := range f.AuditConfigs {
		known[f.AuditConfigs[i].Origin.Path] = true
	}
	n, other := 0, ofOtherKinds(f)
	for file := range f.Broken {
		if f.Present[file] && !known[file] && !other[file] {
			n++
		}
	}
	return n
}

// DefaultMaxRemovals is the removal budget if none is set.
const DefaultMaxRemovals = "25%"
