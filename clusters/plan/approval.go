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

// key returns the key of a held step's item.
func (p *planner) key(s Step) inventory.Key {
	switch s.Kind {
	case KindSecret:
		return inventory.SecretKey(s.Name)
	case KindAuditConfig:
		return inventory.AuditConfigKey(s.Name)
	}
	cluster := inventory.Cluster{AuditConfig: s.AuditConfig, Name: s.Name}
	if p.moves.targets[cluster] != "" {
		return p.moves.key(cluster)
	}
	return inventory.ClusterKey(cluster)
}

// noteApproval computes the value that approves the held removals.
func (p *planner) noteApproval() {
	for _, s := range p.plan.Steps {
		if s.Action == Hold && (waits(s.Reason) || s.Reason == reasonConfig || s.Reason == reasonAlong) {
			p.plan.approvable = append(p.plan.approvable, p.key(s))
		}
	}
	slices.SortFunc(p.plan.approvable, inventory.Key.Compare)
	if p.policy.Revision != "" && len(p.plan.approvable) > 0 {
		p.plan.Approval = inventory.ApprovalValue(p.policy.Revision, p.plan.approvable)
	}
}

// approvedOf returns the keys of the approved removals: all that the plan holds, or the rest of an approval in progress. A work tree with
// uncommitted changes has no revision, so it can't have an approval.
func approvedOf(p *Plan, live Live, policy Policy) map[inventory.Key]bool {
	approved := map[inventory.Key]bool{}
	note := func(keys []inventory.Key) {
		for _, key := range keys {
			approved[key] = true
		}
	}
	switch {
	case p.Approval == "":
	case policy.Approved == p.Approval:
		note(p.approvable)
	case inventory.ApprovedRevision(policy.Approved) == p.Revision:
		for _, inv := range live.Inventories {
			if inv.Sync == p.Sync && inv.Approved != nil && inv.Approved.Value == policy.Approved {
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
func (p *planner) approvals() (all, left map[string]*inventory.Approval) {
	stays := map[inventory.Key]bool{}
	for _, s := range p.plan.Steps {
		if s.Action == Hold {
			stays[p.key(s)] = true
		}
	}
	all, left = map[string]*inventory.Approval{}, map[string]*inventory.Approval{}
	note := func(approvals map[string]*inventory.Approval, key inventory.Key) {
		name := key.AuditConfig
		if approvals[name] == nil {
			approvals[name] = &inventory.Approval{Value: p.policy.Approved}
		}
		approvals[name].Removals = append(approvals[name].Removals, key)
	}
	for _, key := range slices.SortedFunc(maps.Keys(p.approved), inventory.Key.Compare) {
		note(all, key)
		if stays[key] {
			note(left, key)
		}
	}
	return all, left
}

// tellHeld reports the removals that wait, why, and how to release them.
func (p *planner) tellHeld() {
	approve := "commit the changes first: an approval is for a commit"
	if p.plan.Approval != "" {
		approve = "approve exactly these removals with the annotation " + inventory.ApproveAnnotation + "=" + p.plan.Approval
	}
	tell := func(fix, format string, args ...any) {
		p.plan.Add(finding.Finding{Code: CodeHeld, Severity: finding.Warning, Message: fmt.Sprintf(format, args...), Fix: fix})
	}
	moving, along := map[string][]string{}, map[string][]string{}
	for _, s := range p.plan.Steps {
		switch {
		case s.Action == Hold && s.Reason == reasonConfig:
			moving[s.AuditConfig] = append(moving[s.AuditConfig], s.Name)
		case s.Action == Hold && s.Reason == reasonAlong:
			along[s.AuditConfig] = append(along[s.AuditConfig], s.Name)
		}
	}
	for _, s := range p.plan.Steps {
		if s.Action != Hold || s.Reason != reasonOwner {
			continue
		}
		and := ""
		if names := moving[s.Name]; len(names) > 0 {
			and = fmt.Sprintf(", and so do %d clusters that would move to another audit config: %s", len(names), some(names))
		}
		if names := along[s.Name]; len(names) > 0 {
			and += fmt.Sprintf("; %d entries that are in no file would be removed with it: %s", len(names), some(names))
		}
		tell(approve, "the audit config %s is no longer in Git and stays until its removal is approved%s%s", s.Name, and, p.integration(s.Name))
	}
	for _, row := range []struct{ reason, why, fix string }{
		{reasonBudget, " for approval: they exceed " + p.removals.limit, approve},
		{reasonPresent, ": their files exist, but no longer contain them", "correct or delete the files, or " + approve},
		{reasonUnread, ": an unreadable file may contain what they would remove", "fix the file, or " + approve},
		{reasonNamed, ": an audit config or an entry that stays still names them", "fix, change or remove what names them"},
	} {
		if names := p.plan.heldFor(row.reason); len(names) > 0 {
			tell(row.fix, "%d removals wait%s: %s", len(names), row.why, some(names))
		}
	}
}

// integration warns if the operator deletes the integration at Mondoo together with an audit config.
func (p *planner) integration(auditConfig string) string {
	deletes, made := mondoo.DeletesIntegration(p.live.AuditConfigs[auditConfig])
	const keep = "; consoleIntegration.deletionPolicy: Retain keeps it"
	switch {
	case deletes && made:
		return "; removing it also deletes its integration at Mondoo, which the operator made" + keep
	case deletes:
		return "; if the operator made its integration at Mondoo, removing it deletes that too" + keep
	}
	return ""
}

func (p *Plan) heldFor(reason string) []string {
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
