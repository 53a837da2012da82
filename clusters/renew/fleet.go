package renew

import (
	"maps"
	"time"

	"github.com/muster-gitops/muster/clusters/fleet"
)

// Supply returns a Secret of the fleet with a token in place of the seed. With the seed itself, only what marks the Secret is set.
func (s Seed) Supply(secret fleet.Secret, token string) fleet.Secret {
	secret.Supplied, secret.Version = true, ""
	if token == s.Token {
		return secret
	}
	proof := s.Proof(secret.Name, token)
	secret.Data, secret.Version = Replace(secret.Data, token), proof
	secret.Annotations = maps.Clone(secret.Annotations)
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[fleet.AnnotationRenewed] = proof
	return secret
}

// Continue returns the fleet with the renewed tokens of the live Secrets, as a controller that starts now would apply it. It is for
// plans that are only shown. live returns annotations and data of a live Secret, if it exists. Continue returns the same fleet if no
// token is renewed.
func Continue(f *fleet.Opened, live func(name string) (map[string]string, map[string][]byte), now time.Time) *fleet.Opened {
	var clone *fleet.Opened
	for i := range f.Secrets {
		secret := &f.Secrets[i]
		if secret.Renew == 0 || secret.Quarantined {
			continue
		}
		seed, problem := SeedOf(secret.Data)
		if problem != nil {
			continue
		}
		if clone == nil {
			clone = f.Clone()
		}
		token := seed.Token
		annotations, data := live(secret.Name)
		if current, _ := seed.Live(secret.Name, annotations[fleet.AnnotationRenewed], data); current.Alive(now) {
			token = current.Value
		}
		clone.Secrets[i] = seed.Supply(*secret, token)
	}
	if clone == nil {
		return f
	}
	return clone
}
