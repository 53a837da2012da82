// Package plan compares an opened fleet with the management cluster and decides what to change.
//
// Compute is a pure function of values: the fleet, the live objects and the inventories. Its result, a Plan, lists
// every change with its reason, and everything the applier needs. Plans are sorted, can be printed, and never print a
// value of a Secret.
//
// The stages, in order, each with what it hands on:
//
//  1. gather, facts: what was applied, by which AuditSync, and for which cluster each Secret was made
//  2. admit, admitted: the fleet without the audit configs, Secrets and clusters that may not be applied
//  3. decide, decided: which recorded objects are no longer in Git, and which of them stay
//  4. planConfig, configPlan: one audit config with its list of clusters (list, object)
//  5. planSecrets, secretsPlan: the Secrets to write, and those that nothing needs any longer
//  6. describe, Plan: who caused drift, what waits for approval, and the inventories to write
//
// When in doubt, a plan removes nothing. It keeps whatever belongs to a broken file, a stopped tree or a quarantined
// cluster, whatever an unreadable file may hold, and whatever is named by something that stays. It keeps a cluster
// whose new audit config can't hold it, and everything over the removal budget, foreign entries included. An audit
// config whose file is broken stops the plan.
package plan

import (
	"sync"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
)

// Codes of this package's findings.
const (
	CodeConfigMissing     finding.Code = "audit-config-missing" // the audit config does not exist in the cluster
	CodeConfigOwned       finding.Code = "audit-config-owned"   // another AuditSync drives the audit config
	CodeConfigForeign     finding.Code = "audit-config-foreign" // a live audit config was not made by Muster
	CodeSecretOwned       finding.Code = "secret-owned"         // another AuditSync made the Secret
	CodeSecretTypeChanged finding.Code = "secret-type-changed"  // the type of a Secret can't be changed
	CodeImmutable         finding.Code = "secret-immutable"     // an immutable Secret can't be changed
	CodeSecretEmptied     finding.Code = "secret-emptied"       // a Secret with values would lose all of them
	CodeSecretMissing     finding.Code = "secret-missing"       // an entry names a Secret that does not exist
	CodeCredentials       finding.Code = "mondoo-credentials"   // the Mondoo credentials are missing, or the operator can't use them
	CodeSecretForeign     finding.Code = "secret-foreign"       // a live Secret was not made by Muster
	CodeSecretInUse       finding.Code = "secret-in-use"        // an AuditSync itself uses the Secret
	CodeSecretOfOther     finding.Code = "secret-of-other"      // something names a Secret with the credentials of a cluster file
	CodeNotKept           finding.Code = "field-not-kept"       // the API server or the operator drops a field
	CodeForeign           finding.Code = "foreign-cluster"      // an entry comes from no file
	CodeTooLarge          finding.Code = "audit-config-size"    // the audit config would be over the limit
	CodeHeld              finding.Code = "removals-held"        // removals wait for approval
)

// AdoptAnnotation on a Secret or an audit config that Muster did not make lets the AuditSync in its value take the
// object over.
const AdoptAnnotation = "muster.dev/adopt"

// Compute plans a fleet. For a stopped fleet, the plan has no steps. Compute doesn't change its arguments, and the plan
// may share memory with them.
func Compute(desired *fleet.Opened, live Live, policy Policy) *Plan {
	if desired.Stopped {
		return newPlan(desired, policy)
	}
	f := gather(desired, live, policy)
	if lost := f.lostConfigs(); len(lost) > 0 {
		p := newPlan(desired, policy)
		for _, l := range lost {
			p.Stop(l)
		}
		return p
	}
	// Comparing the credentials is the longest part of planning a large fleet in sync. It depends on facts alone.
	f.unchanged = sync.OnceValue(f.unchangedSecrets)
	go f.unchanged()

	p := f.plan(nil)
	// Only a plan without approvals lists everything that can be approved.
	if approved := f.approvedOf(p); len(approved) > 0 {
		return f.plan(approved)
	}
	p.Mismatch = p.mismatch(policy.Approved)
	return p
}

// plan runs the stages after gather with these removals approved. It repeats them until no cluster moves into an audit
// config that turns out to be full: such clusters stay where they are.
func (f *facts) plan(approved map[inventory.Key]bool) *Plan {
	full := map[string]bool{}
	for {
		known := len(full)
		d := admit(f, approved).decide(approved, full)
		var configs []configPlan
		for _, name := range f.configNames() {
			c := d.planConfig(name)
			if c.full {
				full[name] = true
			}
			configs = append(configs, c)
		}
		secrets := d.planSecrets(configs)
		if len(full) == known {
			return d.describe(configs, secrets)
		}
	}
}

func newPlan(desired *fleet.Opened, policy Policy) *Plan {
	return &Plan{Report: desired.Report.Clone(), Namespace: desired.Namespace, Sync: desired.Sync, Revision: policy.Revision,
		Foreign: map[string][]string{}}
}

// notes are what a stage reports beside its result.
type notes struct {
	findings []finding.Finding
	steps    []Step
	notKept  []Step // see Plan.NotKept
}

func (n *notes) step(s Step) { n.steps = append(n.steps, s) }

func (n *notes) add(f finding.Finding) { n.findings = append(n.findings, f) }

// refuse reports an error at a place.
func (n *notes) refuse(at finding.Finding, code finding.Code, message, fix string) {
	n.tell(at, finding.Error, code, message, fix)
}

// warn reports a warning at a place.
func (n *notes) warn(at finding.Finding, code finding.Code, message, fix string) {
	n.tell(at, finding.Warning, code, message, fix)
}

func (n *notes) tell(at finding.Finding, severity finding.Severity, code finding.Code, message, fix string) {
	at.Code, at.Severity, at.Message, at.Fix = code, severity, message, fix
	n.add(at)
}

// join adds the notes of a part of the stage, or of a later stage.
func (n *notes) join(other notes) {
	n.findings = append(n.findings, other.findings...)
	n.steps = append(n.steps, other.steps...)
	n.notKept = append(n.notKept, other.notKept...)
}
