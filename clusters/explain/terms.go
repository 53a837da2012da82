package explain

import (
	"slices"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Terms returns how long the credentials in a Secret work, from the content of its known keys, those that end first at the front.
// Credentials without a known end are left out.
func Terms[T string | []byte](data map[string]T, now time.Time) []credential.Term {
	var terms []credential.Term
	for key, check := range map[string]func([]byte, time.Time) (credential.Facts, []credential.Problem){
		mondoo.KeyKubeconfig: credential.Kubeconfig, mondoo.KeyToken: credential.Token, mondoo.KeyCACert: credential.CACert,
		mondoo.KeyDockerConfigJSON: credential.DockerConfigJSON,
	} {
		if value, has := data[key]; has {
			facts, _ := check([]byte(value), now)
			terms = append(terms, facts.Terms...)
		}
	}
	slices.SortFunc(terms, credential.Term.Compare)
	return terms
}
