package review_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/clusters/schedule"
)

const (
	namespace = "mondoo-operator"
	config    = "mondoo-client"
	folder    = "clusters/production"
	base      = "1111111111111111111111111111111111111111"
	head      = "2222222222222222222222222222222222222222"
)

// canary begins every secret value in these tests.
const canary = "canary-5up3r53cr3t"

// tree is a fleet in the making. Its methods change it, and return it.
type tree struct{ fleet.Opened }

func newTree(names ...string) *tree {
	t := &tree{fleet.Opened{Namespace: namespace, Sync: "production", AuditConfigs: []fleet.AuditConfig{{Name: config}}}}
	return t.add(names...)
}

// add adds clusters with a kubeconfig each.
func (t *tree) add(names ...string) *tree {
	for _, name := range names {
		t.addTo(config, name, "0123456789abcdef", "1")
	}
	return t
}

// addTo adds a cluster to an audit config. The hash is that of its Secret's name, the version that of its kubeconfig.
func (t *tree) addTo(auditConfig, name, hash, version string) *tree {
	secret := mondoo.SecretName(auditConfig, name, mondoo.Kubeconfig, hash)
	origin := fleet.Origin{Path: folder + "/" + name + ".yaml"}
	resolved, err := schedule.Resolve("H * * * *", schedule.Seed(auditConfig, name))
	if err != nil {
		panic(err)
	}
	entry := mondoo.Entry{Name: name, KubeconfigSecretRef: &mondoo.SecretRef{Name: secret}, Schedule: resolved}
	t.Clusters = append(t.Clusters, fleet.Cluster{Name: name, AuditConfig: auditConfig, Origin: origin, Entry: entry, Schedule: "H * * * *", Secrets: []string{secret}})
	t.Secrets = append(t.Secrets, fleet.Secret{Name: secret, Type: "Opaque", Data: map[string]string{"kubeconfig": canary + version}, Cluster: name, AuditConfig: auditConfig,
		Origin: origin, Hash: version, Expires: time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)})
	return t.edit(name, func(*fleet.Cluster) {})
}

// edit changes a cluster, and computes its hash anew.
func (t *tree) edit(name string, change func(*fleet.Cluster)) *tree {
	for i := range t.Clusters {
		c := &t.Clusters[i]
		if c.Name != name {
			continue
		}
		change(c)
		var secrets []string
		for k := range t.Secrets {
			if t.Secrets[k].Cluster == c.Name {
				secrets = append(secrets, t.Secrets[k].Hash)
			}
		}
		c.Hash = compile.Hash([]any{c.Entry.Map(), secrets})
	}
	return t
}

// renew gives a cluster another kubeconfig.
func (t *tree) renew(name, version string, expires time.Time) *tree {
	for i := range t.Secrets {
		if s := &t.Secrets[i]; s.Cluster == name {
			s.Data, s.Hash, s.Expires = map[string]string{"kubeconfig": canary + version}, version, expires
		}
	}
	return t.edit(name, func(*fleet.Cluster) {})
}

func (t *tree) remove(names ...string) *tree {
	t.Clusters = slices.DeleteFunc(t.Clusters, func(c fleet.Cluster) bool { return slices.Contains(names, c.Name) })
	t.Secrets = slices.DeleteFunc(t.Secrets, func(s fleet.Secret) bool { return slices.Contains(names, s.Cluster) })
	return t
}

// breakFile quarantines a cluster because of an error in its file.
func (t *tree) breakFile(name string, line int, message string) *tree {
	t.Reject(finding.Finding{Code: "unknown-field", Cluster: name, Path: folder + "/" + name + ".yaml", Line: line, Message: message, Fix: "correct its name"})
	for i := range t.Secrets {
		t.Secrets[i].Quarantined = t.Secrets[i].Quarantined || t.Secrets[i].Cluster == name
	}
	return t.edit(name, func(c *fleet.Cluster) { c.Quarantined, c.Entry = true, mondoo.Entry{} })
}

func (t *tree) warn(code finding.Code, name string, line int, message, fix string) *tree {
	t.Add(finding.Finding{Code: code, Severity: finding.Warning, Cluster: name, Path: folder + "/" + name + ".yaml", Line: line, Message: message, Fix: fix})
	return t
}

// world is a management cluster.
type world struct{ plan.Live }

func newWorld(configs ...string) *world {
	w := &world{plan.Live{AuditConfigs: map[string]map[string]any{}, Secrets: map[string]plan.LiveSecret{}, Syncs: map[string]bool{"production": true}}}
	for _, name := range configs {
		w.AuditConfigs[name] = map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind, "metadata": map[string]any{"name": name, "namespace": namespace}, "spec": map[string]any{}}
	}
	return w
}

// apply applies a fleet, as a server would.
func (w *world) apply(t testing.TB, desired *tree) *world {
	t.Helper()
	p := w.plan(desired, base)
	for _, s := range p.Secrets {
		data := map[string][]byte{}
		for key, value := range s.Data {
			data[key] = []byte(value)
		}
		w.Secrets[s.Name] = plan.LiveSecret{Type: s.Type, Data: data, Labels: s.Labels, Annotations: s.Annotations}
	}
	for _, c := range p.Configs {
		w.AuditConfigs[c.Name] = clone(t, c.Object)
	}
	for _, i := range slices.Concat(p.Before, p.After) {
		w.Inventories = slices.DeleteFunc(w.Inventories, func(j *inventory.Inventory) bool { return j.AuditConfig == i.AuditConfig })
		w.Inventories = append(w.Inventories, i)
	}
	return w
}

func (w *world) plan(desired *tree, revision string) *plan.Plan {
	return plan.Compute(&desired.Opened, w.Live, plan.Policy{Revision: revision, Prune: true, Foreign: plan.KeepForeign, CorrectDrift: true})
}

func clone[T any](t testing.TB, v T) T {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// input compares two trees in a world.
func (w *world) input(before, after *tree) review.Input {
	return review.Input{Sync: "production", Namespace: namespace, Base: base, Head: head, Path: folder, Trust: review.Full, Live: true,
		Before: w.plan(before, base), After: w.plan(after, head), BeforeFleet: &before.Opened, AfterFleet: &after.Opened}
}

// synced is the input for a pull request against a world in which the base is applied.
func synced(t testing.TB, before, after *tree) review.Input {
	t.Helper()
	return newWorld(config).apply(t, before).input(before, after)
}

func names(prefix string, n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("%s-%04d", prefix, i))
	}
	return list
}

func fileURL(path string, line int) string {
	address := "https://git.example.com/platform/fleet/src/commit/" + head + "/" + path
	if line > 0 {
		address += fmt.Sprintf("#L%d", line)
	}
	return address
}

func options() review.Options {
	return review.Options{Marker: review.Marker(namespace + "/production"), FileURL: fileURL, Command: "muster review --base " + base[:10]}
}

// describe lists the changes of a Review, each on a line.
func describe(r *review.Review) []string {
	var list []string
	for _, c := range r.Changes {
		text := fmt.Sprintf("%s %s %s", c.Action, c.Kind, c.Name)
		for _, f := range c.Fields {
			text += fmt.Sprintf(" %s:%s→%s", f.Path, f.From, f.To)
		}
		for _, s := range c.Credentials {
			text += fmt.Sprintf(" [%s %s]", s.Action, s.Content)
		}
		if c.Reason != "" {
			text += " (" + c.Reason + ")"
		}
		list = append(list, text)
	}
	for _, c := range r.Held {
		text := fmt.Sprintf("held %s %s (%s)", c.Kind, c.Name, c.Reason)
		if c.Standing {
			text += " standing"
		}
		list = append(list, text)
	}
	return list
}

// marshal is JSON without escapes, so that texts can be found in it.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return b.Bytes(), err
}
