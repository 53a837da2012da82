package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/policy"
)

// The operator itself reads a few Secrets when it processes an audit config: its Mondoo credentials and Vault's CA
// certificates. It doesn't watch them. If one was missing, the operator may retry as late as 16 minutes after it
// appears, unless the audit config changes.

// fieldCredentials names the Secret with the Mondoo credentials.
var fieldCredentials = []string{"spec", "mondooCredsSecretRef", "name"}

// credentials reports Mondoo credentials that the operator can't use. The operator doesn't report them.
func (a *admitted) credentials(n *notes, desired fleet.AuditConfig, config map[string]any) {
	name := mondoo.TextAt(config, fieldCredentials...)
	if !a.live.EverySecret || name == "" {
		return
	}
	warn := func(message, fix string) {
		at := finding.Finding{}
		if desired.Object != nil {
			at = a.place(desired.Origin, fieldCredentials)
		}
		n.warn(at, CodeCredentials, message, fix)
	}
	const nothing = "so the operator creates no scans for the audit config "
	content, exists := a.content(name)
	switch value := content(mondoo.KeyMondooConfig); {
	case !exists && mondoo.TextAt(config, "spec", "mondooTokenSecretRef", "name") != "": // the operator makes it from the token
	case !exists:
		warn(fmt.Sprintf("the Secret %s with the Mondoo credentials does not exist in the namespace %s, %s%s", name, a.desired.Namespace, nothing, desired.Name),
			"create it, with the credentials from Mondoo's console under the key config")
	case value == "":
		warn(fmt.Sprintf("the Secret %s has no key %s, %s%s", name, mondoo.KeyMondooConfig, nothing, desired.Name), "put the credentials from Mondoo's console under that key")
	case mondoo.TextAt(config, "spec", "spaceId") != "" && !json.Valid([]byte(value)):
		warn(fmt.Sprintf("spec.spaceId is set, but the key %s of the Secret %s is not JSON, %s%s", mondoo.KeyMondooConfig, name, nothing, desired.Name),
			"use the credentials exactly as Mondoo's console provides them, or remove spaceId")
	}
}

// content returns the content that a Secret has or will have after this plan.
func (a *admitted) content(name string) (value func(key string) string, exists bool) {
	if i, wanted := a.secretAt[name]; wanted && !a.secrets[i].Quarantined {
		return func(key string) string { return a.secrets[i].Data[key] }, true
	}
	live, exists := a.live.Secrets[name]
	return func(key string) string { return string(live.Data[key]) }, exists
}

// liveConfigs reports fields of audit configs from outside Git that stop the operator. A single unreadable duration
// stops it from processing any audit config.
func (f *facts) liveConfigs() notes {
	var n notes
	for _, name := range slices.Sorted(maps.Keys(f.live.AuditConfigs)) {
		if desired, _ := f.desiredConfig(name); desired.Object != nil {
			continue // its file was checked before
		}
		_, unreadable := mondoo.Inspect(f.live.AuditConfigs[name])
		for _, b := range unreadable {
			if b.Want == "" && b.Problem == "" {
				continue // a field of a newer operator
			}
			problem := policy.Unreadable(b)
			n.warn(finding.Finding{}, problem.Code, fmt.Sprintf("in the audit config %s of the management cluster, %s", name, problem.Message), problem.Fix)
		}
	}
	return n
}

// secretsRead are the Secrets that the operator itself reads for an audit config.
type secretsRead struct {
	names    []string
	versions string // identifies their versions; empty if unknown
}

// operatorReads also reports whether to make the operator process the audit config again, because one of the Secrets
// has changed. Any write to the audit config does that.
func (a *admitted) operatorReads(config map[string]any, list []map[string]any, before *inventory.Inventory) (reads secretsRead, wake bool) {
	known := ""
	if before != nil {
		known = before.Reads
	}
	if !a.live.EverySecret {
		return secretsRead{versions: known}, false
	}
	names := map[string]bool{mondoo.TextAt(config, fieldCredentials...): true}
	for _, entry := range list {
		for _, field := range []string{"caCertSecretRef", "targetCACertSecretRef"} {
			names[mondoo.TextAt(entry, "vaultAuth", field, "name")] = true
		}
	}
	delete(names, "")
	reads.names = slices.Sorted(maps.Keys(names))
	var versions []string // nil, not empty, if there are none: the hash depends on it
	complete := true
	for _, name := range reads.names {
		live, exists := a.live.Secrets[name]
		version := live.UID + " " + live.ResourceVersion
		if i, wanted := a.secretAt[name]; wanted { // for Muster's own Secrets, only the content counts
			version, exists = a.secrets[i].Hash, true
		}
		if !exists {
			version, complete = "missing", false
		}
		versions = append(versions, name+" "+version)
	}
	reads.versions = compile.Hash(versions)
	// The operator processes a new audit config anyway, and can't succeed while a Secret is missing.
	return reads, known != "" && known != reads.versions && complete
}
