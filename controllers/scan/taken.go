package scan

import (
	"slices"
	"strings"
	"time"
)

// What the operator makes for an entry beside its CronJob, of which scans mount the content: A-…-C for the cluster C of the audit
// config A.
const (
	inventory                = "-k8s-inventory-"
	serviceAccountKubeconfig = "-sa-kubeconfig-"
	vaultKubeconfig          = "-vault-kubeconfig-"
)

// IsIngredient reports whether a ConfigMap or Secret of this name may be one that the operator makes for an entry.
func IsIngredient(name string) bool {
	return slices.ContainsFunc([]string{inventory, serviceAccountKubeconfig, vaultKubeconfig}, func(part string) bool { return strings.Contains(name, part) })
}

// takenOver is what a status says of the present form of an entry: since when it is taken over, and else whether it should be.
func (d *deriver) takenOver(i int, s *Status) (at time.Time, stuck string, not bool) {
	at, taken := d.taken(i)
	if taken {
		return at, "", false
	}
	if settled := d.Entries[i].Changed.Add(d.Bounds.Settle); d.Now.After(settled) {
		stuck = d.stuckAt(i)
	} else {
		d.at(s, settled)
	}
	return time.Time{}, stuck, true
}

// taken is when the present form of an entry was in what its scans run with, where anything shows that it is. A change of a
// Secret alone is in the next Pod. Any other shows in the CronJob, or in what the operator makes beside it: which of them depends
// on the change.
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

// written is when the operator last wrote something other than before for an entry.
func (d *deriver) written(cluster string) (last time.Time) {
	if cron, made := d.crons[cluster]; made {
		last = cron.Changed
	}
	for _, part := range []string{inventory, serviceAccountKubeconfig, vaultKubeconfig} {
		if at := d.Written[d.AuditConfig+part+cluster]; at.After(last) {
			last = at
		}
	}
	return last
}

// stuckAt says that the operator has not taken over the change of an entry, and which entry most likely stops it: of those up to
// this one, since it works in order. It makes Vault's kubeconfig anew at each reconcile, so the first that is older than the change
// is where it stops.
func (d *deriver) stuckAt(i int) string {
	text := "the operator has not taken the change over yet" // a forge cuts it at 140 characters
	if c := d.culprit(); c.entry != "" && slices.IndexFunc(d.Entries, func(e Entry) bool { return e.Name == c.entry }) <= i {
		return text + ": " + c.detail
	}
	for _, e := range d.Entries[:i+1] {
		switch {
		case e.Invalid != "":
			return text + "; it most likely stops at the entry " + e.Name + ", which it can't use: " + clean(d.Redact(e.Invalid))
		case e.Vault && d.Written[d.AuditConfig+vaultKubeconfig+e.Name].Before(d.Entries[i].Changed.Truncate(time.Second)):
			return text + "; it most likely stops at the entry " + e.Name + ", for which it has to log in to Vault; its log says whether that fails"
		}
	}
	return text + "; its log says why"
}
