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
func (f *facts) refuseConfigs() map[string]finding.Finding {
	refused := map[string]finding.Finding{}
	for _, name := range f.configNames() {
		desired, inFleet := f.desiredConfig(name)
		if code, message, fix := f.refuseConfig(desired, inFleet); code != "" {
			at := f.place(desired.Origin, fieldName)
			at.Code, at.Severity, at.Message, at.Fix, at.Stops = code, finding.Error, message, fix, true
			refused[name] = at
		}
	}
	return refused
}

// refuseConfig returns why this AuditSync may not change an audit config; an empty code if it may.
func (f *facts) refuseConfig(desired fleet.AuditConfig, inFleet bool) (code finding.Code, message, fix string) {
	name, live := desired.Name, f.live.AuditConfigs[desired.Name]
	switch owner := cmp.Or(f.owners[name], f.labelled(name, live)); {
	case owner != "":
		return CodeConfigOwned, fmt.Sprintf("the audit config %s belongs to the AuditSync %s", name, owner), "give each AuditSync its own audit config"
	case inFleet && mondoo.RemoteManaged(live):
		return policy.CodeRemoteManaged, fmt.Sprintf("the audit config %s is managed by Mondoo's console (spec.remoteManaged), which replaces its list of clusters; nothing is applied", name),
			fmt.Sprintf("turn it off in the console, or with: kubectl -n %s patch mondooauditconfig %s --type=merge -p '{\"spec\":{\"remoteManaged\":false}}'", f.desired.Namespace, name)
	case desired.Object == nil:
		return "", "", ""
	case live != nil && !f.madeConfig(name, live):
		return CodeConfigForeign, fmt.Sprintf("the audit config %s exists and was not made by Muster; taking it over %s", name, wouldChange(desired, live)),
			"remove the manifest from Git, so that Muster manages only the list of clusters; or annotate the audit config with " + f.adoption() + " to let Muster take it over"
	}
	if secret, user := f.reservedIn(desired.Object); secret != "" {
		return policy.CodeReserved, fmt.Sprintf("the audit config %s names the Secret %s, which only %s may use", name, secret, user), "name another Secret"
	}
	return "", "", ""
}

// adoption is the annotation with which a user lets this AuditSync take an object over.
func (f *facts) adoption() string {
	return AdoptAnnotation + "=" + cmp.Or(f.desired.Sync, "<name of the AuditSync>")
}

// labelled returns the other existing AuditSync that applied an audit config as a whole, according to its label. If
// this AuditSync has started to apply it too, the inventories decide.
func (f *facts) labelled(name string, live map[string]any) string {
	sync := mondoo.TextAt(live, "metadata", "labels", fleet.LabelSync)
	if sync == f.desired.Sync || !f.live.Syncs[sync] || f.hasWhole(name) {
		return ""
	}
	return sync
}

// madeConfig reports whether a live audit config was applied as a whole by Muster, or has the annotation that lets this
// AuditSync take it over.
func (f *facts) madeConfig(name string, live map[string]any) bool {
	return f.hasWhole(name) || mondoo.TextAt(live, "metadata", "labels", fleet.LabelSync) != "" ||
		f.adopts(mondoo.TextAt(live, "metadata", "annotations", AdoptAnnotation))
}

// wouldChange names the fields in which a live audit config differs from the one in Git. It leaves out the values:
// users write tokens into environment variables.
func wouldChange(desired fleet.AuditConfig, live map[string]any) string {
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
func (f *facts) reservedIn(auditConfig map[string]any) (secret, user string) {
	uses, _ := mondoo.Inspect(auditConfig)
	for _, u := range uses {
		for text := range mondoo.Texts([]any{u.Value, mondoo.At(auditConfig, u.Field)}) {
			if user := f.live.Reserved[text]; user != "" {
				return text, user
			}
		}
	}
	return "", ""
}
