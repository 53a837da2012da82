package doctor

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/version"
)

// Versions of Kubernetes. The CRD's rules in CEL are stable since oldest. Tests run against tested.
const (
	oldestKubernetes = "1.29"
	testedKubernetes = "1.37"
)

func (c *checkup) kubernetes(context.Context) []Check {
	found, err := c.core.Discovery().ServerVersion()
	text := ""
	if err == nil {
		text = found.GitVersion
	}
	return kubernetesChecks(c.Config.Host, text, err)
}

// kubernetesChecks decides from the API server's version, or the error.
func kubernetesChecks(host, found string, err error) []Check {
	const answers, supported = "the API server answers", "its version is supported"
	switch {
	case apierrors.IsUnauthorized(err):
		return []Check{failed(categoryKubernetes, answers, host+" rejected the credentials of the kubeconfig", "log in again, or choose another --context: kubectl config get-contexts")}
	case err != nil && !apierrors.IsForbidden(err):
		return []Check{failed(categoryKubernetes, answers, fmt.Sprintf("%s: %v", host, err), "check the address and the network, or choose another --context: kubectl cluster-info")}
	case err != nil:
		return []Check{passed(categoryKubernetes, answers, host), skipped(categoryKubernetes, supported, "you may not get /version")}
	}
	checks := []Check{passed(categoryKubernetes, answers, host)}
	live, err := version.ParseGeneric(found)
	switch {
	case err != nil:
		return append(checks, warning(categoryKubernetes, supported, fmt.Sprintf("%q is not a version", found), "nothing; Muster is tested with Kubernetes "+testedKubernetes))
	case live.LessThan(version.MustParseGeneric(oldestKubernetes)):
		return append(checks, failed(categoryKubernetes, supported, fmt.Sprintf("it is %s, and Muster needs %s", found, oldestKubernetes), "upgrade the management cluster"))
	case version.MustParseGeneric(testedKubernetes).LessThan(version.MustParseGeneric(fmt.Sprintf("%d.%d", live.Major(), live.Minor()))):
		return append(checks, warning(categoryKubernetes, supported, fmt.Sprintf("it is %s, and Muster was tested with %s", found, testedKubernetes), "look for a newer Muster"))
	}
	return append(checks, passed(categoryKubernetes, supported, found))
}
