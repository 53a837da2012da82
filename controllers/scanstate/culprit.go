package scanstate

import "slices"

// culprit is what probably keeps the operator from creating CronJobs.
type culprit struct {
	entry  string
	reason Reason
	detail string
}

// culprit finds the entry at which the operator stops. The operator works in order and stops at the first entry that it can't use.
// Later entries get no CronJob, or keep an old one. An entry that the operator certainly rejects is named before one that it may
// reject: a Vault login can fail at an entry that still has its CronJob from before.
func (d *deriver) culprit() culprit {
	first := slices.IndexFunc(d.Entries, func(e Entry) bool { _, found := d.crons[e.Name]; return !found })
	if first < 0 {
		return culprit{}
	}
	upTo := d.Entries[:first+1]
	for _, e := range upTo {
		switch {
		case e.Invalid != "":
			return culprit{e.Name, ReasonInvalidEntry, "the operator most likely stops at entry " + e.Name + ", which it can't use: " + clean(d.Redact(e.Invalid))}
		case e.NoSchedule:
			return culprit{e.Name, ReasonNoSchedule, "the operator most likely stops at entry " + e.Name +
				": neither it nor the audit config has a schedule, and the API server rejects a CronJob without one"}
		}
	}
	for _, e := range slices.Backward(upTo) {
		if e.Vault {
			return culprit{e.Name, ReasonVaultLogin, "the operator probably stops at entry " + e.Name +
				", where it has to log in to Vault; check its log for a failed login"}
		}
	}
	name := d.Entries[first].Name
	if len(d.crons) == 0 {
		return culprit{name, ReasonOperator, "the operator has created no CronJob for any cluster of this audit config; check that it is running, and its log"}
	}
	return culprit{name, ReasonUnknown, "the operator has created no CronJobs from entry " + name + " on; check its log"}
}
