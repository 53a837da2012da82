package scanstate

import (
	"slices"
	"strings"
	"time"
)

// Infixes in the names of the ConfigMaps and Secrets that the operator creates for an entry, and that scans mount. They are called
// A-…-C for cluster C of audit config A.
const (
	inventory                = "-k8s-inventory-"
	serviceAccountKubeconfig = "-sa-kubeconfig-"
	vaultKubeconfig          = "-vault-kubeconfig-"
)

// IsIngredient reports whether a ConfigMap or Secret with this name may be one that the operator creates for an entry.
func IsIngredient(name string) bool {
	return slices.ContainsFunc([]string{inventory, serviceAccountKubeconfig, vaultKubeconfig}, func(part string) bool { return strings.Contains(name, part) })
}

// takenOver returns the values of Status.Taken, Stuck and NotTaken for an entry: when the operator picked up its change or, if it
// has not, what stops it once it has had enough time.
func (d *deriver) takenOver(i int, s *Status) (at time.Time, stuck string, not bool) {
	at, taken := d.taken(i)
	if taken {
		return at, "", false
	}
	if settled := d.Entries[i].Changed.Add(d.Bounds.Settle); d.Now.After(settled) {
		stuck = d.stuckText(i)
	} else {
		d.mayChangeAt(s, settled)
	}
	return time.Time{}, stuck, true
}

// taken returns since when scans use the current entry, if the live objects show that they do. If only a Secret changed, the next Pod
// uses it. Any other change shows in the CronJob, or in the operator's ConfigMaps and Secrets, depending on the change.
func (d *deriver) taken(i int) (at time.Time, taken bool) {
	e := d.Entries[i]
	if e.Changed.IsZero() {
		return e.Applied, true
	}
	if at = e.Taken; at.IsZero() {
		at = d.written(e.Name)
	}
	if at.Before(e.Changed.Truncate(time.Second)) {
		return time.Time{}, false
	}
	if e.Applied.After(at) {
		return e.Applied, true
	}
	return at, true
}

// written returns when the operator last changed one of its objects for an entry.
func (d *deriver) written(cluster string) (last time.Time) {
	if cron, found := d.crons[cluster]; found {
		last = cron.Changed
	}
	for _, part := range []string{inventory, serviceAccountKubeconfig, vaultKubeconfig} {
		if at := d.Written[d.AuditConfig+part+cluster]; at.After(last) {
			last = at
		}
	}
	return last
}

// stuckText returns the message for an entry whose change the operator has not picked up. It names the entry that most likely stops the
// operator. The operator works in order, so only entries up to this one can. It rewrites the Vault kubeconfigs at each reconcile, so it
// stops at the first entry whose kubeconfig is older than the change.
func (d *deriver) stuckText(i int) string {
	text := "the operator has not picked up the change yet" // a forge cuts the text at 140 characters
	if c := d.culprit(); c.entry != "" && slices.IndexFunc(d.Entries, func(e Entry) bool { return e.Name == c.entry }) <= i {
		return text + ": " + c.detail
	}
	for _, e := range d.Entries[:i+1] {
		switch {
		case e.Invalid != "":
			return text + "; it most likely stops at entry " + e.Name + ", which it can't use: " + clean(d.Redact(e.Invalid))
		case e.Vault && d.Written[d.AuditConfig+vaultKubeconfig+e.Name].Before(d.Entries[i].Changed.Truncate(time.Second)):
			return text + "; it most likely stops at entry " + e.Name + ", where it has to log in to Vault; check its log for a failed login"
		}
	}
	return text + "; check its log"
}
