package explain

import (
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Expiry returns when the first of a Secret's credentials expires, from the content of its known keys. It is zero if
// nothing expires, or the expiry is unknown.
func Expiry[T string | []byte](data map[string]T, now time.Time) time.Time {
	var earliest time.Time
	for key, check := range map[string]func([]byte, time.Time) (credential.Facts, []credential.Problem){
		mondoo.KeyKubeconfig: credential.Kubeconfig, mondoo.KeyToken: credential.Token, mondoo.KeyCACert: credential.CACert,
	} {
		value, has := data[key]
		if !has {
			continue
		}
		facts, _ := check([]byte(value), now)
		if end := facts.Expires; !end.IsZero() && (earliest.IsZero() || end.Before(earliest)) {
			earliest = end
		}
	}
	return earliest
}
