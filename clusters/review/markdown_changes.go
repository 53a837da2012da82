package review

import (
	"fmt"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

// removals lists what is removed, what waits for an approval, and what is held for another reason.
func (p *printer) removals() []section {
	var removed, waiting, kept []string
	standing := true // all that wait do so without this pull request
	for i := range p.review.Changes {
		if c := &p.review.Changes[i]; c.Action == plan.Remove {
			removed = append(removed, p.removal(c))
		}
	}
	for i := range p.review.Held {
		switch c := &p.review.Held[i]; {
		case c.Approvable:
			waiting = append(waiting, p.removal(c))
			standing = standing && c.Standing
		case !c.Standing:
			kept = append(kept, p.removal(c))
		}
	}
	wait := section{head: "#### Removals that wait for approval\n\n" + p.approval(), tail: "\n", items: waiting}
	if standing {
		wait.head, wait.tail = fold(plural(len(waiting), "removal waits for approval already", "removals wait for approval already"), false)+p.approval(), foldEnd
	}
	return []section{
		{head: "#### Removed after the merge\n\n", tail: "\n", items: removed},
		wait,
		{head: "#### No longer in Git, but kept\n\n", tail: "\n", items: kept},
	}
}

// approval tells how to approve the removals that wait.
func (p *printer) approval() string {
	if p.review.Digest == "" {
		return "They stay until they are approved after the merge.\n\n"
	}
	if p.ApproveByComment {
		return "They stay after the merge, unless someone with write access approves exactly these with this comment. A push needs a new one.\n\n" +
			block(ApproveCommand+visible(p.review.Approval, maxValue)) + "\n"
	}
	return fmt.Sprintf("They stay until exactly these are approved after the merge, with this annotation on the AuditSync. COMMIT is the commit of the merge.\n\n%s\n",
		block(inventory.ApproveAnnotation+"=COMMIT-"+p.review.Digest))
}

func (p *printer) removal(c *Change) string {
	text := "- " + p.subject(c)
	if c.Path != "" {
		text += " from " + code(c.Path)
	}
	switch {
	case c.NamedBy != "":
		text += ": " + prose(c.NamedBy, code) + " still names it"
	case c.Reason != "":
		text += ": " + prose(c.Reason, code)
	}
	if c.CronJob != nil {
		text += ". Its CronJob " + code(c.CronJob.Name) + cut(c.CronJob) + " goes with it"
	}
	if c.Standing {
		text += " (waits already)"
	}
	return text + "\n"
}

// subject names what a change is about.
func (p *printer) subject(c *Change) string {
	switch c.Kind {
	case plan.KindCluster:
		text := "cluster " + code(c.Name)
		if c.AuditConfig != "" && p.configs > 1 {
			text += " of " + code(c.AuditConfig)
		}
		return text
	case plan.KindAuditConfig:
		return "audit config " + code(c.Name)
	}
	return c.Kind + " " + code(c.Name)
}

// auditConfigs counts the audit configs of the changed clusters.
func (r *Review) auditConfigs() int {
	configs := map[string]bool{}
	for _, changes := range [][]Change{r.Changes, r.Held} {
		for i := range changes {
			configs[changes[i].AuditConfig] = true
		}
	}
	delete(configs, "")
	return len(configs)
}

// cut tells that the operator changes a name.
func cut(c *CronJob) string {
	if c.Cut {
		return " (the operator shortens the name)"
	}
	return ""
}

// few is how many changes are shown without folding them.
const few = 3

// changes lists what is added, changed and moved, in a fold each.
func (p *printer) changes() []section {
	groups := []struct {
		action    plan.Action
		one, many string
	}{{plan.Add, "cluster added", "clusters added"}, {plan.Change, "cluster changed", "clusters changed"}, {plan.Move, "cluster moved", "clusters moved"}}
	var sections []section
	total, others := 0, []string{}
	for i := range p.review.Changes {
		c := &p.review.Changes[i]
		switch {
		case c.Action == plan.Remove:
		case c.Kind == plan.KindCluster:
			total++
		default:
			others = append(others, p.change(c))
		}
	}
	for _, g := range groups {
		var items []string
		for i := range p.review.Changes {
			if c := &p.review.Changes[i]; c.Kind == plan.KindCluster && c.Action == g.action {
				items = append(items, p.change(c))
			}
		}
		sections = append(sections, section{head: fold(plural(len(items), g.one, g.many), total <= few), tail: foldEnd, items: items})
	}
	return append(sections, section{head: fold(plural(len(others), "other object changed", "other objects changed"), total <= few), tail: foldEnd, items: others})
}

// change is one list item, with the fields below it.
func (p *printer) change(c *Change) string {
	var i item
	i.WriteString("- " + p.subject(c))
	if c.Kind != plan.KindCluster && c.Action == plan.Add {
		i.WriteString(" is new")
	}
	if c.From != "" {
		i.WriteString(", from " + code(c.From))
	}
	if c.Path != "" {
		i.WriteString(", " + p.file(c.Path, 0))
	}
	if c.Reason != "" && c.Action != plan.Move {
		i.WriteString(": " + prose(c.Reason, code))
	}
	i.WriteString("\n")
	for _, credential := range c.Credentials {
		i.below(credential.text())
	}
	if c.Schedule != nil {
		i.below(c.Schedule.text())
	}
	if c.CronJob != nil {
		i.below(c.CronJob.text(c.Action))
	}
	for _, f := range c.Fields {
		if f.Path != "schedule" || c.Schedule == nil {
			i.below(fieldText(c, f))
		}
	}
	return i.done()
}

// fieldText is a field with its old and new value.
func fieldText(c *Change, f plan.Field) string {
	path := code(f.Path)
	switch {
	case c.Kind == plan.KindSecret || f.From == "" && f.To == "":
		return path + " changed"
	case f.From == "" && c.Action == plan.Add:
		return path + ": " + code(f.To)
	case f.From == "":
		return path + ": " + code(f.To) + " (new)"
	case f.To == "":
		return path + ": " + code(f.From) + " (removed)"
	}
	return path + ": " + code(f.From) + " → " + code(f.To)
}

func (s *Schedule) text() string {
	var text string
	switch {
	case s.Resolved == "":
		text = "scanned at the schedule of its audit config"
	case s.Written != "" && s.Written != s.Resolved:
		text = "scanned at " + code(s.Resolved) + ", from " + code(s.Written)
	default:
		text = "scanned at " + code(s.Resolved)
	}
	if s.Before != "" && s.Before != s.Resolved {
		text += "; before, at " + code(s.Before)
	}
	return text
}

func (c *CronJob) text(action plan.Action) string {
	name := "CronJob " + code(c.Name) + cut(c)
	switch {
	case c.Was != "":
		return name + " replaces " + code(c.Was)
	case action == plan.Add:
		return name + " is new"
	}
	return name + " changes"
}

// contents names what the Secrets of a cluster hold.
var contents = map[string]string{mondoo.Kubeconfig: "kubeconfig", mondoo.ServiceAccount: "ServiceAccount token", mondoo.TrustBundle: "trust bundle",
	mondoo.VaultCA: "CA of Vault", mondoo.TargetCA: "CA of the cluster", mondoo.Registries: "registry credentials"}

// text is "kubeconfig changed, expires 2027-03-01 (before: 2026-12-01)".
func (c *Credential) text() string {
	what, known := contents[c.Content]
	if !known {
		what = "Secret " + code(c.Secret)
		if c.Content != "" {
			what += " (" + code(c.Content) + ")"
		}
	}
	text := "**" + what + "** changed"
	switch c.Action {
	case plan.Add:
		text = "**" + what + "** is new"
	case plan.Remove:
		text = "**" + what + "** removed"
	case plan.Move:
		text = "**" + what + "** moves with it"
	}
	if c.Elsewhere {
		text += ", **and is sent to another server than before, or its server is verified in another way**"
	}
	if len(c.Keys) > 0 && !known {
		var keys []string
		for _, k := range c.Keys[:min(len(c.Keys), few)] {
			keys = append(keys, code(k))
		}
		text += ": " + strings.Join(keys, ", ")
	}
	if !c.Expires.IsZero() && c.Action != plan.Remove {
		text += ", expires " + c.Expires.Format(time.DateOnly)
		if !c.Expired.IsZero() && !c.Expired.Equal(c.Expires) {
			text += " (before: " + c.Expired.Format(time.DateOnly) + ")"
		}
	}
	return text
}
