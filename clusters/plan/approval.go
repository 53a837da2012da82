package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// keyOf returns the key of a held step's item.
func (a *admitted) keyOf(s Step) inventory.Key {
	switch s.Kind {
	case KindSecret:
		return inventory.SecretKey(s.Name)
	case KindAuditConfig:
		return inventory.AuditConfigKey(s.Name)
	}
	cluster := inventory.Cluster{AuditConfig: s.AuditConfig, Name: s.Name}
	if a.moves.targets[cluster] != "" {
		return a.moves.key(cluster)
	}
	return inventory.ClusterKey(cluster)
}

// Approvable reports whether an approval releases this step. Other held steps end when their reason does.
func (s Step) Approvable() bool {
	return s.Action == Hold && (s.Reason.waits() || s.Reason == reasonConfig || s.Reason == reasonAlong)
}

// approvable returns the keys of the held removals that an approval releases, sorted.
func (a *admitted) approvable(steps []Step) []inventory.Key {
	var keys []inventory.Key
	for _, s := range steps {
		if s.Approvable() {
			keys = append(keys, a.keyOf(s))
		}
	}
	slices.SortFunc(keys, inventory.Key.Compare)
	return keys
}

// approvedOf returns the keys of the approved removals: all that the plan holds, or the rest of an approval in progress.
// A work tree with uncommitted changes has no revision, so it can't have an approval.
func (f *facts) approvedOf(p *Plan) map[inventory.Key]bool {
	approved := map[inventory.Key]bool{}
	note := func(keys []inventory.Key) {
		for _, key := range keys {
			approved[key] = true
		}
	}
	switch {
	case p.Approval == "":
	case f.policy.Approved == p.Approval:
		note(p.approvable)
	case inventory.ApprovedRevision(f.policy.Approved) == p.Revision:
		for _, inv := range f.live.Inventories {
			if inv.Sync == p.Sync && inv.Approved != nil && inv.Approved.Value == f.policy.Approved {
				note(inv.Approved.Removals)
			}
		}
	}
	return approved
}

// mismatch returns why the given approval approves none of the waiting removals; empty if none waits or none was given.
func (p *Plan) mismatch(given string) string {
	if given == "" || p.Approval == "" {
		return ""
	}
	why := "it is for other removals than those waiting now"
	switch revision := inventory.ApprovedRevision(given); {
	case revision == "":
		why = "it does not have the form COMMIT-DIGEST"
	case revision != p.Revision:
		why = "it is for the commit " + cut(revision, 40) + ", and the current one is " + p.Revision
	}
	return fmt.Sprintf("the approval %q approves nothing: %s", cut(given, 80), why)
}

// cut shortens text from the outside.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// approvals groups the approved removals by inventory: all of them, and those that are still held for another reason.
func (d *decided) approvals(steps []Step) (all, left map[string]*inventory.Approval) {
	stays := map[inventory.Key]bool{}
	for _, s := range steps {
		if s.Action == Hold {
			stays[d.keyOf(s)] = true
		}
	}
	all, left = map[string]*inventory.Approval{}, map[string]*inventory.Approval{}
	note := func(approvals map[string]*inventory.Approval, key inventory.Key) {
		name := key.AuditConfig
		if approvals[name] == nil {
			approvals[name] = &inventory.Approval{Value: d.policy.Approved}
		}
		approvals[name].Removals = append(approvals[name].Removals, key)
	}
	for _, key := range slices.SortedFunc(maps.Keys(d.approved), inventory.Key.Compare) {
		note(all, key)
		if stays[key] {
			note(left, key)
		}
	}
	return all, left
}

// tellHeld reports the removals that wait, why, and how to release them.
func (d *decided) tellHeld(p *Plan) {
	approve := "commit the changes first: an approval is for a commit"
	if p.Approval != "" {
		approve = "approve exactly these removals with the annotation " + inventory.ApproveAnnotation + "=" + p.Approval
	}
	tell := func(fix, format string, args ...any) {
		p.Add(finding.Finding{Code: CodeHeld, Severity: finding.Warning, Message: fmt.Sprintf(format, args...), Fix: fix})
	}
	for _, s := range p.Steps {
		if s.Action != Hold || s.Reason != reasonOwner {
			continue
		}
		and := ""
		if names := p.namesHeld(s.Name, reasonConfig); len(names) > 0 {
			and = fmt.Sprintf(", and so do %d clusters that would move to another audit config: %s", len(names), some(names))
		}
		if names := p.namesHeld(s.Name, reasonAlong); len(names) > 0 {
			and += fmt.Sprintf("; %d entries that are in no file would be removed with it: %s", len(names), some(names))
		}
		tell(approve, "the audit config %s is no longer in Git and stays until its removal is approved%s%s", s.Name, and, d.integration(s.Name))
	}
	for _, row := range []struct {
		reason   Reason
		why, fix string
	}{
		{reasonBudget, " for approval: they exceed " + d.removals.limit, approve},
		{reasonPresent, ": their files exist, but no longer contain them", "correct or delete the files, or " + approve},
		{reasonUnread, ": an unreadable file may contain what they would remove", "fix the file, or " + approve},
		{reasonNamed, ": an audit config or an entry that stays still names them", "fix, change or remove what names them"},
	} {
		if names := p.heldFor(row.reason); len(names) > 0 {
			tell(row.fix, "%d removals wait%s: %s", len(names), row.why, some(names))
		}
	}
}

// namesHeld returns the clusters of an audit config that are held for a reason.
func (p *Plan) namesHeld(auditConfig string, reason Reason) []string {
	var names []string
	for _, s := range p.Steps {
		if s.Action == Hold && s.AuditConfig == auditConfig && s.Reason == reason {
			names = append(names, s.Name)
		}
	}
	return names
}

// integration warns if the operator deletes the integration at Mondoo together with an audit config.
func (f *facts) integration(auditConfig string) string {
	deletes, made := mondoo.DeletesIntegration(f.live.AuditConfigs[auditConfig])
	const keep = "; consoleIntegration.deletionPolicy: Retain keeps it"
	switch {
	case deletes && made:
		return "; removing it also deletes its integration at Mondoo, which the operator made" + keep
	case deletes:
		return "; if the operator made its integration at Mondoo, removing it deletes that too" + keep
	}
	return ""
}

func (p *Plan) heldFor(reason Reason) []string {
	var names []string
	for _, s := range p.Steps {
		if s.Action == Hold && s.Reason == reason {
			name := s.Kind + " " + s.Name
			if s.NamedBy != "" {
				name += " (" + s.NamedBy + ")"
			}
			names = append(names, name)
		}
	}
	return names
}
