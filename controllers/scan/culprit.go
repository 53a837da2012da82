package scan

import "slices"

// culprit is what probably keeps the operator from making CronJobs.
type culprit struct {
	entry  string
	reason Reason
	detail string
}

// culprit looks for the entry at which the operator stops. It works in order and ends at the first entry that it can't use:
// whatever comes after has no CronJob, or keeps an old one. An entry that is certain to be refused is named before one that
// may be: a Vault login can fail at an entry whose CronJob is there from better days.
func (d *deriver) culprit() culprit {
	first := slices.IndexFunc(d.Entries, func(e Entry) bool { _, made := d.crons[e.Name]; return !made })
	if first < 0 {
		return culprit{}
	}
	upTo := d.Entries[:first+1]
	for _, e := range upTo {
		switch {
		case e.Invalid != "":
			return culprit{e.Name, ReasonInvalidEntry, "the operator most likely stops at the entry " + e.Name + ", which it can't use: " + clean(d.Redact(e.Invalid))}
		case e.NoSchedule:
			return culprit{e.Name, ReasonNoSchedule, "the operator most likely stops at the entry " + e.Name +
				", for neither it nor the audit config has a schedule, and the API server refuses a CronJob without one"}
		}
	}
	for _, e := range slices.Backward(upTo) {
		if e.Vault {
			return culprit{e.Name, ReasonVaultLogin, "the operator probably stops at the entry " + e.Name +
				", for which it has to log in to Vault; its log says whether that fails"}
		}
	}
	name := d.Entries[first].Name
	if len(d.crons) == 0 {
		return culprit{name, ReasonOperator, "the operator has made no CronJob for any cluster of this audit config; is it running, and what does its log say?"}
	}
	return culprit{name, ReasonUnknown, "the operator has made no CronJob from the entry " + name + " on; its log says why"}
}
