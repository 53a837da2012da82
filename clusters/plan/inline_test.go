package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

// account gives a cluster the token of a server, in a Secret that is named after the server.
func (d *desired) account(server, token string, names ...string) *desired {
	for _, name := range names {
		secret := accountSecret(name, server)
		d.Clusters = append(d.Clusters, fleet.Cluster{Name: name, AuditConfig: config, Origin: fleet.Origin{Path: "fleet/" + name + ".yaml"}, Hash: server + token, Secrets: []string{secret},
			Entry: mondoo.Entry{Name: name, ServiceAccountAuth: &mondoo.ServiceAccountAuth{Server: server, CredentialsSecretRef: mondoo.SecretRef{Name: secret}}}})
		d.Secrets = append(d.Secrets, fleet.Secret{Name: secret, Type: "Opaque", Data: map[string]string{"token": token}, Cluster: name, AuditConfig: config,
			Origin: fleet.Origin{Path: "fleet/" + name + ".yaml"}, Hash: server + token})
	}
	return d
}

func accountSecret(cluster, server string) string { return config + "-" + cluster + "-" + server }

// references are entries that name a Secret, in every field that can.
func references(secret string) map[string]mondoo.Entry {
	ref, own := mondoo.SecretRef{Name: secret}, &mondoo.SecretRef{Name: "own"}
	return map[string]mondoo.Entry{
		"kubeconfigSecretRef":   {KubeconfigSecretRef: &ref},
		"credentialsSecretRef":  {ServiceAccountAuth: &mondoo.ServiceAccountAuth{Server: "https://evil", CredentialsSecretRef: ref}},
		"trustBundleSecretRef":  {SPIFFEAuth: &mondoo.SPIFFEAuth{Server: "https://evil", TrustBundleSecretRef: ref}},
		"caCertSecretRef":       {VaultAuth: &mondoo.VaultAuth{Server: "https://evil", CACertSecretRef: &ref}},
		"targetCACertSecretRef": {VaultAuth: &mondoo.VaultAuth{Server: "https://evil", TargetCACertSecretRef: &ref}},
		"the registries":        {KubeconfigSecretRef: own, PrivateRegistriesPullSecretRef: &ref},
	}
}

// TestMadeIsNamedByNothing: nothing in Git names a Secret that was made from the credentials in a cluster file, however that cluster
// fares, whoever names it, and in whatever field.
func TestMadeIsNamedByNothing(t *testing.T) {
	const older = "left over, as an older Muster noted it"
	secret := accountSecret("prod", "s1")
	rest := func() *desired { return newFleet().existing(config).account("s1", "t", "x", "y") }
	foreign := map[string]any{"name": "by-hand", "kubeconfigSecretRef": map[string]any{"name": secret}}
	states := []struct {
		reason string
		// fares changes the world after prod was applied, and next is the fleet then.
		fares func(*testing.T, *world)
		next  func() *desired
		// own says that the cluster which names the Secret may be prod itself.
		own bool
	}{
		{reason: "live", next: func() *desired { return rest().account("s1", "t", "prod") }},
		{reason: "replaced by the reference", next: rest, own: true},
		{reason: "quarantined", next: func() *desired { return rest().account("s1", "t", "prod").quarantine("prod") }},
		{reason: "gone, and held", next: func() *desired { return rest().broken("fleet/prod.yaml") }},
		{reason: "gone, in this very commit", next: rest},
		{reason: "moved to another server", next: func() *desired { return rest().account("s2", "t2", "prod") }},
		{reason: "left over for an entry that was made by hand", next: rest, fares: func(t *testing.T, w *world) {
			w.setEntries(config, append(w.list(config), foreign))
			w.apply(t, w.compute(rest(), at("rev2")), all)
		}},
		{reason: older, next: rest, fares: func(t *testing.T, w *world) {
			w.setEntries(config, append(w.list(config), foreign))
			w.apply(t, w.compute(rest(), at("rev2")), all)
			for _, inv := range w.Inventories {
				for i := range inv.Secrets {
					inv.Secrets[i].MadeFor = inventory.Cluster{}
				}
			}
			delete(w.Secrets[secret].Annotations, fleet.AnnotationMadeFor)
		}},
		{reason: "orphaned: its AuditSync is gone", next: rest, own: true, fares: func(_ *testing.T, w *world) {
			for _, inv := range w.Inventories {
				inv.Sync = "gone"
			}
			delete(w.Secrets[secret].Annotations, fleet.AnnotationMadeFor)
		}},
		{reason: "of another AuditSync", next: rest, own: true, fares: func(_ *testing.T, w *world) {
			w.Syncs["other"] = true
			w.Inventories = []*inventory.Inventory{{Sync: "other", AuditConfig: "third", Clusters: []inventory.Item{{Name: "prod", Hash: "h", Secrets: []string{secret}}}}}
			delete(w.Secrets[secret].Annotations, fleet.AnnotationMadeFor)
		}},
		{reason: "known by its annotation alone", next: rest, own: true, fares: func(_ *testing.T, w *world) { w.Inventories = nil }},
	}
	for _, state := range states {
		world := func(t *testing.T) *world {
			w := newWorld(config)
			w.sync(t, rest().account("s1", "t", "prod"), at("rev1"))
			if state.fares != nil {
				state.fares(t, w)
			}
			return w
		}
		for field, entry := range references(secret) {
			for _, name := range []string{"evil", "prod"} {
				if name == "prod" && !state.own {
					continue
				}
				t.Run(state.reason+"/"+name+" by "+field, func(t *testing.T) {
					w, d := world(t), state.next()
					entry.Name = name
					d.Clusters = append(d.Clusters, fleet.Cluster{Name: name, AuditConfig: config, Origin: fleet.Origin{Path: "fleet/evil.yaml"}, Entry: entry, Hash: "evil"})
					refused(t, w, w.compute(d, at("rev3")), secret, name)
				})
			}
		}
		for field, spec := range map[string]map[string]any{
			"mondooCredsSecretRef": {"mondooCredsSecretRef": map[string]any{"name": secret}},
			"a registry":           {"scanner": map[string]any{"privateRegistriesPullSecretRefs": []any{map[string]any{"name": "x"}, map[string]any{"name": secret}}}},
			"a variable":           {"scanner": map[string]any{"env": []any{map[string]any{"name": "X", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": secret, "key": "token"}}}}}},
			"a field to come":      {"volumes": []any{map[string]any{"secret": map[string]any{"secretName": secret}}}},
		} {
			t.Run(state.reason+"/an audit config by "+field, func(t *testing.T) {
				w, d := world(t), state.next().inGit("second", spec)
				refused(t, w, w.compute(d, at("rev3")), secret, "")
			})
		}
		if state.reason == older {
			continue // a manifest that is about to be applied for the first time looks the same there
		}
		t.Run(state.reason+"/overwritten by a manifest", func(t *testing.T) {
			w, d := world(t), state.next()
			d.Secrets = append(d.Secrets, fleet.Secret{Name: secret, Type: "Opaque", Data: map[string]string{"token": "evil"}, Origin: fleet.Origin{Path: "fleet/secret.yaml"}, Hash: "evil"})
			refused(t, w, w.compute(d, at("rev3")), secret, "")
		})
	}
}

// refused checks that a plan doesn't do what an attack is about.
func refused(t *testing.T, w *world, p *plan.Plan, secret, cluster string) {
	t.Helper()
	if !strings.Contains(codes(p), string(plan.CodeSecretOfOther)) {
		t.Errorf("findings %q\n%s", codes(p), describe(p))
	}
	w.apply(t, p, all)
	for _, object := range w.AuditConfigs {
		entries, err := mondoo.Entries(object)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			auth, _ := e["serviceAccountAuth"].(map[string]any)
			if e["name"] == "evil" || auth["server"] == "https://evil" || e["name"] == cluster && auth["server"] != "s1" {
				t.Errorf("applied: %v", e)
			}
		}
		if name := object["metadata"].(map[string]any)["name"]; name == "second" {
			t.Errorf("applied: %v", object)
		}
	}
	if s, there := w.Secrets[secret]; there && string(s.Data["token"]) != "t" {
		t.Errorf("the Secret holds %s", s.Data["token"])
	}
}

// TestServerAndTokenTogether changes server and token at once, and is cut off between any two writes, or has the audit config refused:
// an entry and the Secret that it names are always of one time, and all that is old is gone in the end.
func TestServerAndTokenTogether(t *testing.T) {
	first := func() *desired { return newFleet().existing(config).account("s1", "t1", "a", "b", "c") }
	second := func() *desired { return newFleet().existing(config).account("s2", "t2", "a", "b", "c") }
	together := func(t *testing.T, w *world) {
		t.Helper()
		for _, e := range w.list(config) {
			auth := e["serviceAccountAuth"].(map[string]any)
			secret := auth["credentialsSecretRef"].(map[string]any)["name"].(string)
			if token := string(w.Secrets[secret].Data["token"]); strings.TrimPrefix(auth["server"].(string), "s") != strings.TrimPrefix(token, "t") {
				t.Errorf("%s: server %s with token %q of %s", e["name"], auth["server"], token, secret)
			}
		}
	}
	for cut := range 20 {
		w := newWorld(config)
		w.sync(t, first(), at("rev1"))
		none := at("rev2")
		none.MaxRemovals = "0"
		p := w.compute(second(), none)
		if p.Held > 0 || len(p.Delete.Secrets) != 3 {
			t.Fatalf("%d held; a Secret that is replaced is no removal\n%s", p.Held, describe(p))
		}
		w.apply(t, p, cut)
		together(t, w)
		back := cut%2 == 1 // somebody takes the commit back meanwhile
		next, gone := second(), "s1"
		if back {
			next, gone = first(), "s2"
		}
		w.sync(t, next, none)
		together(t, w)
		for name := range w.Secrets {
			if strings.HasSuffix(name, gone) {
				t.Errorf("cut %d: %s is left", cut, name)
			}
		}
	}
	t.Run("the audit config is refused", func(t *testing.T) {
		w := newWorld(config)
		w.sync(t, first(), at("rev1"))
		for _, revision := range []string{"rev2", "rev3"} {
			p := w.compute(second(), at(revision))
			w.apply(t, p, len(p.Before)+len(p.Secrets))
			together(t, w)
		}
		// A file that can't be read, or a cluster that goes, changes nothing about that.
		p := w.compute(second().quarantine("a").broken("fleet/b.yaml"), at("rev4"))
		w.apply(t, p, all)
		together(t, w)
		w.sync(t, second(), at("rev5"))
		together(t, w)
		want(t, "Secrets", fmt.Sprint(slices.Sorted(maps.Keys(w.Secrets))), "[mondoo-client-a-s2 mondoo-client-b-s2 mondoo-client-c-s2]")
	})
}

// TestNewNames: a Secret that an older Muster named is replaced without a gap and without an approval.
func TestNewNames(t *testing.T) {
	older := func(w *world) {
		for name := range w.Secrets {
			delete(w.Secrets[name].Annotations, fleet.AnnotationMadeFor)
		}
	}
	for cut := range 20 {
		w := newWorld(config)
		w.sync(t, newFleet().existing(config).account("old", "t", "a", "b"), at("rev1"))
		older(w)
		next := newFleet().existing(config).account("old", "t", "a", "b")
		for i, name := range []string{"a", "b"} {
			secret := accountSecret(name, "hash")
			next.Clusters[i].Entry.ServiceAccountAuth.CredentialsSecretRef.Name, next.Clusters[i].Secrets, next.Clusters[i].Hash = secret, []string{secret}, "new"
			next.Secrets[i].Name, next.Secrets[i].Hash = secret, "new"
		}
		w.apply(t, w.compute(next, at("rev1")), cut)
		for _, e := range w.list(config) {
			name := e["serviceAccountAuth"].(map[string]any)["credentialsSecretRef"].(map[string]any)["name"].(string)
			if string(w.Secrets[name].Data["token"]) != "t" {
				t.Errorf("cut %d: %s names %s, which is not there", cut, e["name"], name)
			}
		}
		w.sync(t, next, at("rev1"))
		want(t, "Secrets", fmt.Sprint(slices.Sorted(maps.Keys(w.Secrets))), "[mondoo-client-a-hash mondoo-client-b-hash]")
	}
}

// TestReplacedStays: the old Secret of a cluster with a new server stays for an entry that names it, is no removal that counts or waits,
// and goes with that entry.
func TestReplacedStays(t *testing.T) {
	w := newWorld(config)
	old := accountSecret("a", "s1")
	w.sync(t, newFleet().existing(config).account("s1", "t1", "a"), at("rev1"))
	w.setEntries(config, append(w.list(config), map[string]any{"name": "z", "kubeconfigSecretRef": map[string]any{"name": old}}))
	none := at("rev2")
	none.MaxRemovals = "0"
	next := func() *desired { return newFleet().existing(config).account("s2", "t2", "a") }
	for range 2 {
		if p := w.sync(t, next(), none); p.Held > 0 || !strings.Contains(describe(p), "hold Secret "+old) {
			t.Errorf("%d held\n%s", p.Held, describe(p))
		}
		if string(w.Secrets[old].Data["token"]) != "t1" {
			t.Error("it is gone, or another")
		}
	}
	w.setEntries(config, slices.DeleteFunc(w.list(config), func(entry map[string]any) bool { return entry["name"] == "z" }))
	if p := w.sync(t, next(), none); !strings.Contains(describe(p), "remove Secret "+old) || p.Held > 0 {
		t.Error(describe(p))
	}
	if _, there := w.Secrets[old]; there {
		t.Error("it stays for nothing")
	}
}

// TestMadeForIsKept: the annotation that says what a Secret is comes back when somebody takes it off, and no manifest can claim it.
func TestMadeForIsKept(t *testing.T) {
	w := newWorld(config)
	d := newFleet().existing(config).account("s1", "t1", "a").secret("s", "1")
	d.Secrets[1].Annotations = map[string]string{fleet.AnnotationMadeFor: "mondoo-client/a"}
	w.sync(t, d, at("rev1"))
	secret := accountSecret("a", "s1")
	if got := w.Secrets[secret].Annotations[fleet.AnnotationMadeFor]; got != "mondoo-client/a" {
		t.Errorf("made for %q", got)
	}
	if got, claimed := w.Secrets["s"].Annotations[fleet.AnnotationMadeFor]; claimed {
		t.Errorf("a manifest is made for %q", got)
	}
	delete(w.Secrets[secret].Annotations, fleet.AnnotationMadeFor)
	want(t, "steps", describe(w.sync(t, d, at("rev1"))), "change Secret "+secret+" drift metadata.annotations.muster.dev/made-for")
}

// TestTokenServer: a token in a Secret that was made by hand goes to the server that the Secret says, if it says one.
func TestTokenServer(t *testing.T) {
	for _, row := range []struct {
		reason, server string
		skip           bool
		codes          string
	}{
		{"no server", "", false, ""},
		{"the same", "https://evil\n", false, ""},
		{"another", "https://prod", false, "token-server"},
		{"the same, unchecked", "https://evil", true, "token-server"},
	} {
		w := newWorld(config)
		w.Secrets["byhand"] = plan.LiveSecret{Type: "Opaque", Data: map[string][]byte{"token": []byte("t"), "server": []byte(row.server)}}
		p := w.compute(newFleet().existing(config).cluster("1", "e").names("e", "byhand").edit("e", func(c *fleet.Cluster) {
			c.Entry.ServiceAccountAuth.SkipTLSVerify = row.skip
		}), at("rev1"))
		want(t, row.reason, codes(p), row.codes)
		if applied := len(p.Configs) > 0; applied != (row.codes == "") {
			t.Errorf("%s: applied %t", row.reason, applied)
		}
	}
}
