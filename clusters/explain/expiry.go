package explain

import (
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Expiry is when the credentials of a Secret end: the earliest end of what its known keys hold. It is zero when nothing
// ends, or nothing tells.
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
