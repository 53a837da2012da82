package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
)

// secretsPlan is what happens to the Secrets of the fleet, and to those that it no longer has.
type secretsPlan struct {
	notes
	next   *inventory.Inventory // what to record of those that belong to no cluster
	writes []SecretWrite
	remove []Deletion
}

// unchangedSecrets finds the Secrets that clearly match their desired state, by their index in the fleet.
func (f *facts) unchangedSecrets() []bool {
	same := make([]bool, len(f.desired.Secrets))
	for i := range f.desired.Secrets {
		s := &f.desired.Secrets[i]
		if live, exists := f.live.Secrets[s.Name]; exists {
			_, known := f.recorded(s)
			same[i] = known && f.holds(live, s)
		}
	}
	return same
}

// planSecrets plans the Secrets of the fleet, and the removal of those no longer needed. It records corrections of a
// cluster's Secrets with the cluster, in the plan of its audit config.
func (d *decided) planSecrets(configs []configPlan) secretsPlan {
	p := secretsPlan{next: &inventory.Inventory{Sync: d.desired.Sync}}
	next, kept := map[string]*inventory.Inventory{}, map[string]bool{}
	for i := range configs {
		next[configs[i].name] = configs[i].next
		for _, name := range configs[i].keeps {
			kept[name] = true
		}
	}
	unchanged := d.unchanged()
	for i := range d.secrets {
		s := &d.secrets[i]
		known := d.inventories[""].Secret(s.Name)
		switch {
		case s.Quarantined:
			kept[s.Name] = true
			if s.Cluster == "" && known != nil {
				p.next.Secrets = append(p.next.Secrets, *known)
			}
		case s.Cluster == "":
			item := inventory.Item{Name: s.Name, Origin: s.Origin.Path, Commit: d.commit(known, s.Hash), Hash: s.Hash}
			if known != nil && known.Hash == s.Hash {
				item.Corrected = d.policy.settle(KindSecret, nil, known.Corrected, false).corrected
			}
			if !unchanged[i] {
				d.secret(&p, s, &item)
			}
			p.next.Secrets = append(p.next.Secrets, item)
		case next[s.AuditConfig] != nil && !unchanged[i]:
			d.secret(&p, s, next[s.AuditConfig].Cluster(s.Cluster))
		}
	}
	d.unneeded(&p, configs, kept)
	return p
}

// recorded returns the commit that last changed a Secret, and reports whether it was applied in its present form.
func (f *facts) recorded(s *fleet.Secret) (commit string, same bool) {
	if s.Cluster == "" {
		known := f.inventories[""].Secret(s.Name)
		return f.commit(known, s.Hash), known != nil && known.Hash == s.Hash
	}
	// The inventory has no hash for a cluster's Secret: it is unchanged if the cluster is.
	cluster := madeFor(s)
	i, inFleet := f.clusterAt[cluster]
	if item := f.items[cluster]; inFleet && item != nil && f.desired.Clusters[i].Hash == item.Hash {
		return f.commit(item, item.Hash), true
	}
	return f.policy.Revision, false
}

// secret plans one Secret, and records a correction in item, which is its own or its cluster's.
func (d *decided) secret(p *secretsPlan, s *fleet.Secret, item *inventory.Item) {
	live, exists := d.live.Secrets[s.Name]
	if s.Unknown() {
		p.unknown(s, exists)
		return
	}
	commit, same := d.recorded(s)
	write := d.secretWrite(s, live, commit)
	step := Step{Action: Add, Kind: KindSecret, Name: s.Name, AuditConfig: s.AuditConfig, Origin: s.Origin.Path, Drift: same}
	supplied := false
	switch {
	case !exists && same:
		step.Reason = "it was deleted"
	case exists:
		step.Action = Change
		step.Fields = secretDifferences(write, live, same)
		if same && s.Supplied {
			supplied = p.supplied(s, live, &step)
		}
		if len(step.Fields) == 0 {
			if supplied {
				p.writes = append(p.writes, write)
			}
			return
		}
		if live.Labels[fleet.LabelSync] == "" && !d.applied(s.Name) {
			step.Reason, step.Drift = "takes over a Secret that was made by hand", false
		}
	}
	waits := step.Drift && item != nil && p.settleSecret(&step, item, d.policy)
	p.step(step)
	switch {
	case !waits && (!step.Drift || d.policy.CorrectDrift):
		p.writes = append(p.writes, write)
	case supplied:
		p.writes = append(p.writes, write.keeping(live))
	}
}

// settleSecret records in item that one of its Secrets is corrected, and reports whether the correction waits. Muster
// never stops correcting a Secret.
func (p *secretsPlan) settleSecret(step *Step, item *inventory.Item, policy Policy) (waits bool) {
	prefix := step.Name + ":"
	differ := []Field{{Path: prefix}} // the Secret was deleted
	if step.Action == Change {
		differ = nil
		for _, f := range step.Fields {
			differ = append(differ, Field{Path: prefix + f.Path})
		}
	}
	own := func(c inventory.Correction) bool { return strings.HasPrefix(c.Path, prefix) }
	past := slices.DeleteFunc(slices.Clone(item.Corrected), func(c inventory.Correction) bool { return !own(c) })
	s := policy.settle(KindSecret, differ, past, false)
	item.Corrected = append(slices.DeleteFunc(slices.Clone(item.Corrected), own), s.corrected...)
	sortCorrections(item.Corrected)
	return p.settled(step, s, policy)
}

// holds reports whether a live Secret clearly has everything of a desired one. Nearly every Secret does on nearly every
// run.
func (f *facts) holds(live LiveSecret, s *fleet.Secret) bool {
	path, _, _ := strings.Cut(live.Annotations[fleet.AnnotationOrigin], "@")
	if s.Immutable && !live.Immutable || path != s.Origin.Path || live.Labels[fleet.LabelSync] != f.desired.Sync {
		return false
	}
	if s.Cluster != "" && live.Annotations[fleet.AnnotationMadeFor] != madeFor(s).String() {
		return false
	}
	for key, want := range s.Data {
		if have, ok := live.Data[key]; !ok || string(have) != want {
			return false
		}
	}
	return containsAll(live.Labels, s.Labels) && containsAll(live.Annotations, s.Annotations)
}

// containsAll reports whether have contains every pair of want.
func containsAll(have, want map[string]string) bool {
	for key, value := range want {
		if have[key] != value {
			return false
		}
	}
	return true
}

func (f *facts) secretWrite(s *fleet.Secret, live LiveSecret, commit string) SecretWrite {
	write := SecretWrite{Version: live.Version, Name: s.Name, Type: s.Type, Data: s.Data, Labels: map[string]string{}, Annotations: map[string]string{}}
	write.Immutable = s.Immutable || live.Immutable // it can't be undone; admit has warned
	maps.Copy(write.Labels, s.Labels)
	maps.Copy(write.Annotations, s.Annotations)
	if f.desired.Sync != "" {
		write.Labels[fleet.LabelSync] = f.desired.Sync
	}
	write.Annotations[fleet.AnnotationOrigin] = origin(s.Origin.Path, commit)
	delete(write.Annotations, fleet.AnnotationMadeFor)
	if s.Cluster != "" {
		write.Annotations[fleet.AnnotationMadeFor] = madeFor(s).String()
	}
	return write
}

// secretDifferences returns the fields of a Secret that must change. Keys that others have added are no difference if
// Muster has applied the same content before. Otherwise such a key may have been deleted from the file.
func secretDifferences(want SecretWrite, live LiveSecret, same bool) []Field {
	var list []Field
	if !same {
		for _, key := range slices.Sorted(maps.Keys(live.Data)) {
			if _, wanted := want.Data[key]; !wanted {
				list = append(list, Field{Path: "data." + key})
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want.Data)) {
		if have, ok := live.Data[key]; !ok || string(have) != want.Data[key] {
			list = append(list, Field{Path: "data." + key})
		}
	}
	if want.Immutable && !live.Immutable {
		list = append(list, Field{Path: "immutable", From: "false", To: "true"})
	}
	for _, key := range slices.Sorted(maps.Keys(want.Labels)) {
		if live.Labels[key] != want.Labels[key] {
			list = append(list, Field{Path: "metadata.labels." + key, From: live.Labels[key], To: want.Labels[key]})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want.Annotations)) {
		if key == fleet.AnnotationOrigin && samePath(live.Annotations[key], want.Annotations[key]) {
			continue // a commit changed the file, but not this Secret
		}
		if live.Annotations[key] != want.Annotations[key] {
			list = append(list, Field{Path: "metadata.annotations." + key, From: live.Annotations[key], To: want.Annotations[key]})
		}
	}
	return list
}

func samePath(a, b string) bool {
	pathA, _, _ := strings.Cut(a, "@")
	pathB, _, _ := strings.Cut(b, "@")
	return pathA == pathB
}
