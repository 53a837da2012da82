package renew

import (
	"slices"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Check checks the data of a Secret whose token is renewed. The end of the token is no problem, and isn't among the facts: a renewed
// one takes its place, and only the controller knows whether there is one.
func Check(data map[string]string, now time.Time) (credential.Facts, []credential.Problem) {
	key, check := mondoo.KeyToken, credential.Token
	if _, isKubeconfig := data[mondoo.KeyKubeconfig]; isKubeconfig {
		key, check = mondoo.KeyKubeconfig, credential.Kubeconfig
	}
	facts, problems := check([]byte(data[key]), now)
	problems = slices.DeleteFunc(problems, func(p credential.Problem) bool {
		return p.Code == credential.CodeTokenExpired || p.Code == credential.CodeTokenExpiring
	})
	seed, problem := SeedOf(data)
	if problem != nil {
		if !hasError(problems) {
			problems = append(problems, *problem)
		}
		return facts, problems
	}
	// The rest of the credential, such as the CA in a kubeconfig, still ends.
	rest, _ := check([]byte(Replace(data, "renewed")[key]), now)
	facts.Expires, facts.Terms = rest.Expires, rest.Terms
	if !seed.Expires.IsZero() && !now.Before(seed.Expires) {
		problems = append(problems, credential.Problem{Code: CodeSeedEnded, Severity: finding.Info,
			Message: "the token in the file ended on " + seed.Expires.UTC().Format(time.DateOnly) + ", which is normal once it was renewed", Fix: "nothing to do, unless the cluster has the finding " + string(CodeEnded)})
	}
	return facts, problems
}
