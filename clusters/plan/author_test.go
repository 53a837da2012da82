package plan_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/plan"
)

// manager is one element of managedFields, as kubectl get -o json --show-managed-fields prints it.
func manager(name, operation, minute, fields string) string {
	quoted, err := json.Marshal(name)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"manager":%s,"operation":%q,"apiVersion":"v1","time":"2026-11-23T03:%s:00Z","fieldsType":"FieldsV1","fieldsV1":%s}`, quoted, operation, minute, fields)
}

func decode[T any](t *testing.T, entries []string) T {
	t.Helper()
	var out T
	if err := json.Unmarshal([]byte("["+strings.Join(entries, ",")+"]"), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// driftedSteps applies two clusters, changes the world, and gives what a plan says of drift, a line a step.
func driftedSteps(t *testing.T, change func(*world)) string {
	t.Helper()
	fleet := newFleet().inGit(config, map[string]any{"mondooCredsSecretRef": map[string]any{"name": "creds"}, "filtering": map[string]any{"list": []any{"a"}}}).cluster("1", "a", "b")
	w := newWorld()
	policy := plan.Policy{Revision: "r", Prune: true, CorrectDrift: true}
	p := plan.Compute(&fleet.Opened, w.Live, policy)
	w.apply(t, p, all)
	change(w)
	var lines []string
	for _, s := range plan.Compute(&fleet.Opened, w.Live, policy).Drifted() {
		lines = append(lines, s.Kind+" "+s.Name+": "+s.Blame(plan.Author.String))
	}
	return strings.Join(lines, "\n")
}

func TestAuthors(t *testing.T) {
	const (
		list      = `{"f:spec":{"f:kubernetesResources":{"f:externalClusters":{}}}}`
		secret    = "mondoo-client-a-kubeconfig"
		emptyName = `"" at 2026-11-23T03:07:00Z`
	)
	schedule := func(w *world) { w.entry(config, "a")["schedule"] = "1 1 1 1 *" }
	configBy := func(change func(*world), entries ...string) func(*world) {
		return func(w *world) {
			change(w)
			w.AuditConfigs[config]["metadata"].(map[string]any)["managedFields"] = decode[[]any](t, entries)
		}
	}
	secretBy := func(entries ...string) func(*world) {
		return func(w *world) {
			live := w.Secrets[secret]
			live.Data = map[string][]byte{"kubeconfig": []byte("CANARY"), "more": []byte("CANARY")}
			live.ManagedFields = decode[[]metav1.ManagedFieldsEntry](t, entries)
			w.Secrets[secret] = live
		}
	}
	in := func(path string, value any) func(*world) {
		return func(w *world) {
			spec := w.AuditConfigs[config]["spec"].(map[string]any)
			keys := strings.Split(path, ".")
			for _, key := range keys[:len(keys)-1] {
				spec = spec[key].(map[string]any)
			}
			spec[keys[len(keys)-1]] = value
		}
	}
	for _, test := range []struct {
		reason string
		live   func(*world)
		want   string
	}{
		{"the list is one piece: its manager has changed the entry", configBy(schedule, manager("muster", "Apply", "01", `{"f:spec":{"f:filtering":{}}}`), manager("kubectl-edit", "Update", "02", list)),
			"cluster a: schedule changed by kubectl-edit at 2026-11-23T03:02:00Z"},
		{"the last of two that manage the list", configBy(schedule, manager("argocd", "Apply", "05", list), manager("kubectl-edit", "Update", "04", list)),
			"cluster a: schedule changed by argocd at 2026-11-23T03:05:00Z"},
		{"Muster's own names say nothing", configBy(schedule, manager("muster", "Apply", "09", list), manager("muster-clusters", "Apply", "08", list), manager("helm", "Update", "01", list)),
			"cluster a: schedule changed by helm at 2026-11-23T03:01:00Z"},
		{"who manages something else has not changed it", configBy(schedule, manager("mondoo-operator", "Update", "09", `{"f:spec":{"f:kubernetesResources":{"f:schedule":{}}},"f:metadata":{"f:finalizers":{".":{},"v:\"x\"":{}}}}`)),
			"cluster a: schedule changed"},
		{"an entry is removed from the list", configBy(func(w *world) { w.setEntries(config, w.list(config)[1:]) }, manager("kubectl-edit", "Update", "02", list)),
			"cluster a: removed by kubectl-edit at 2026-11-23T03:02:00Z"},
		{"a field of the audit config", configBy(in("mondooCredsSecretRef.name", "other"), manager("kubectl-edit", "Update", "02", `{"f:spec":{"f:mondooCredsSecretRef":{".":{},"f:name":{}}}}`)),
			"MondooAuditConfig mondoo-client: spec.mondooCredsSecretRef.name changed by kubectl-edit at 2026-11-23T03:02:00Z"},
		{"a struct that is one piece", configBy(in("mondooCredsSecretRef.name", "other"), manager("kubectl-edit", "Update", "02", `{"f:spec":{"f:mondooCredsSecretRef":{}}}`)),
			"MondooAuditConfig mondoo-client: spec.mondooCredsSecretRef.name changed by kubectl-edit at 2026-11-23T03:02:00Z"},
		{"who made a struct manages what is in it only by name", configBy(in("mondooCredsSecretRef.name", "other"), manager("kubectl-edit", "Update", "02", `{"f:spec":{"f:mondooCredsSecretRef":{".":{},"f:namespace":{}}}}`)),
			"MondooAuditConfig mondoo-client: spec.mondooCredsSecretRef.name changed"},
		{"an element of a list", configBy(in("filtering.list", []any{"a", "b"}), manager("kubectl-edit", "Update", "02", `{"f:spec":{"f:filtering":{"f:list":{"v:\"b\"":{}}}}}`)),
			"MondooAuditConfig mondoo-client: spec.filtering.list changed by kubectl-edit at 2026-11-23T03:02:00Z"},
		{"two fields by two", configBy(func(w *world) {
			in("mondooCredsSecretRef.name", "other")(w)
			in("filtering.list", []any{"b"})(w)
		}, manager("one", "Update", "02", `{"f:spec":{"f:mondooCredsSecretRef":{}}}`), manager("two", "Apply", "03", `{"f:spec":{"f:filtering":{"f:list":{}}}}`)),
			"MondooAuditConfig mondoo-client: spec.filtering.list changed by two at 2026-11-23T03:03:00Z, spec.mondooCredsSecretRef.name changed by one at 2026-11-23T03:02:00Z"},
		{"the audit config is deleted, and with it what told by whom", func(w *world) { delete(w.AuditConfigs, config) },
			"MondooAuditConfig mondoo-client: deleted\ncluster a: removed\ncluster b: removed"},
		{"a subresource", configBy(schedule, strings.Replace(manager("scaler", "Update", "02", list), `"operation"`, `"subresource":"status","operation"`, 1)),
			"cluster a: schedule changed by scaler (status) at 2026-11-23T03:02:00Z"},
		{"a value of a Secret", secretBy(manager("kubectl-patch", "Update", "06", `{"f:data":{"f:kubeconfig":{}}}`), manager("other", "Update", "09", `{"f:data":{".":{},"f:more":{}}}`)),
			"Secret " + secret + ": data.kubeconfig changed by kubectl-patch at 2026-11-23T03:06:00Z"},
		{"a Secret is deleted", func(w *world) { delete(w.Secrets, secret) }, "Secret " + secret + ": deleted"},
		{"no time", secretBy(`{"manager":"x","operation":"Update","fieldsV1":{"f:data":{"f:kubeconfig":{}}}}`), "Secret " + secret + ": data.kubeconfig changed by x"},
		{"no name", secretBy(manager("", "Update", "07", `{"f:data":{"f:kubeconfig":{}}}`)), "Secret " + secret + ": data.kubeconfig changed by " + emptyName},
		{"a name made to mislead", secretBy(manager("me; cluster b: in sync\n\x1b[31m\u202e", "Update", "07", `{"f:data":{"f:kubeconfig":{}}}`)),
			"Secret " + secret + `: data.kubeconfig changed by "me; cluster b: in sync??[31m?" at 2026-11-23T03:07:00Z`},
		{"a long name", secretBy(manager(strings.Repeat("n", 4000), "Update", "07", `{"f:data":{"f:kubeconfig":{}}}`)),
			"Secret " + secret + `: data.kubeconfig changed by "` + strings.Repeat("n", 64) + `…" at 2026-11-23T03:07:00Z`},
		{"fields that nobody can read", secretBy(manager("x", "Update", "07", `["f:data"]`), manager("y", "Update", "07", `{"f:data":{"z":{}}}`)),
			"Secret " + secret + ": data.kubeconfig changed"},
		{"fields without end", secretBy(manager("x", "Update", "07", `{"f:data":{"f:kubeconfig":{},"f:`+strings.Repeat("x", 5<<20)+`":{}}}`)),
			"Secret " + secret + ": data.kubeconfig changed"},
		{"more managers than an API server keeps", secretBy(append(slices.Repeat([]string{manager("x", "Update", "07", `{"f:data":{"f:more":{}}}`)}, 64), manager("late", "Update", "07", `{"f:data":{"f:kubeconfig":{}}}`))...),
			"Secret " + secret + ": data.kubeconfig changed"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			if got := driftedSteps(t, test.live); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}
