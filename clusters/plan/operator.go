package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/policy"
)

// The operator itself reads a few Secrets when it works an audit config: its credentials at Mondoo and Vault's certificate authorities.
// It doesn't watch them. After one was missing, it may look again as late as 16 minutes afterwards, unless the audit config changes.

// fieldCredentials names the Secret with the credentials at Mondoo.
var fieldCredentials = []string{"spec", "mondooCredsSecretRef", "name"}

// credentials reports Mondoo credentials with which the operator makes nothing, about which it says nothing.
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
	const nothing = "so the operator makes no scan for the audit config "
	content, there := p.content(name)
	switch value := content(mondoo.KeyMondooConfig); {
	case !there && mondoo.TextAt(config, "spec", "mondooTokenSecretRef", "name") != "": // the operator makes it from the token
	case !there:
		warn(fmt.Sprintf("there is no Secret %s in the namespace %s with Mondoo's credentials, %s%s", name, p.fleet.Namespace, nothing, desired.Name),
			"make it, with the credentials from Mondoo's console under the key config")
	case value == "":
		warn(fmt.Sprintf("the Secret %s has no key %s, %s%s", name, mondoo.KeyMondooConfig, nothing, desired.Name), "put the credentials from Mondoo's console there")
	case mondoo.TextAt(config, "spec", "spaceId") != "" && !json.Valid([]byte(value)):
		warn(fmt.Sprintf("spec.spaceId is set, and what the Secret %s has under %s is not JSON, %s%s", name, mondoo.KeyMondooConfig, nothing, desired.Name),
			"put the credentials there as Mondoo's console gives them, or leave spaceId out")
	}
}

// content is what a Secret has, or is to have.
func (p *planner) content(name string) (value func(key string) string, there bool) {
	if s := p.wanted[name]; s != nil && !s.Quarantined {
		return func(key string) string { return s.Data[key] }, true
	}
	live, there := p.live.Secrets[name]
	return func(key string) string { return string(live.Data[key]) }, there
}

// liveConfigs reports fields of audit configs from elsewhere with which the operator doesn't work. One duration that it can't read has it
// serve no audit config at all.
func (p *planner) liveConfigs() {
	for _, name := range slices.Sorted(maps.Keys(p.live.AuditConfigs)) {
		if desired, _ := p.desiredConfig(name); desired.Object != nil {
			continue // its file was looked at
		}
		_, bad := mondoo.Inspect(p.live.AuditConfigs[name])
		for _, b := range bad {
			if b.Want == "" && b.Problem == "" {
				continue // a newer operator's
			}
			problem := policy.Unreadable(b)
			p.plan.Add(finding.Finding{Code: problem.Code, Severity: finding.Warning, Message: fmt.Sprintf("in the audit config %s of the management cluster, %s", name, problem.Message),
				Fix: problem.Fix})
		}
	}
}

// operatorReads says of which versions the Secrets are that the operator itself reads for an audit config, and whether all are there.
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
		live, there := p.live.Secrets[name]
		version := live.UID + " " + live.ResourceVersion
		if s := p.wanted[name]; s != nil { // of what Muster writes, the content alone counts
			version, there = s.Hash, true
		}
		if !there {
			version, complete = "missing", false
		}
		p.outside[name] = p.wanted[name] == nil
		all = append(all, name+" "+version)
	}
	return compile.Hash(all), complete
}

// wake says whether to have the operator look at an audit config again, since a Secret that it reads itself is another than before.
func (p *planner) wake(name string, config map[string]any, list []map[string]any, before, after *Inventory) bool {
	if !p.live.EverySecret {
		after.Reads = before.reads()
		return false
	}
	versions, complete := p.operatorReads(config, list)
	after.Reads = versions
	if before.reads() == "" || before.reads() == versions || !complete {
		return false // it looks anyway when the audit config is new, and has nothing to find as long as one is missing
	}
	p.step(Step{Action: Change, Kind: KindAuditConfig, Name: name, Origin: after.Origin, Reason: "the operator reads a Secret that has changed, and is to look again"})
	return true
}
