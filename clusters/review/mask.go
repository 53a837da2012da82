package review

import (
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/redact"
)

// mask masks secrets in everything that comes from the repository, the management cluster or the forge. It comes last:
// masked values can't be compared.
func (r *Review) mask(mask func(string) string) {
	all := func(texts ...*string) {
		for _, text := range texts {
			*text = mask(*text)
		}
	}
	all(&r.Sync, &r.Namespace, &r.Path, &r.AllowedBy)
	for i := range r.Conflicts {
		all(&r.Conflicts[i].Path, &r.Conflicts[i].Reason)
	}
	for i := range r.Rules {
		all(&r.Rules[i].Path, &r.Rules[i].What)
	}
	for _, findings := range [][]finding.Finding{r.New, r.Mended, r.Standing} {
		for i := range findings {
			f := &findings[i]
			all(&f.Cluster, &f.Path, &f.Message, &f.Fix, &f.Accepted)
		}
	}
	for i := range r.LeftOut {
		all(&r.LeftOut[i])
	}
	for _, changes := range [][]Change{r.Changes, r.Held} {
		for i := range changes {
			changes[i].mask(mask, all)
		}
	}
	for i := range r.Space {
		all(&r.Space[i].AuditConfig)
	}
}

func (c *Change) mask(mask func(string) string, all func(...*string)) {
	all(&c.Name, &c.AuditConfig, &c.From, &c.Path, &c.Reason, &c.NamedBy)
	fields := make([]plan.Field, len(c.Fields)) // the plan has the same ones
	for i, f := range c.Fields {
		from, to := maskPair(mask, f.From, f.To)
		fields[i] = plan.Field{Path: mask(f.Path), From: from, To: to}
	}
	if c.Fields = fields; len(fields) == 0 {
		c.Fields = nil
	}
	for i := range c.Credentials {
		credential := &c.Credentials[i]
		all(&credential.Content, &credential.Secret)
		for k := range credential.Keys {
			all(&credential.Keys[k])
		}
	}
	if c.Schedule != nil {
		all(&c.Schedule.Written)
		c.Schedule.Before, c.Schedule.Resolved = maskPair(mask, c.Schedule.Before, c.Schedule.Resolved)
	}
	if c.CronJob != nil {
		all(&c.CronJob.Name, &c.CronJob.Was)
	}
}

// maskPair masks two values of one field. If one is secret, so is the other, which the mask may not know.
func maskPair(mask func(string) string, from, to string) (maskedFrom, maskedTo string) {
	maskedFrom, maskedTo = mask(from), mask(to)
	if maskedFrom == from && maskedTo == to {
		return from, to
	}
	if from != "" {
		maskedFrom = redact.Mask
	}
	if to != "" {
		maskedTo = redact.Mask
	}
	return maskedFrom, maskedTo
}
