package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// ApproveAnnotation on an AuditSync approves what a plan holds, when its value is that plan's Approval.
const ApproveAnnotation = "muster.dev/approve-removals"

// Approval is what somebody has approved and Muster carries out. It stands in an inventory until it is done there: what has gone is
// missing from the next plan, whose Approval is another one, and the rest is to go all the same.
type Approval struct {
	// Value is the Plan.Approval that was approved.
	Value string `json:"value"`
	// Removals are the keys of what of this inventory goes with it, sorted.
	Removals []string `json:"removals"`
}

// Equal says whether two approvals are the same.
func (a *Approval) Equal(other *Approval) bool {
	if a == nil || other == nil {
		return a == other
	}
	return a.Value == other.Value && slices.Equal(a.Removals, other.Removals)
}

// The keys of what may go. No name has a slash in it.
func clusterKey(auditConfig, name string) string { return "cluster/" + auditConfig + "/" + name }
func secretKey(name string) string               { return "secret//" + name }
func configKey(name string) string               { return "auditconfig/" + name }

// inventoryOf is the audit config whose inventory has what a key stands for.
func inventoryOf(key string) string { return strings.Split(key, "/")[1] }

// key is that of what a step holds.
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

// noteApproval says what would approve what the plan holds. It names the revision and everything that is held of it, and so approves
// nothing that another spec, or another management cluster, makes of the same revision.
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

// approval is the value that approves removals of a revision, by their sorted keys.
func approval(revision string, keys []string) string {
	return revision + "-" + digest(strings.Join(keys, "\n"))
}

// revisionOf is the revision that an approval names, exactly: what stands before the digest. It is empty for what is no approval.
func revisionOf(approval string) string {
	at := strings.LastIndexByte(approval, '-')
	if at < 0 || len(approval)-at-1 != len(digest("")) {
		return ""
	}
	return approval[:at]
}

// approvedOf is what somebody has approved of what a plan holds: all of it, or what is left of what was begun. A work tree with
// changes has no revision, and nobody can have approved it.
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

// mismatch says why an approval that is given approves nothing of what waits; empty when nothing waits, or none is given.
func (p *Plan) mismatch(given string) string {
	if given == "" || p.Approval == "" {
		return ""
	}
	why := "it names other removals than those that wait now"
	switch revision := revisionOf(given); {
	case revision == "":
		why = "it is not of the form COMMIT-DIGEST"
	case revision != p.Revision:
		why = "it is for the commit " + cut(revision, 40) + ", and " + p.Revision + " is to be applied"
	}
	return fmt.Sprintf("the approval %q approves nothing: %s", cut(given, 80), why)
}

// cut shortens a text that somebody else has written.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// approvals sorts what is approved by inventory: all of it, and what stays all the same because something else keeps it.
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

// tellHeld reports what waits, why, and how it may go on.
func (p *planner) tellHeld() {
	approve := "commit the changes; removals are approved for a commit"
	if p.plan.Approval != "" {
		approve = "approve exactly this with the annotation " + ApproveAnnotation + "=" + p.plan.Approval
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
			and = fmt.Sprintf(", and so do %d clusters that would move to another one: %s", len(names), some(names))
		}
		if names := along[s.Name]; len(names) > 0 {
			and += fmt.Sprintf("; %d entries in no file would go with it: %s", len(names), some(names))
		}
		tell(approve, "the audit config %s is no longer in Git; it stays until its removal is approved%s%s", s.Name, and, p.integration(s.Name))
	}
	for _, row := range []struct{ reason, why, fix string }{
		{reasonBudget, " for approval, for they exceed " + p.removals.limit, approve},
		{reasonPresent, ", for the files are still there, and hold nothing for Muster", "correct or delete the files, or " + approve},
		{reasonUnread, ", for a file that can't be read may hold what they would remove", "mend the file, or " + approve},
		{reasonNamed, ", for an audit config or an entry that stays names what they would remove", "mend, change or remove what names it"},
	} {
		if names := p.plan.heldFor(row.reason); len(names) > 0 {
			tell(row.fix, "%d removals wait%s: %s", len(names), row.why, some(names))
		}
	}
}

// integration says what becomes of the integration at Mondoo when an audit config is removed, where the operator deletes it.
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
