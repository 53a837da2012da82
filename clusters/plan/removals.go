package plan

import (
	"cmp"
	"maps"
	"strconv"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/load"
)

// Reason is why a plan does something that isn't obvious.
type Reason string

// Reasons for holding a removal.
const (
	reasonBudget   Reason = "over the removal budget"
	reasonBroken   Reason = "its file has an error"
	reasonPrune    Reason = "pruning is off"
	reasonOwner    Reason = "an audit config is never removed without approval"
	reasonNotReady Reason = "it has an error where it moves to"
	reasonUnread   Reason = "an unreadable file may contain it"
	reasonPresent  Reason = "its file exists, but no longer contains it"
	reasonReserved Reason = "an AuditSync itself uses it"
	reasonNamed    Reason = "something that stays names it"
	reasonConfig   Reason = "it moves when the removal of its audit config is approved"
	reasonKeeps    Reason = "some of its clusters stay"
	reasonAlong    Reason = "it is in no file, and is removed with its audit config"
)

// waits reports whether an approval would release a removal held for this reason.
func (r Reason) waits() bool {
	return r == reasonBudget || r == reasonPresent || r == reasonUnread || r == reasonOwner
}

// decided is an admitted fleet with the decisions about what it lacks.
type decided struct {
	*admitted
	approved map[inventory.Key]bool
	removals removals
}

// removals are the recorded objects that are no longer in Git.
type removals struct {
	limit  string
	of     map[inventory.Key]removal
	unread bool // an unreadable file may contain anything
}

// removal is the decision about one of them.
type removal struct {
	stays  Reason // empty: it is removed
	target string // the audit config that a cluster moves to
}

// decide finds the items of the inventories that the fleet lacks, and decides which of them stay. Nothing moves into an
// audit config in full.
func (a *admitted) decide(approved map[inventory.Key]bool, full map[string]bool) *decided {
	files := a.files()
	r := removals{limit: "maxRemovals " + a.policy.maxRemovals(), of: map[inventory.Key]removal{}, unread: files.unread}
	total, counted := 0, []inventory.Key{}
	judge := func(key inventory.Key, item inventory.Item, target string) {
		reason, counts := a.reasonToStay(files, approved, key, item, target)
		r.of[key] = removal{stays: reason, target: target}
		if counts {
			counted = append(counted, key)
		}
	}
	for _, inv := range a.inventories {
		for _, item := range inv.Clusters {
			total += a.before(item)
			cluster := inventory.Cluster{AuditConfig: inv.AuditConfig, Name: item.Name}
			key := inventory.ClusterKey(cluster)
			present, target, ready := a.whereabouts(cluster, full)
			switch {
			case present:
			case a.moves.waits[cluster]:
				r.of[key] = removal{stays: reasonConfig, target: target}
			case target != "" && !ready:
				r.of[key] = removal{stays: reasonNotReady, target: target}
			default:
				judge(key, item, target)
			}
		}
		for _, item := range inv.Secrets {
			if item.MadeFor != (inventory.Cluster{}) {
				continue // its removal was decided with its cluster's, and doesn't count by itself
			}
			total += a.before(item)
			switch key := inventory.SecretKey(item.Name); {
			case a.wanted(item.Name):
			case a.live.Reserved[item.Name] != "":
				r.of[key] = removal{stays: reasonReserved}
			default:
				judge(key, item, "")
			}
		}
	}
	if len(counted) > a.policy.budget(total) {
		for _, key := range counted {
			r.of[key] = removal{stays: reasonBudget}
		}
	}
	return &decided{admitted: a, approved: approved, removals: r}
}

// before is 1 for an item that was applied before this commit. Only these count for a percentage: otherwise a commit that
// adds clusters, and whose removals are held, would have them removed by the next sync, for which there are more clusters.
func (a *admitted) before(item inventory.Item) int {
	if item.Commit != "" && item.Commit == a.policy.Revision {
		return 0
	}
	return 1
}

// reasonToStay returns why an item that is no longer in Git stays; empty if it doesn't. counts reports whether its
// removal counts against the budget.
func (a *admitted) reasonToStay(files files, approved map[inventory.Key]bool, key inventory.Key, item inventory.Item, target string) (reason Reason, counts bool) {
	present := a.desired.Present[item.Origin]
	switch {
	case a.desired.Broken[item.Origin] && files.errors[item.Origin]: // otherwise the user sees no error for it
		return reasonBroken, false
	case !a.policy.Prune:
		return reasonPrune, false
	case target != "" || approved[key]:
		return "", false
	case present && !files.read[item.Origin], key.Kind == inventory.RemoveCluster && files.unused[key.Name]:
		return reasonPresent, false
	case files.unread && !present:
		return reasonUnread, false
	}
	return "", true
}

// files is what is known about the files of the fleet.
type files struct {
	// read are those that something in the fleet comes from, and those from which a kustomization drops everything.
	// Dropping an object is a removal in Git, like deleting its file.
	read map[string]bool
	// errors are those with an error. unused are the clusters in files that aren't used because of their names.
	errors, unused map[string]bool
	// unread is true if there is a broken file that nothing in the fleet comes from. Its intended content is unknown:
	// it may be any of the deleted files under a new name.
	unread bool
}

func (a *admitted) files() files {
	f := files{read: make(map[string]bool, len(a.clusters)), errors: map[string]bool{}, unused: map[string]bool{}}
	for i := range a.clusters {
		f.read[a.clusters[i].Origin.Path] = true
	}
	for i := range a.secrets {
		f.read[a.secrets[i].Origin.Path] = true
	}
	for _, c := range a.desired.AuditConfigs {
		f.read[c.Origin.Path] = true
	}
	maps.Copy(f.read, a.desired.Dropped)
	delete(f.read, "") // the origin of an audit config that is in no file
	for _, at := range a.desired.Findings {
		switch {
		case at.Severity == finding.Error:
			f.errors[at.Path] = true
		case at.Code == load.CodeUnused && at.Cluster != "":
			f.unused[at.Cluster] = true
		}
	}
	for file := range a.desired.Broken {
		f.unread = f.unread || !f.read[file]
	}
	return f
}

// whereabouts reports whether a cluster is in the fleet under its audit config. Otherwise target is the audit config
// that it moved to, if any, and ready reports whether it can be applied there. A cluster that was already applied in
// the other audit config only shares the name.
func (a *admitted) whereabouts(applied inventory.Cluster, full map[string]bool) (present bool, target string, ready bool) {
	_, present = a.clusterAt[applied]
	_, anywhere := a.clusterAt[inventory.Cluster{Name: applied.Name}]
	if present || anywhere {
		return true, "", true
	}
	for _, i := range a.arriving[applied.Name] {
		c := &a.clusters[i]
		target, ready = c.AuditConfig, !c.Quarantined && !full[c.AuditConfig] && a.accepts(c.AuditConfig)
	}
	return false, target, ready
}

// accepts reports whether an audit config exists or will exist, and may be changed by this AuditSync.
func (a *admitted) accepts(auditConfig string) bool {
	desired, _ := a.desiredConfig(auditConfig)
	_, refused := a.refused[auditConfig]
	return !refused && (desired.Object != nil || a.live.AuditConfigs[auditConfig] != nil)
}

// DefaultMaxRemovals is the removal budget if none is set.
const DefaultMaxRemovals = "25%"

func (p Policy) maxRemovals() string { return cmp.Or(p.MaxRemovals, DefaultMaxRemovals) }

// budget returns how many of total items may be removed at once.
func (p Policy) budget(total int) int {
	text, isPercentage := strings.CutSuffix(p.maxRemovals(), "%")
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return 0
	case isPercentage:
		return max(1, total*n/100)
	}
	return n
}

// removed reports whether an applied cluster is removed from its audit config, or moved to another.
func (d *decided) removed(cluster inventory.Cluster) bool {
	removal, gone := d.removals.of[inventory.ClusterKey(cluster)]
	return gone && removal.stays == ""
}
