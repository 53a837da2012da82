package plan

import (
	"cmp"
	"fmt"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/policy"
)

// refuseConfigs finds the audit configs that this AuditSync may not change. They stay as they are, with their clusters
// and Secrets.
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
			refuse(CodeConfigOwned, fmt.Sprintf("the audit config %s belongs to the AuditSync %s", name, owner),
				"give each AuditSync its own audit config")
		case inFleet && mondoo.RemoteManaged(live):
			refuse(policy.CodeRemoteManaged, fmt.Sprintf("the audit config %s is managed by Mondoo's console (spec.remoteManaged), which replaces its list of clusters; nothing is applied", name),
				fmt.Sprintf("turn it off in the console, or with: kubectl -n %s patch mondooauditconfig %s --type=merge -p '{\"spec\":{\"remoteManaged\":false}}'", p.fleet.Namespace, name))
		case desired.Object != nil && live != nil && !p.madeConfig(name, live):
			refuse(CodeConfigForeign, fmt.Sprintf("the audit config %s exists and was not made by Muster; taking it over %s", name, p.wouldChange(desired, live)),
				fmt.Sprintf("remove the manifest from Git, so that Muster manages only the list of clusters; or annotate the audit config with %s=%s to let Muster take it over", AdoptAnnotation, cmp.Or(p.fleet.Sync, "<name of the AuditSync>")))
		case desired.Object != nil:
			if secret, user := p.reservedIn(desired.Object); secret != "" {
				refuse(policy.CodeReserved, fmt.Sprintf("the audit config %s names the Secret %s, which only %s may use", name, secret, user), "name another Secret")
			}
		}
	}
}

// labelled returns the other existing AuditSync that applied an audit config as a whole, according to its label. If
// this AuditSync has started to apply it too, the inventories decide.
func (p *planner) labelled(name string, live map[string]any) string {
	sync := mondoo.TextAt(live, "metadata", "labels", fleet.LabelSync)
	if sync == p.fleet.Sync || !p.live.Syncs[sync] || p.hasWhole(name) {
		return ""
	}
	return sync
}

// madeConfig reports whether a live audit config was applied as a whole by Muster, or has the annotation that lets this
// AuditSync take it over.
func (p *planner) madeConfig(name string, live map[string]any) bool {
	label := mondoo.TextAt(live, "metadata", "labels", fleet.LabelSync)
	adopter := mondoo.TextAt(live, "metadata", "annotations", AdoptAnnotation)
	return p.hasWhole(name) || label != "" || p.adopter(adopter)
}

// hasWhole reports whether this AuditSync has applied an audit config as a whole, or was about to.
func (p *planner) hasWhole(name string) bool {
	return p.inventories[name] != nil && p.inventories[name].Origin != ""
}

// wouldChange names the fields in which a live audit config differs from the one in Git. It leaves out the values:
// users write tokens into environment variables.
func (p *planner) wouldChange(desired fleet.AuditConfig, live map[string]any) string {
	var paths []string
	for _, f := range differences("", ownFields(desired.Object), live) {
		paths = append(paths, f.Path)
	}
	if len(paths) == 0 {
		return "would change nothing now, but Muster would apply every later change in Git"
	}
	return "would change " + some(paths)
}

// reservedIn finds a Secret that an AuditSync itself uses.
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
