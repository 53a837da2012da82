package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
)

// forgeFacts are what a forge has answered. An error belongs to the question before it.
type forgeFacts struct {
	self    forge.User
	selfErr error
	// statuses is nil if statuses of the commit can be read. It was not asked without a commit.
	statuses      error
	statusesAsked bool
	// pulls is nil if pull requests can be read. It is asked only with spec.forge.pullRequests.
	pulls    error
	write    bool
	writeErr error
	rate     forge.Rate
}

// forge checks the credentials for the forge of an AuditSync.
func (c *checkup) forge(ctx context.Context, audit *v1alpha1.AuditSync, from *source) []Check {
	if audit.Spec.Forge == nil {
		return nil
	}
	name := audit.Name + ": the forge's Secret is valid"
	secret := audit.Spec.Forge.SecretRef.Name
	data, err := c.secret(ctx, secret)
	if err != nil {
		return []Check{c.secretCheck(categoryForge, name, secret, err)}
	}
	c.Redactor.Add(forge.SecretValues(data)...)
	at := report.Place(audit)
	client, err := connect.To(connect.Config{Provider: forge.Provider(at.Provider), URL: at.URL, APIURL: at.APIURL, Secret: data, Options: forge.Options{Now: c.Now}})
	if invalid, ok := errors.AsType[*gitsync.SecretError](err); ok {
		return []Check{secretInvalid(categoryForge, name, c.Namespace, secret, invalid)}
	}
	if err != nil {
		return []Check{failed(categoryForge, name, err.Error(), "correct spec.forge: "+edit(audit))}
	}
	return append([]Check{passed(categoryForge, name, "Secret "+secret)}, forgeChecks(audit, askForge(ctx, client, audit, from))...)
}

// askForge asks what can be asked without writing anything.
func askForge(ctx context.Context, client connect.Client, audit *v1alpha1.AuditSync, from *source) forgeFacts {
	var f forgeFacts
	if f.self, f.selfErr = client.Self(ctx); f.selfErr == nil {
		f.write, f.writeErr = client.CanWrite(ctx, f.self)
	}
	if from.snapshot != nil {
		commit := forge.Commit{Hash: from.snapshot.Commit().Hash}
		_, f.statuses = client.Statuses(ctx, commit, report.Contexts(audit))
		f.statusesAsked = true
	}
	if ref := audit.Spec.Source.Ref; audit.Spec.Forge.PullRequests && ref != nil && ref.Branch != "" {
		_, f.pulls = client.PullRequests(ctx, ref.Branch, nil)
	}
	f.rate = client.Rate()
	return f
}

// forgeChecks decides from what the forge has answered. An installation of a GitHub App can be asked neither who it is nor
// whether it may write, in all cases.
func forgeChecks(audit *v1alpha1.AuditSync, f forgeFacts) []Check {
	accepted, read, write, pulls := audit.Name+": the forge accepts the credentials", audit.Name+": commit statuses can be read", audit.Name+": commit statuses can be set", audit.Name+": pull requests can be read"
	if outage, ok := errors.AsType[*forge.UnavailableError](f.selfErr); ok {
		return []Check{failed(categoryForge, accepted, outage.Error(), "check spec.forge.apiURL, and whether the forge is reachable from here: "+edit(audit))}
	}
	var checks []Check
	switch refused, isRefused := errors.AsType[*forge.RefusedError](f.selfErr); {
	case f.selfErr == nil:
		checks = append(checks, passed(categoryForge, accepted, f.self.Login))
	case isRefused && refused.Status != 401 && f.statusesAsked && f.statuses == nil:
		checks = append(checks, passed(categoryForge, accepted, "they may not read their own account"))
	default:
		return []Check{failed(categoryForge, accepted, f.selfErr.Error(), "renew the token: "+renew(audit))}
	}
	switch {
	case !f.statusesAsked:
		checks = append(checks, skipped(categoryForge, read, "the commit is unknown, because the repository could not be read"))
	case f.statuses != nil:
		checks = append(checks, failed(categoryForge, read, f.statuses.Error(), "grant the right, and renew the token: "+renew(audit)))
	default:
		checks = append(checks, passed(categoryForge, read, ""))
	}
	switch {
	case f.selfErr != nil || f.writeErr != nil:
		checks = append(checks, skipped(categoryForge, write, "the forge doesn't tell what these credentials may write"))
	case !f.write:
		checks = append(checks, failed(categoryForge, write, f.self.Login+" may not write to the repository: no commit status is set, and pull requests get no answer", "give it the right to write, on GitLab the role Developer, or use other credentials: "+renew(audit)))
	default:
		checks = append(checks, passed(categoryForge, write, f.self.Login+" may write to the repository"))
	}
	if audit.Spec.Forge.PullRequests && f.pulls != nil {
		checks = append(checks, failed(categoryForge, pulls, f.pulls.Error()+": no pull request is answered", "grant the right, and renew the token: "+renew(audit)))
	} else if audit.Spec.Forge.PullRequests {
		checks = append(checks, passed(categoryForge, pulls, ""))
	}
	if f.rate.Limit > 0 && f.rate.Remaining < f.rate.Limit/10 {
		checks = append(checks, warning(categoryForge, audit.Name+": the rate limit leaves room", fmt.Sprintf("%d of %d requests are left until %s", f.rate.Remaining, f.rate.Limit, f.rate.Reset.UTC().Format("15:04 MST")),
			"give Muster a separate account, or a GitHub App"))
	}
	return checks
}

func renew(audit *v1alpha1.AuditSync) string {
	return fmt.Sprintf("kubectl -n %s edit secret %s", audit.Namespace, audit.Spec.Forge.SecretRef.Name)
}
