package plan_test

import (
	"testing"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

// TestNotedIsNotMade: a run is cut off after it has noted what it is about to apply, and then somebody makes a Secret of that name by hand.
func TestNotedIsNotMade(t *testing.T) {
	more := func() *desired {
		return newFleet().existing(config).cluster("1", "a").edit("a", func(c *fleet.Cluster) {
			c.Hash, c.Secrets = "hash-2", append(c.Secrets, "second")
			c.Entry.PrivateRegistriesPullSecretRef = &mondoo.SecretRef{Name: "second"}
		}).secret("alone", "1")
	}
	for name, next := range map[string]func() *desired{
		"alone": more,
		"second": func() *desired {
			d := more()
			d.Secrets = append(d.Secrets, fleet.Secret{Name: "second", Type: "Opaque", Data: map[string]string{"a": "1"}, Cluster: "a", AuditConfig: config,
				Origin: fleet.Origin{Path: "fleet/a.yaml"}, Hash: "second-1"})
			return d
		},
		"mondoo-client-b-kubeconfig": func() *desired { return more().cluster("1", "b") },
	} {
		w := newWorld(config)
		w.sync(t, newFleet().existing(config).cluster("1", "a"), at("rev1"))
		p := w.compute(next(), at("rev2"))
		w.apply(t, p, len(p.Before))
		w.Secrets[name] = plan.LiveSecret{Type: "Opaque", Data: map[string][]byte{"theirs": nil}}
		w.apply(t, w.compute(next(), at("rev2")), all)
		if _, theirs := w.Secrets[name].Data["theirs"]; !theirs || len(w.Secrets[name].Data) != 1 {
			t.Errorf("%s was taken over", name)
		}
		want(t, name, codes(w.compute(next(), at("rev2"))), "secret-foreign")
		// What was made, and has lost its label, is put right as before.
		delete(w.Secrets, name)
		w.sync(t, next(), at("rev2"))
		made := w.Secrets[name]
		made.Labels = nil
		w.Secrets[name] = made
		if p := w.compute(next(), at("rev2")); len(p.Drifted()) != 1 || codes(p) != "" {
			t.Errorf("%s without its label: %s %s", name, describe(p), codes(p))
		}
	}
}
