package plan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
)

// Reasons for holding a removal.
const (
	reasonBudget   = "over the removal budget"
	reasonBroken   = "its file has an error"
	reasonPrune    = "pruning is off"
	reasonOwner    = "an audit config is never removed without approval"
	reasonNotReady = "the cluster it moves to has an error"
	reasonUnread   = "a file that can't be read may hold it"
)

// removals is what is no longer in Git, and what becomes of it.
type removals struct {
	limit  string
	reason map[string]string // item → why it stays; absent: it goes
	items  map[string]bool
}

func clusterKey(auditConfig, name string) string { return "cluster/" + auditConfig + "/" + name }
func secretKey(name string) string               { return "secret/" + name }

// decideRemovals finds what the inventories have and the fleet has not, and decides what of it stays.
func (p *planner) decideRemovals() {
	r := removals{reason: map[string]string{}, items: map[string]bool{}, limit: "maxRemovals " + p.maxRemovals()}
	unread := p.unread()
	total, counted := 0, []string{}
	consider := func(key string, item Item, present, moved bool) {
		total++
		switch {
		case present:
			return
		case p.fleet.Broken[item.Origin]:
			r.reason[key] = reasonBroken
		case !p.policy.Prune:
			r.reason[key] = reasonPrune
		case !moved && unread:
			r.reason[key] = reasonUnread
		case !moved:
			counted = append(counted, key)
		}
		r.items[key] = true
	}
	for _, inv := range p.inventories {
		for _, item := range inv.Clusters {
			present, moved, ready := p.whereabouts(inv.AuditConfig, item.Name)
			key := clusterKey(inv.AuditConfig, item.Name)
			consider(key, item, present, moved)
			if moved && !ready {
				r.reason[key] = reasonNotReady
			}
		}
		for _, item := range inv.Secrets {
			present := slices.ContainsFunc(p.fleet.Secrets, func(s fleet.Secret) bool { return s.Name == item.Name })
			consider(secretKey(item.Name), item, present, false)
		}
	}
	if len(counted) > p.budget(total) && !p.policy.approved() {
		for _, key := range counted {
			r.reason[key] = reasonBudget
		}
	}
	p.removals = r
}

// whereabouts says whether a cluster is in the fleet under its audit config, or moved to another one, and whether it can be
// applied there.
func (p *planner) whereabouts(auditConfig, name string) (present, moved, ready bool) {
	for _, c := range p.named[name] {
		if c.AuditConfig == auditConfig || c.AuditConfig == "" {
			return true, false, true
		}
		moved, ready = true, !c.Quarantined
	}
	return false, moved, ready
}

// budget is how many of total items may be removed at once.
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

// unread says whether there is a broken file of which nobody knows what is in it. It may be one of the files that the
// inventories know, under another name.
func (p *planner) unread() bool {
	known := map[string]bool{}
	for _, c := range p.fleet.Clusters {
		known[c.Origin.Path] = true
	}
	for _, s := range p.fleet.Secrets {
		known[s.Origin.Path] = true
	}
	for _, inv := range p.inventories {
		known[inv.Origin] = true
		for _, item := range slices.Concat(inv.Clusters, inv.Secrets) {
			known[item.Origin] = true
		}
	}
	for _, f := range p.fleet.Findings {
		// What is for somebody else was read, and holds no cluster.
		if f.Code == compile.CodeKind || f.Code == compile.CodeNamespace {
			known[f.Path] = true
		}
	}
	for path := range p.fleet.Broken {
		if !known[path] {
			return true
		}
	}
	return false
}

// DefaultMaxRemovals is the removal budget where none is set.
const DefaultMaxRemovals = "25%"
