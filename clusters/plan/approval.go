package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// ApproveAnnotation on an AuditSync approves the removals that a plan holds. Its value must be that plan's Approval.
const ApproveAnnotation = "muster.dev/approve-removals"

// Approval is an approval that Muster is carrying out. It stays in an inventory until all its removals there are done: after a part of
// them, the next plan holds less and so has another Approval, but the rest is still approved.
type Approval struct {
	// Value is the Plan.Approval that was approved.
	Value string `json:"value"`
	// Removals are the keys of the approved removals from this inventory, sorted.
	Removals []string `json:"removals"`
}

// Equal reports whether two approvals are the same.
func (a *Approval) Equal(other *Approval) bool {
	if a == nil || other == nil {
		return a == other
	}
	return a.Value == other.Value && slices.Equal(a.Removals, other.Removals)
}

// The keys of removals. Names contain no slash.
func clusterKey(auditConfig, name string) string { return "cluster/" + auditConfig + "/" + name }
func secretKey(name string) string               { return "secret//" + name }
func configKey(name string) string               { return "auditconfig/" + name }

// inventoryOf returns the audit config whose inventory has the key's item.
func inventoryOf(key string) string { return strings.Split(key, "/")[1] }

// key returns the key of a held step's item.
func (p *planner) key(s Step) string {
	switch s.Kind {
	case KindSecret:
		return secretKey(s.Name)
	case KindAuditConfig:
		return configKey(s.Name)
	}
	key := clusterKey(s.AuditConfig, s.Name)
	if p.moves.targets[key] != "" {
		return p.moves.key(key)
	}
	return key
}

// noteApproval computes the value that approves the held removals. It depends on the revision and on every held removal, so that it
// approves nothing that another spec or another management cluster would remove at the same revision.
func (p *planner) noteApproval() {
	for _, s := range p.plan.Steps {
		if s.Action == Hold && (waits(s.Reason) || s.Reason == reasonConfig || s.Reason == reasonAlong) {
			p.plan.approvable = append(p.plan.approvable, p.key(s))
		}
	}
	slices.Sort(p.plan.approvable)
	if p.policy.Revision != "" && len(p.plan.approvable) > 0 {
		p.plan.Approval = approval(p.policy.Revision, p.plan.approvable)
	}
}

// approval returns the value that approves removals at a revision, given their sorted keys.
func approval(revision string, keys []string) string {
	return revision + "-" + digest(strings.Join(keys, "\n"))
}

// revisionOf returns the revision in an approval, which is everything before the digest; empty if the text is no approval.
func revisionOf(approval string) string {
	at := strings.LastIndexByte(approval, '-')
	if at < 0 || len(approval)-at-1 != len(digest("")) {
		return ""
	}
	return approval[:at]
}

// approvedOf returns the keys of the approved removals: all that the plan holds, or the rest of an approval in progress. A work tree with
// uncommitted changes has no revision, so it can't have an approval.
func approvedOf(p *Plan, live Live, policy Policy) map[string]bool {
	approved := map[string]bool{}
	note := func(keys []string) {
		for _, key := range keys {
			approved[key] = true
		}
	}
	switch {
	case p.Approval == "":
	case policy.Approved == p.Approval:
		note(p.approvable)
	case revisionOf(policy.Approved) == p.Revision:
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
	switch revision := revisionOf(given); {
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
func (p *planner) approvals() (all, left map[string]*Approval) {
	stays := map[string]bool{}
	for _, s := range p.plan.Steps {
		if s.Action == Hold {
			stays[p.key(s)] = true
		}
	}
	all, left = map[string]*Approval{}, map[string]*Approval{}
	note := func(approvals map[string]*Approval, key string) {
		name := inventoryOf(key)
		if approvals[name] == nil {
			approvals[name] = &Approval{Value: p.policy.Approved}
		}
		approvals[name].Removals = append(approvals[name].Removals, key)
	}
	for _, key := range slices.Sorted(maps.Keys(p.approved)) {
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
		approve = "approve exactly these removals with the annotation " + ApproveAnnotation + "=" + p.plan.Approval
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
