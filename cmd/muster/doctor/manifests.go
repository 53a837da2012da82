package doctor

import (
	_ "embed" // for the manifests
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// The manifests are copies of those that config/default installs, because a package can't embed files outside of it.
//go:generate cp ../../../config/crd/muster.dev_auditsyncs.yaml ../../../config/rbac/role.yaml ../../../config/rbac/leader-election.yaml manifests/

var (
	//go:embed manifests/muster.dev_auditsyncs.yaml
	auditSyncCRD []byte
	//go:embed manifests/role.yaml
	roleManifest string
	//go:embed manifests/leader-election.yaml
	leaderManifest string
)

// rulesOf are the rules of the Role in a manifest, which is its first document.
func rulesOf(manifest string) []rbacv1.PolicyRule {
	document, _, _ := strings.Cut(manifest, "\n---\n")
	var role rbacv1.Role
	if err := yaml.UnmarshalStrict([]byte(document), &role); err != nil {
		panic(err) // a test reads it
	}
	return role.Rules
}
