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
func (p *planner) credentials(desired fleet.AuditConfig, config map[string]any) {
	name := mondoo.TextAt(config, fieldCredentials...)
	if !p.live.EverySecret || name == "" {
		return
	}
	warn := func(message, fix string) {
		f := finding.Finding{}
		if desired.Object != nil {
			f = p.place(desired.Origin, fieldCredentials)
		}
		f.Code, f.Severity, f.Message, f.Fix = CodeCredentials, finding.Warning, message, fix
		p.plan.Add(f)
	}
	const nothing = "so the operator creates no scans for the audit config "
	content, exists := p.content(name)
	switch value := content(mondoo.KeyMondooConfig); {
	case !exists && mondoo.TextAt(config, "spec", "mondooTokenSecretRef", "name") != "": // the operator makes it from the token
	case !exists:
		warn(fmt.Sprintf("the Secret %s with the Mondoo credentials does not exist in the namespace %s, %s%s", name, p.fleet.Namespace, nothing, desired.Name),
			"create it, with the credentials from Mondoo's console under the key config")
	case value == "":
		warn(fmt.Sprintf("the Secret %s has no key %s, %s%s", name, mondoo.KeyMondooConfig, nothing, desired.Name), "put the credentials from Mondoo's console under that key")
	case mondoo.TextAt(config, "spec", "spaceId") != "" && !json.Valid([]byte(value)):
		warn(fmt.Sprintf("spec.spaceId is set, but the key %s of the Secret %s is not JSON, %s%s", mondoo.KeyMondooConfig, name, nothing, desired.Name),
			"use the credentials exactly as Mondoo's console provides them, or remove spaceId")
	}
}

// content returns the content that a Secret has or will have after this plan.
func (p *planner) content(name string) (value func(key string) string, exists bool) {
	if s := p.wanted[name]; s != nil && !s.Quarantined {
		return func(key string) string { return s.Data[key] }, true
	}
	live, exists := p.live.Secrets[name]
	return func(key string) string { return string(live.Data[key]) }, exists
}

// liveConfigs reports fields of audit configs from outside Git that stop the operator. A single unreadable duration
// stops it from processing any audit config.
func (p *planner) liveConfigs() {
	for _, name := range slices.Sorted(maps.Keys(p.live.AuditConfigs)) {
		if desired, _ := p.desiredConfig(name); desired.Object != nil {
			continue // its file was checked before
		}
		_, unreadable := mondoo.Inspect(p.live.AuditConfigs[name])
		for _, b := range unreadable {
			if b.Want == "" && b.Problem == "" {
				continue // a field of a newer operator
			}
			problem := policy.Unreadable(b)
			p.plan.Add(finding.Finding{Code: problem.Code, Severity: finding.Warning, Message: fmt.Sprintf("in the audit config %s of the management cluster, %s", name, problem.Message),
				Fix: problem.Fix})
		}
	}
}

// operatorReads identifies the versions of the Secrets that the operator itself reads for an audit config. complete
// reports whether all of them exist.
func (p *planner) operatorReads(config map[string]any, list []map[string]any) (versions string, complete bool) {
	names := map[string]bool{mondoo.TextAt(config, fieldCredentials...): true}
	for _, entry := range list {
		for _, field := range []string{"caCertSecretRef", "targetCACertSecretRef"} {
			names[mondoo.TextAt(entry, "vaultAuth", field, "name")] = true
		}
	}
	delete(names, "")
	var all []string
	complete = true
	for _, name := range slices.Sorted(maps.Keys(names)) {
		live, exists := p.live.Secrets[name]
		version := live.UID + " " + live.ResourceVersion
		if s := p.wanted[name]; s != nil { // for Muster's own Secrets, only the content counts
			version, exists = s.Hash, true
		}
		if !exists {
			version, complete = "missing", false
		}
		p.needs(name)
		all = append(all, name+" "+version)
	}
	return compile.Hash(all), complete
}

// wake reports whether to make the operator process an audit config again, because a Secret that it reads itself has
// changed. Any write to the audit config does that.
func (p *planner) wake(config map[string]any, list []map[string]any, before, after *inventory.Inventory) bool {
	known := ""
	if before != nil {
		known = before.Reads
	}
	if !p.live.EverySecret {
		after.Reads = known
		return false
	}
	versions, complete := p.operatorReads(config, list)
	after.Reads = versions
	// The operator processes a new audit config anyway, and can't succeed while a Secret is missing.
	return known != "" && known != versions && complete
}

// needs notes a Secret that the plan depends on. Those of the fleet start a sync by their label.
func (p *planner) needs(secret string) {
	if p.wanted[secret] == nil {
		p.outside[secret] = true
	}
}
