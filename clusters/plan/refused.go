package plan

import (
	"cmp"
	"fmt"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/policy"
)

// refuseConfigs finds the audit configs that this AuditSync may not change. They stay as they are, with their clusters and Secrets.
func (p *planner) refuseConfigs() {
	p.refused = map[string]*finding.Finding{}
	for _, name := range p.configNames() {
		desired, inFleet := p.desiredConfig(name)
		refuse := func(code finding.Code, message, fix string) {
			at := p.place(desired.Origin, fieldName)
			at.Code, at.Severity, at.Message, at.Fix, at.Stops = code, finding.Error, message, fix, true
			p.refused[name] = &at
		}
		live := p.live.AuditConfigs[name]
		switch owner := cmp.Or(p.owners[name], p.labelled(name, live)); {
		case owner != "":
			refuse(CodeConfigOwned, fmt.Sprintf("the audit config %s is driven by the AuditSync %s", name, owner),
				"let one AuditSync drive an audit config; give the other another one")
		case inFleet && mondoo.RemoteManaged(live):
			refuse(policy.CodeRemoteManaged, fmt.Sprintf("the audit config %s is managed by Mondoo's console (spec.remoteManaged), which replaces its list of clusters; nothing is applied", name),
				fmt.Sprintf("turn that off in the console, or with: kubectl -n %s patch mondooauditconfig %s --type=merge -p '{\"spec\":{\"remoteManaged\":false}}'", p.fleet.Namespace, name))
		case desired.Object != nil && live != nil && !p.madeConfig(name, live):
			refuse(CodeConfigForeign, fmt.Sprintf("there is an audit config %s already that Muster did not make; taking it over %s", name, p.wouldChange(desired, live)),
				fmt.Sprintf("take the manifest out of Git, and Muster owns the list of clusters alone; or let Muster take it over: annotate it with %s=%s", AdoptAnnotation, cmp.Or(p.fleet.Sync, "<name of the AuditSync>")))
		case desired.Object != nil:
			if secret, user := p.reservedIn(desired.Object); secret != "" {
				refuse(policy.CodeReserved, fmt.Sprintf("the audit config %s names the Secret %s, which is for %s alone", name, secret, user), "name another Secret")
			}
		}
	}
}

// labelled is the other, living AuditSync that has applied an audit config as a whole, by its label. Where this AuditSync was to apply it
// too, the inventories tell whose it is.
func (p *planner) labelled(name string, live map[string]any) string {
	sync := mondoo.TextAt(live, "metadata", "labels", fleet.LabelSync)
	if sync == p.fleet.Sync || !p.live.Syncs[sync] || p.hasWhole(name) {
		return ""
	}
	return sync
}

// madeConfig says whether a live audit config is one that Muster has applied as a whole, or that its maker lets this AuditSync have.
func (p *planner) madeConfig(name string, live map[string]any) bool {
	label := mondoo.TextAt(live, "metadata", "labels", fleet.LabelSync)
	adopter := mondoo.TextAt(live, "metadata", "annotations", AdoptAnnotation)
	return p.hasWhole(name) || label != "" || p.adopter(adopter)
}

// hasWhole says whether this AuditSync has applied an audit config as a whole, or was about to.
func (p *planner) hasWhole(name string) bool {
	return p.inventories[name] != nil && p.inventories[name].Origin != ""
}

// wouldChange names the fields in which a live audit config differs from the one in Git. It gives no values: people write tokens into
// environments.
func (p *planner) wouldChange(desired fleet.AuditConfig, live map[string]any) string {
	var paths []string
	for _, f := range differences("", ownFields(desired.Object), live) {
		paths = append(paths, f.Path)
	}
	if len(paths) == 0 {
		return "would change no field, and from then on each that Git changes"
	}
	return "would change " + some(paths)
}

// reservedIn finds a Secret that an AuditSync uses itself.
func (p *planner) reservedIn(auditConfig map[string]any) (secret, user string) {
	uses, _ := mondoo.Inspect(auditConfig)
	for _, u := range uses {
		for text := range mondoo.Texts([]any{u.Value, mondoo.At(auditConfig, u.Field)}) {
			if user := p.live.Reserved[text]; user != "" {
				return text, user
			}
		}
	}
	return "", ""
}
