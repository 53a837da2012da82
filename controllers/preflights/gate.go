package preflights

import (
	"maps"
	"slices"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/preflight"
)

// scanPatience is how long a credential that works waits for the end of a scan that runs with the one that it replaces.
const scanPatience = 30 * time.Minute

// Live reads what is applied at the moment.
type Live struct {
	// Entry returns the entry of a cluster, and reports whether there is one.
	Entry func(auditConfig, cluster string) (mondoo.Entry, bool)
	// Secret returns the data of a Secret; nil if there is none.
	Secret func(name string) map[string][]byte
	// Scanning reports whether a scan of a cluster runs.
	Scanning func(auditConfig, cluster string) bool
}

// gated is the last fleet that passed the gate.
type gated struct {
	in, out  *fleet.Opened
	held     map[[2]string]finding.Finding
	warnings []finding.Finding
	// unsaved is true if a cluster was found that isn't recorded.
	unsaved bool
}

// Gate returns what may be planned of a rendered fleet, and requests the checks for the rest. With spec.preflight.mode Required, a
// cluster whose credential or server has changed is held until the new one has passed, and until no scan runs with the applied one.
// Clusters that are applied as they are in Git pass, whatever their checks show: that becomes a warning. It does no I/O, and returns
// the same fleet for the same input and results.
func (c *Checker) Gate(sync Sync, live Live) *fleet.Opened {
	if c == nil || !sync.Spec.Preflight.On() || sync.Fleet == nil {
		return sync.Fleet
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := c.update(sync)
	if err != nil {
		return holdInvalid(sync, live, err)
	}
	held := map[[2]string]finding.Finding{}
	if f.required {
		held = f.hold(live, c.Clock.Now())
	}
	if f.waiting() {
		c.queue.AddAfter(item{NamespacedName: sync.key()}, scanPatience)
	}
	return f.amend(held, f.warn(held))
}

// amend returns the fleet with clusters held and warnings added: the last one, if nothing else is held or said.
func (f *fleetState) amend(held map[[2]string]finding.Finding, warnings []finding.Finding) *fleet.Opened {
	if f.in == f.Fleet && maps.Equal(f.held, held) && slices.Equal(f.warnings, warnings) {
		return f.out
	}
	f.in, f.out, f.held, f.warnings = f.Fleet, f.Fleet, held, warnings
	if len(held)+len(warnings) == 0 {
		return f.out
	}
	f.out = f.Fleet.Clone()
	for _, w := range warnings {
		f.out.Add(w)
	}
	f.out.Accept()
	f.out.Hold(held)
	holdManifests(f.out, held, appliedSecrets(f.Inventories))
	return f.out
}

// holdManifests keeps Secrets of the repository as they are applied, if the check of a held cluster depends on them. Hold does that for
// those that are made for a cluster.
func holdManifests(f *fleet.Opened, held map[[2]string]finding.Finding, applied map[string]string) {
	names := map[string]bool{}
	for i := range f.Clusters {
		if _, waits := held[[2]string{f.Clusters[i].AuditConfig, f.Clusters[i].Name}]; waits {
			for _, name := range preflight.Secrets(f.Clusters[i].Entry) {
				names[name] = true
			}
		}
	}
	for i := range f.Secrets {
		if s := &f.Secrets[i]; s.Cluster == "" && names[s.Name] && applied[s.Name] != "" {
			s.Quarantined = true
		}
	}
}

// hold returns the clusters that must stay as they are applied, and why.
func (f *fleetState) hold(live Live, now time.Time) map[[2]string]finding.Finding {
	held, changed := map[[2]string]finding.Finding{}, f.changes(live)
	for key, check := range f.checks {
		c := &f.Fleet.Clusters[f.index[key]]
		replaces, differs := changed(c)
		if !differs {
			check.waits = time.Time{}
			continue
		}
		if why := f.why(key, check, live, now); why != nil {
			why.Message += stays(replaces)
			held[[2]string{key.auditConfig, key.name}] = *why
		}
	}
	return held
}

// why returns why a changed cluster is held, or nil.
func (f *fleetState) why(key cluster, check *check, live Live, now time.Time) *finding.Finding {
	switch {
	case check.at.IsZero():
		return &finding.Finding{Code: preflight.CodePending, Message: "the credential is being checked", Fix: "wait for the result, which takes 30 seconds at most once it has begun"}
	case check.blocks != nil:
		return f.finding(*check.blocks, finding.Error, "the credential failed the preflight")
	case !live.Scanning(key.auditConfig, key.name):
		check.waits = time.Time{}
		return nil
	case check.waits.IsZero():
		check.waits = now
	case now.Sub(check.waits) >= scanPatience:
		return nil
	}
	return &finding.Finding{Code: preflight.CodePending, Message: "the credential passed the preflight, and waits for the end of the scan that runs",
		Fix: "wait for the end of the scan; after " + scanPatience.String() + " the credential is applied in any case"}
}

func (f *fleetState) finding(c preflight.Check, severity finding.Severity, what string) *finding.Finding {
	found := c.Finding(severity, what)
	found.Message, found.Fix = f.Redactor.String(found.Message), f.Redactor.String(found.Fix)
	return &found
}

// stays describes the state of a cluster that is held.
func stays(replaces bool) string {
	if replaces {
		return "; what is applied stays"
	}
	return "; the cluster is not added"
}

// unapplied reports whether a cluster is not applied as it is to be. Of a value that comes from elsewhere, only the gate knows: the hash
// of its cluster stays.
func (f *fleetState) unapplied(key cluster) bool {
	_, held := f.held[[2]string{key.auditConfig, key.name}]
	return held || f.checks[key].candidate
}

// waiting reports whether a cluster waits for a scan.
func (f *fleetState) waiting() bool {
	for _, check := range f.checks {
		if !check.waits.IsZero() {
			return true
		}
	}
	return false
}

// warn returns the warnings about clusters that fail and aren't held, sorted.
func (f *fleetState) warn(held map[[2]string]finding.Finding) []finding.Finding {
	var list []finding.Finding
	for key, check := range f.checks {
		if _, told := held[[2]string{key.auditConfig, key.name}]; told || check.failure == nil {
			continue
		}
		w := f.finding(check.failure.Check, finding.Warning, "the preflight failed")
		w.Cluster, w.Path = f.Redactor.String(key.name), f.Fleet.Clusters[f.index[key]].Origin.Path
		list = append(list, *w)
	}
	return finding.Sorted(list)
}

// changes returns a function that reports whether the credential or the server of a cluster differs from what is applied, and
// whether anything is. Git is compared first: what someone else has changed in the management cluster is put back without a check. A
// renewed token was checked before it got here: see package renewals. To hold each would have a fleet wait all the time.
func (f *fleetState) changes(live Live) func(*fleet.Cluster) (replaces, differs bool) {
	secrets := make(map[string]*fleet.Secret, len(f.Fleet.Secrets))
	for i := range f.Fleet.Secrets {
		secrets[f.Fleet.Secrets[i].Name] = &f.Fleet.Secrets[i]
	}
	applied, manifests := appliedHashes(f.Inventories), appliedSecrets(f.Inventories)
	return func(c *fleet.Cluster) (replaces, differs bool) {
		hash, replaces := applied[cluster{c.AuditConfig, c.Name}]
		replaces = replaces && hash != ""
		own := func(of func(*fleet.Secret) bool) bool {
			return slices.ContainsFunc(preflight.Secrets(c.Entry), func(name string) bool { return secrets[name] != nil && of(secrets[name]) })
		}
		if replaces && hash == c.Hash && !own(func(s *fleet.Secret) bool {
			return s.Supplied && s.Renew == 0 || s.Cluster == "" && manifests[s.Name] != s.Hash
		}) {
			return true, false
		}
		entry, exists := live.Entry(c.AuditConfig, c.Name)
		return replaces, !exists || !mondoo.Equal(login(entry), login(c.Entry)) || own(func(s *fleet.Secret) bool { return !holds(live.Secret(s.Name), s.Data) })
	}
}

// appliedSecrets are the hashes of the applied Secrets that belong to no cluster.
func appliedSecrets(inventories []*inventory.Inventory) map[string]string {
	hashes := map[string]string{}
	for _, applied := range inventories {
		for i := range applied.Secrets {
			hashes[applied.Secrets[i].Name] = applied.Secrets[i].Hash
		}
	}
	return hashes
}

// holds reports whether a live Secret has the values of a desired one.
func holds(live map[string][]byte, want map[string]string) bool {
	for key, value := range want {
		if have, exists := live[key]; !exists || string(have) != value {
			return false
		}
	}
	return true
}

// holdInvalid holds every changed cluster, because spec.preflight can't be used.
func holdInvalid(sync Sync, live Live, err error) *fleet.Opened {
	if !sync.Spec.Preflight.Required() {
		return sync.Fleet
	}
	f := fleetState{Sync: sync}
	held, changed := map[[2]string]finding.Finding{}, f.changes(live)
	for i := range sync.Fleet.Clusters {
		c := &sync.Fleet.Clusters[i]
		if replaces, differs := changed(c); differs && !c.Quarantined {
			held[[2]string{c.AuditConfig, c.Name}] = finding.Finding{Code: preflight.CodeFailed,
				Message: "the credential can't be checked: " + err.Error() + stays(replaces), Fix: "correct spec.preflight of the AuditSync"}
		}
	}
	if len(held) == 0 {
		return sync.Fleet
	}
	out := sync.Fleet.Clone()
	out.Hold(held)
	holdManifests(out, held, appliedSecrets(sync.Inventories))
	return out
}
