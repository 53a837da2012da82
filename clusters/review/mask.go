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
		fields[i] = plan.Field{Path: mask(f.Path), From: mask(f.From), To: mask(f.To)}
		// If one value is secret, so is the other, which the mask may not know.
		if f.From != "" && fields[i].To != f.To {
			fields[i].From = redact.Mask
		}
		if f.To != "" && fields[i].From != f.From {
			fields[i].To = redact.Mask
		}
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
		all(&c.Schedule.Written, &c.Schedule.Resolved, &c.Schedule.Before)
	}
	if c.CronJob != nil {
		all(&c.CronJob.Name, &c.CronJob.Was)
	}
}
