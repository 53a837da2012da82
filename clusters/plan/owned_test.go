package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// TestForeignSecrets: a manifest in Git takes no Secret that somebody else made or needs (CVE-2026-42876 of
// external-secrets).
func TestForeignSecrets(t *testing.T) {
	const kubeconfig = "mondoo-client-e-kubeconfig"
	base := func() *desired { return newFleet().existing(config).cluster("1", "a") }
	theirs := func(annotations map[string]string) plan.LiveSecret {
		return plan.LiveSecret{Type: "Opaque", Data: map[string][]byte{"config": []byte("theirs")}, Annotations: annotations}
	}
	adopt := func(sync string) map[string]string { return map[string]string{plan.AdoptAnnotation: sync} }
	for _, row := range []struct {
		reason       string
		live         func(*world)
		next         func() *desired
		steps, codes string
		names        string
		unstable     bool // the Secret is gone in the next round, and then naming it does no harm
	}{
		{reason: "made by hand", live: func(w *world) { w.Secrets["creds"] = theirs(nil) },
			next: func() *desired { return base().secret("creds", "1") }, codes: "secret-foreign", names: "a"},
		{reason: "made by hand, for another AuditSync to take over", live: func(w *world) { w.Secrets["creds"] = theirs(adopt("other")) },
			next: func() *desired { return base().secret("creds", "1") }, codes: "secret-foreign", names: "a"},
		{reason: "made by hand, to be taken over", live: func(w *world) { w.Secrets["creds"] = theirs(adopt("prod")) },
			next: func() *desired { return base().secret("creds", "1") }, names: "a",
			steps: "change Secret creds data.config data.a metadata.labels.muster.dev/sync metadata.annotations.muster.dev/origin (takes over a Secret that was made by hand)"},
		{reason: "made by hand under the name of a cluster's", live: func(w *world) { w.Secrets[kubeconfig] = theirs(nil) },
			next: func() *desired { return base().cluster("1", "e") }, codes: "secret-foreign", names: "a"},
		{reason: "made by hand under the name of a cluster's, to be taken over", live: func(w *world) { w.Secrets[kubeconfig] = theirs(adopt("prod")) },
			next: func() *desired { return base().cluster("1", "e") }, names: "a e",
			steps: "change Secret mondoo-client-e-kubeconfig data.config data.kubeconfig metadata.labels.muster.dev/sync metadata.annotations.muster.dev/made-for metadata.annotations.muster.dev/origin" +
				" (takes over a Secret that was made by hand)\nadd cluster e"},
		{reason: "in use by an AuditSync", live: func(w *world) {
			w.Secrets["keys"] = theirs(adopt("prod"))
			w.Reserved = map[string]string{"keys": "the AuditSync prod"}
		}, next: func() *desired { return base().secret("keys", "1") }, codes: "secret-in-use", names: "a"},
		{reason: "in use by an AuditSync, and not there yet", live: func(w *world) { w.Reserved = map[string]string{"keys": "the AuditSync prod"} },
			next: func() *desired { return base().secret("keys", "1") }, codes: "secret-in-use", names: "a"},
		{reason: "in use by an AuditSync, and read by a cluster", live: func(w *world) { w.Reserved = map[string]string{"webhook": "the AuditSync prod"} },
			next: func() *desired { return base().cluster("1", "e").names("e", "webhook") }, codes: "secret-in-use", names: "a"},
		{reason: "in use by an AuditSync, for the certificate of Vault alone", live: func(w *world) { w.Reserved = map[string]string{"ca": "the AuditSync prod"} },
			next: func() *desired {
				d := base().cluster("1", "e").edit("e", func(c *fleet.Cluster) {
					c.Entry = mondoo.Entry{Name: "e", VaultAuth: &mondoo.VaultAuth{Server: "https://x", CACertSecretRef: &mondoo.SecretRef{Name: "ca"}}}
					c.Secrets = nil
				})
				d.Secrets = d.Secrets[:1]
				return d
			}, steps: "add cluster e", names: "a e"},
		{reason: "made for another cluster", next: func() *desired { return base().cluster("1", "e").names("e", "mondoo-client-a-kubeconfig") },
			codes: "secret-of-other", names: "a"},
		{reason: "made for another cluster that is no longer in Git", next: func() *desired {
			return newFleet().existing(config).cluster("1", "e").names("e", "mondoo-client-a-kubeconfig")
		}, codes: "secret-of-other", steps: "remove Secret mondoo-client-a-kubeconfig\nremove cluster a", unstable: true},
		{reason: "made for a cluster of the same name elsewhere", next: func() *desired {
			return newFleet().existing(config).existing("second").cluster("1", "a").cluster("1", "e").names("e", "mondoo-client-a-kubeconfig").
				edit("e", func(c *fleet.Cluster) { c.Name, c.Entry.Name, c.AuditConfig = "a", "a", "second" })
		}, live: func(w *world) { w.AuditConfigs["second"] = newWorld("second").AuditConfigs["second"] },
			codes: "secret-of-other", names: "a"},
		{reason: "from a manifest of another AuditSync", live: func(w *world) {
			w.Syncs["other"] = true
			w.Secrets["token"] = plan.LiveSecret{Type: "Opaque", Labels: map[string]string{fleet.LabelSync: "other"}}
		}, next: func() *desired { return base().cluster("1", "e").names("e", "token") }, codes: "secret-of-other", names: "a"},
		{reason: "a kubeconfig of another AuditSync, which has its own server", live: func(w *world) {
			w.Syncs["other"] = true
			w.Secrets["shared"] = plan.LiveSecret{Type: "Opaque", Labels: map[string]string{fleet.LabelSync: "other"}}
		}, next: func() *desired {
			return base().cluster("1", "e").names("e", "").edit("e", func(c *fleet.Cluster) {
				c.Entry = mondoo.Entry{Name: "e", KubeconfigSecretRef: &mondoo.SecretRef{Name: "shared"}}
			})
		}, steps: "add cluster e", names: "a e"},
		{reason: "made for a cluster of another AuditSync", live: func(w *world) {
			w.Inventories = append(w.Inventories, &inventory.Inventory{Sync: "other", AuditConfig: "second", Clusters: []inventory.Item{{Name: "p", Hash: "h", Secrets: []string{"second-p-token"}}}})
		}, next: func() *desired { return base().cluster("1", "e").names("e", "second-p-token") }, codes: "secret-of-other", names: "a"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			w := newWorld(config)
			w.sync(t, base(), at("rev1"))
			if row.live != nil {
				row.live(w)
			}
			p := w.compute(row.next(), at("rev2"))
			want(t, "steps", describe(p), row.steps)
			want(t, "codes", codes(p), row.codes)
			w.apply(t, p, all)
			want(t, "entries", w.names(t, config), row.names)
			if again := w.compute(row.next(), at("rev2")); !again.Empty() && !row.unstable {
				t.Errorf("applied once, it is not done:\n%s", describe(again))
			}
		})
	}
}

// names has a cluster's entry name a Secret that isn't made for it.
func (d *desired) names(cluster, secret string) *desired {
	var secrets []fleet.Secret
	for _, s := range d.Secrets {
		if s.Cluster != cluster {
			secrets = append(secrets, s)
		}
	}
	d.Secrets = secrets
	return d.edit(cluster, func(c *fleet.Cluster) {
		c.Entry = mondoo.Entry{Name: cluster, ServiceAccountAuth: &mondoo.ServiceAccountAuth{Server: "https://evil", CredentialsSecretRef: mondoo.SecretRef{Name: secret}}}
		c.Secrets = nil
	})
}

// TestReservedStays: a Secret that an AuditSync has come to use is not removed with its manifest.
func TestReservedStays(t *testing.T) {
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a").secret("keys", "1"), at("rev1"))
	w.Reserved = map[string]string{"keys": "the AuditSync prod"}
	p := w.sync(t, newFleet().existing(config).cluster("1", "a"), at("rev2"))
	want(t, "steps", describe(p), "hold Secret keys (an AuditSync itself uses it)")
}

// TestNamedStays: a Secret that goes from Git stays for what is kept and names it, until that is gone or names another.
func TestNamedStays(t *testing.T) {
	rest := func() *desired { return newFleet().existing(config).cluster("1", "b", "c", "d", "e") }
	for _, row := range []struct {
		reason       string
		first, next  func() *desired
		live         func(*world)
		steps, codes string
		secret, by   string
	}{
		{reason: "the entry of a quarantined cluster", secret: "s", by: "the entry a of the audit config mondoo-client",
			first: func() *desired { return rest().cluster("1", "a").names("a", "s").secret("s", "1") },
			next:  func() *desired { return rest().cluster("1", "a").names("a", "s").quarantine("a") },
			steps: "hold Secret s (something that stays names it)", codes: "removals-held"},
		{reason: "an audit config whose removal is held", secret: "creds2", by: "the audit config second",
			first: func() *desired {
				return rest().inGit("second", map[string]any{"mondooCredsSecretRef": map[string]any{"name": "creds2"}}).secret("creds2", "1")
			}, next: rest, codes: "removals-held removals-held",
			steps: "hold MondooAuditConfig second (an audit config is never removed without approval)\nhold Secret creds2 (something that stays names it)"},
		{reason: "somebody else's entry", secret: "s", by: "the entry z of the audit config mondoo-client", first: func() *desired { return rest().secret("s", "1") }, next: rest,
			live: func(w *world) {
				w.setEntries(config, append(w.list(config), map[string]any{"name": "z", "kubeconfigSecretRef": map[string]any{"name": "s"}}))
			}, steps: "hold Secret s (something that stays names it)", codes: "foreign-cluster removals-held"},
		{reason: "one of the registries of an audit config", secret: "s", by: "the audit config mondoo-client", first: func() *desired { return rest().secret("s", "1") }, next: rest,
			live: func(w *world) {
				w.AuditConfigs[config]["spec"].(map[string]any)["scanner"] = map[string]any{"privateRegistriesPullSecretRefs": []any{map[string]any{"name": "s"}}}
			}, steps: "hold Secret s (something that stays names it)", codes: "removals-held"},
		{reason: "a variable of an audit config", secret: "s", by: "the audit config mondoo-client", first: func() *desired { return rest().secret("s", "1") }, next: rest,
			live: func(w *world) {
				w.AuditConfigs[config]["spec"].(map[string]any)["scanner"] = map[string]any{"env": []any{map[string]any{"name": "X",
					"valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "s", "key": "k"}}}}}
			}, steps: "hold Secret s (something that stays names it)", codes: "removals-held"},
		{reason: "the cluster that it was made for, by reference now, which is refused", secret: "mondoo-client-b-kubeconfig", first: rest,
			next: func() *desired {
				return rest().names("b", "").edit("b", func(c *fleet.Cluster) {
					c.Entry, c.Hash = mondoo.Entry{Name: "b", KubeconfigSecretRef: &mondoo.SecretRef{Name: "mondoo-client-b-kubeconfig"}}, "2"
				})
			}, codes: "secret-of-other"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			w := newWorld(config)
			w.sync(t, row.first(), at("rev1"))
			if row.live != nil {
				row.live(w)
			}
			p := w.sync(t, row.next(), at("rev2"))
			want(t, "steps", describe(p), row.steps)
			want(t, "codes", codes(p), row.codes)
			if _, there := w.Secrets[row.secret]; !there {
				t.Errorf("the Secret %s is gone", row.secret)
			}
			for _, s := range p.Steps {
				if s.Kind == plan.KindSecret {
					want(t, "what names it", s.NamedBy, row.by)
				}
			}
		})
	}
}

// TestNamedGoesAtLast: a Secret that was made for a cluster, and stays for somebody else's entry when that is gone, goes when the entry
// does.
func TestNamedGoesAtLast(t *testing.T) {
	const secret = "mondoo-client-a-kubeconfig"
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a", "b", "c", "d", "e"), at("rev1"))
	entries := append(w.list(config), map[string]any{"name": "z", "kubeconfigSecretRef": map[string]any{"name": secret}})
	w.setEntries(config, entries)
	rest := func() *desired { return newFleet().existing(config).cluster("1", "b", "c", "d", "e") }
	for _, revision := range []string{"rev2", "rev3"} {
		want(t, "steps at "+revision, describe(w.compute(rest(), at(revision))), map[string]string{
			"rev2": "hold Secret mondoo-client-a-kubeconfig (something that stays names it)\nremove cluster a",
			"rev3": "hold Secret mondoo-client-a-kubeconfig (something that stays names it)"}[revision])
		w.sync(t, rest(), at(revision))
	}
	w.setEntries(config, slices.DeleteFunc(w.list(config), func(entry map[string]any) bool { return entry["name"] == "z" }))
	want(t, "steps", describe(w.sync(t, rest(), at("rev4"))), "remove Secret "+secret)
	if p := w.compute(rest(), at("rev4")); !p.Empty() || len(w.Inventories) != 1 {
		t.Errorf("%d inventories, and\n%s", len(w.Inventories), describe(p))
	}
}

// TestSameNames: clusters of two audit configs with the same names are not moved when one audit config loses them.
func TestSameNames(t *testing.T) {
	fleetOf := func(configs ...string) *desired {
		d := newFleet().existing("one").existing("two")
		for _, c := range configs {
			for i := range 20 {
				name := fmt.Sprintf("c%02d", i)
				d.Clusters = append(d.Clusters, fleet.Cluster{Name: name, AuditConfig: c, Origin: fleet.Origin{Path: c + "/" + name + ".yaml"}, Hash: "h",
					Entry: mondoo.Entry{Name: name, KubeconfigSecretRef: &mondoo.SecretRef{Name: "x"}}})
			}
		}
		return d
	}
	w := newWorld("one", "two")
	w.sync(t, fleetOf("one", "two"), at("rev1"))
	if p := w.sync(t, fleetOf("one"), at("rev2")); p.Held != 20 || len(p.Configs) > 0 {
		t.Errorf("held %d:\n%s", p.Held, describe(p))
	}
}

// TestMoveToNowhere: a cluster stays while the audit config that it moves to isn't there.
func TestMoveToNowhere(t *testing.T) {
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a", "b"), at("rev1"))
	moved := newFleet().existing(config).existing("second").cluster("1", "a", "b").edit("a", func(c *fleet.Cluster) {
		c.AuditConfig, c.Entry, c.Secrets = "second", mondoo.Entry{Name: "a", KubeconfigSecretRef: &mondoo.SecretRef{Name: "x"}}, nil
	})
	moved.Secrets = moved.Secrets[1:]
	p := w.compute(moved, at("rev2"))
	want(t, "steps", describe(p), "hold cluster a (it has an error where it moves to)")
	w.apply(t, p, all)
	want(t, "entries", w.names(t, config), "a b")
}

// TestTwoSyncsAtOnce: of two AuditSyncs that start at the same moment, one gets the audit config.
func TestTwoSyncsAtOnce(t *testing.T) {
	for _, whole := range []bool{false, true} {
		fleetOf := func(sync, cluster string) *desired {
			d := newFleet()
			if whole {
				d.inGit(config, map[string]any{"spaceId": "x"})
			} else {
				d.existing(config)
			}
			d.cluster("1", cluster)
			d.Sync = sync
			return d
		}
		for cut := range 6 {
			w := newWorld(config)
			if whole {
				w = newWorld() // neither may take over what was made by hand
			}
			w.Syncs["other"] = true
			a, b := fleetOf("prod", "a"), fleetOf("other", "b")
			planA, planB := w.compute(a, policy()), w.compute(b, policy())
			w.apply(t, planA, cut) // cut off, or refused for a conflict
			w.apply(t, planB, len(planB.Before))
			for range 3 {
				w.apply(t, w.compute(a, policy()), all)
				w.apply(t, w.compute(b, policy()), all)
			}
			planA, planB = w.compute(a, policy()), w.compute(b, policy())
			if !planA.Empty() || !planB.Empty() {
				t.Errorf("whole %t, cut %d: it goes on\n%s\n%s", whole, cut, describe(planA), describe(planB))
			}
			if got := codes(planA) + "|" + codes(planB); strings.Count(got, string(plan.CodeConfigOwned)) != 1 {
				t.Errorf("whole %t, cut %d: %s", whole, cut, got)
			}
		}
	}
}

// TestWithout holds back entries whose Secrets could not be written: a new server must not meet an old credential.
func TestWithout(t *testing.T) {
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a", "b"), policy())
	server := func(c *fleet.Cluster) { c.Entry.Schedule = "5 5 * * *" }
	p := w.compute(newFleet().existing(config).cluster("2", "a", "b", "c", "d").edit("a", server).edit("b", server), at("rev2"))
	if len(p.Configs) != 1 {
		t.Fatal(describe(p))
	}
	for _, test := range []struct {
		reason string
		failed []string
		want   string
	}{
		{"all Secrets were written", nil, "a:5 5 * * * b:5 5 * * * c: d:"},
		{"a changed and a new one were not", []string{"a", "c"}, "a: b:5 5 * * * d:"},
		{"none was written", []string{"a", "b", "c", "d"}, "a: b:"},
	} {
		failed := map[string]bool{}
		for _, name := range test.failed {
			failed[made(config, name)] = true
		}
		write, err := p.Configs[0].Without(p.Configs[0].Held(failed))
		if err != nil {
			t.Fatal(err)
		}
		entries, err := mondoo.Entries(write.Object)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			schedule, _ := e["schedule"].(string)
			got = append(got, fmt.Sprintf("%s:%s", e["name"], schedule))
		}
		if text := strings.Join(got, " "); text != test.want {
			t.Errorf("%s: %s, want %s", test.reason, text, test.want)
		}
	}
}

// TestUnread counts files that nothing could be read of as clusters, and none twice.
func TestUnread(t *testing.T) {
	d := newFleet().existing(config).cluster("1", "a", "b").quarantine("b").edit("b", func(c *fleet.Cluster) {
		c.File = &v1alpha1.ExternalCluster{Spec: v1alpha1.Spec{KubeconfigFile: "b.kubeconfig"}}
	}).broken("fleet/half.yaml").broken("fleet/b.kubeconfig").broken("fleet/deleted.yaml").present("fleet/half.yaml", "fleet/b.kubeconfig")
	if got := plan.Unread(&d.Opened); got != 1 {
		t.Errorf("%d files, want half.yaml alone", got)
	}
	d.Stopped = true
	if got := plan.Unread(&d.Opened); got != 0 {
		t.Errorf("%d files in a fleet that is stopped", got)
	}
}
