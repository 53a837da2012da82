package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// twoClusters starts a controller on a repository with two clusters, and returns the commit.
func twoClusters(w *world, change func(*v1alpha1.AuditSync)) string {
	w.Helper()
	commit := w.push(map[string]string{
		"clusters/mondoo-client.yaml": auditConfigFile,
		"clusters/eu.yaml":            w.tokenCluster("eu", ""),
		"clusters/us.yaml":            w.tokenCluster("us", ""),
	})
	w.startController(nil)
	w.createSync(change)
	w.untilReady(commit)
	return commit
}

// edit changes a live audit config as somebody with kubectl does.
func (w *world) edit(patch string) {
	w.Helper()
	object := w.auditConfig("mondoo-client")
	must(w.T, w.admin.Patch(w.Context(), object, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("kubectl-edit")))
}

// replaceEntries writes the live list as the operator or a person would, with a plain update, again when somebody was faster.
func (w *world) replaceEntries(change func([]map[string]any) []map[string]any) {
	w.Helper()
	must(w.T, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		object := w.auditConfig("mondoo-client")
		list, err := mondoo.Entries(object.Object)
		must(w.T, err)
		must(w.T, mondoo.SetEntries(object.Object, change(list)))
		return w.admin.Update(w.Context(), object, client.FieldOwner("kubectl-edit"))
	}))
}

func TestDriftIsCorrected(t *testing.T) {
	w := newWorld(t)
	twoClusters(w, nil)

	t.Run("an entry is changed", func(*testing.T) {
		w.replaceEntries(func(list []map[string]any) []map[string]any {
			list[0]["schedule"] = "1 1 1 1 *"
			return list
		})
		w.eventually("the entry is put right", func() bool { return w.entries("mondoo-client")["eu"].Schedule == "" })
	})
	t.Run("an entry is removed", func(*testing.T) {
		w.replaceEntries(func(list []map[string]any) []map[string]any { return list[1:] })
		w.eventually("the entry is back", func() bool { return len(w.entries("mondoo-client")) == 2 })
	})
	t.Run("a field of the audit config is changed", func(*testing.T) {
		w.edit(`{"spec":{"kubernetesResources":{"schedule":"59 23 * * *"}}}`)
		w.eventually("the field is put right", func() bool {
			schedule, _, _ := unstructured.NestedString(w.auditConfig("mondoo-client").Object, "spec", "kubernetesResources", "schedule")
			return schedule == "10 * * * *"
		})
	})
	t.Run("a Secret is changed", func(*testing.T) {
		secret := w.secret(tokenSecret("eu"))
		secret.Data["token"] = []byte("somebody-elses-token")
		must(w.T, w.admin.Update(w.Context(), secret))
		w.eventually("the Secret is put right", func() bool {
			return string(w.secret(tokenSecret("eu")).Data["token"]) == "CANARY-token-of-eu"
		})
	})
	t.Run("a Secret is deleted", func(*testing.T) {
		must(w.T, w.admin.Delete(w.Context(), w.secret(tokenSecret("us"))))
		w.eventually("the Secret is back", func() bool { return w.secret(tokenSecret("us")) != nil })
	})
	t.Run("the audit config is deleted", func(*testing.T) {
		must(w.T, w.admin.Delete(w.Context(), w.auditConfig("mondoo-client")))
		w.eventually("the audit config is back", func() bool { return len(w.entries("mondoo-client")) == 2 })
	})
	t.Run("an event says so", func(t *testing.T) {
		w.eventually("the event", func() bool {
			var events eventsv1.EventList
			must(t, w.admin.List(w.Context(), &events, client.InNamespace(w.namespace)))
			return slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool {
				return e.Reason == "DriftCorrected" && strings.Contains(e.Note, "schedule") && !strings.Contains(e.Note, "CANARY")
			})
		})
	})
}

func TestDriftIsReported(t *testing.T) {
	w := newWorld(t)
	twoClusters(w, func(s *v1alpha1.AuditSync) { s.Spec.Drift = v1alpha1.DriftReport })
	w.replaceEntries(func(list []map[string]any) []map[string]any {
		list[0]["schedule"] = "1 1 1 1 *"
		return list
	})
	status := w.until("drift is reported", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionInSync).Status == metav1.ConditionFalse
	}).Status
	if message := condition(status, v1alpha1.ConditionInSync).Message; !strings.Contains(message, "mondoo-client: cluster eu: schedule changed by kubectl-edit at 20") {
		t.Errorf("InSync: %s", message)
	}
	w.request()
	if w.entries("mondoo-client")["eu"].Schedule != "1 1 1 1 *" {
		t.Error("drift was corrected, and should only have been reported")
	}
	// A change in Git is applied all the same, to the rest.
	w.push(map[string]string{"clusters/us.yaml": w.tokenCluster("us", "  containerImageScanning: true\n")})
	w.request()
	entries := w.entries("mondoo-client")
	if !entries["us"].ContainerImageScanning || entries["eu"].Schedule != "1 1 1 1 *" {
		t.Errorf("entries %+v", entries)
	}
}

// TestOperatorUpdates does to an audit config what the operator does, and expects that it is let alone.
func TestOperatorUpdates(t *testing.T) {
	w := newWorld(t)
	w.push(map[string]string{"clusters/us.yaml": w.tokenCluster("us", "  filtering: {}\n")})
	twoClusters(w, nil)
	w.push(map[string]string{"clusters/us.yaml": w.tokenCluster("us", "  filtering: {}\n")})
	w.request()
	w.untilQuiet() // or the events of that would count
	object := w.auditConfig("mondoo-client")
	object.SetFinalizers([]string{"k8s.mondoo.com/delete"})
	spec := object.Object["spec"].(map[string]any)
	spec["nodes"] = map[string]any{"enable": true, "schedule": "5 * * * *"}
	spec["containers"] = map[string]any{"enable": true, "schedule": "6 0 * * *"}
	spec["filtering"] = map[string]any{"namespaces": map[string]any{}}
	mark := w.mark()
	must(t, w.admin.Update(t.Context(), object, client.FieldOwner("mondoo-operator")))
	asked := w.settled()
	answers := 0
	for _, r := range w.requests(mark) {
		if r.Resource == "auditsyncs" && r.Subresource == "status" {
			answers++ // to requests
		} else if r.Writes() {
			t.Errorf("the controller wrote: %s", r)
		}
	}
	if answers != asked {
		t.Errorf("the controller wrote the status %d times, and %d syncs were requested", answers, asked)
	}
	if got := condition(w.sync().Status, v1alpha1.ConditionInSync); got.Status != metav1.ConditionTrue {
		t.Errorf("InSync %+v", got)
	}
}

// TestNothingToDo counts what a sync with nothing to do costs: at the API server, and at the Git server.
func TestNothingToDo(t *testing.T) {
	w := newWorld(t)
	twoClusters(w, func(s *v1alpha1.AuditSync) { s.Spec.Interval = &metav1.Duration{Duration: 5 * time.Second} })
	w.untilQuiet() // events and the informers' first lists are through
	mark := w.mark()
	before, packs := w.polls(), len(gitServer.Requests())
	w.eventually("three polls", func() bool { return w.polls() >= before+3 })
	requests := w.requests(mark)
	for _, r := range requests {
		t.Errorf("with nothing to do, the controller asked the API server: %s", r)
	}
	for _, r := range gitServer.Requests()[packs:] {
		if strings.HasPrefix(r.Path, "/"+w.namespace) && !strings.HasSuffix(r.Path, "/info/refs") {
			t.Errorf("a poll cost more than the list of refs: %s %s", r.Method, r.Path)
		}
	}
}

// TestExactWrites counts the writes that one changed file costs.
func TestExactWrites(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}
	for i := range 20 {
		name := fmt.Sprintf("c%02d", i)
		files["clusters/"+name+".yaml"] = w.tokenCluster(name, "")
	}
	commit := w.push(files)
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(commit)
	for _, test := range []struct {
		reason string
		files  map[string]string
		want   []string
	}{
		{"a schedule", map[string]string{"clusters/c07.yaml": strings.Replace(files["clusters/c07.yaml"], "kind:", "# a comment, which sops does not sign\nkind:", 1)}, nil},
		{"a new token", map[string]string{"clusters/c08.yaml": w.tokenCluster("c08", "  schedule: 5 5 * * *\n")},
			[]string{"mondooauditconfigs/mondoo-client", "configmaps/muster-production.mondoo-client"}},
	} {
		mark := w.mark()
		w.push(test.files)
		w.request()
		requests := w.requests(mark)
		var writes []string
		for _, r := range requests {
			if r.Writes() && r.Resource != "auditsyncs" && r.Resource != "events" {
				writes = append(writes, r.Resource+"/"+r.Name)
			}
		}
		if !slices.Equal(writes, test.want) {
			t.Errorf("%s: writes %v, want %v", test.reason, writes, test.want)
		}
	}
}

func TestForeignEntriesStay(t *testing.T) {
	w := newWorld(t)
	twoClusters(w, nil)
	w.replaceEntries(func(list []map[string]any) []map[string]any {
		return append(list, map[string]any{"name": "by-hand", "kubeconfigSecretRef": map[string]any{"name": "by-hand"}})
	})
	// A sync that has not seen the entry yet is refused with a conflict, and made again.
	status := w.untilReady(w.pushAndRequest(map[string]string{"clusters/asia.yaml": w.tokenCluster("asia", "")})).Status
	if got := w.names("mondoo-client"); !slices.Equal(got, []string{"asia", "by-hand", "eu", "us"}) {
		t.Errorf("entries %v", got)
	}
	if status.Clusters.Foreign != 1 || !slices.ContainsFunc(status.Problems, func(p v1alpha1.Problem) bool {
		return p.Code == string(plan.CodeForeign) && strings.Contains(p.Message, "by-hand")
	}) {
		t.Errorf("status %+v", status)
	}
	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.ForeignClusters = v1alpha1.ForeignRemove })
	w.eventually("the foreign entry is removed", func() bool { return len(w.entries("mondoo-client")) == 3 })
}

// TestExistingAuditConfig works with an audit config that Helm has installed, and touches nothing but its list.
func TestExistingAuditConfig(t *testing.T) {
	w := newWorld(t)
	commit := w.push(map[string]string{"clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.AuditConfig = "mondoo-client" })
	status := w.until("the audit config is missed", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionReady).Status == metav1.ConditionFalse
	}).Status
	if message := condition(status, v1alpha1.ConditionReady).Message; !strings.Contains(message, "no MondooAuditConfig mondoo-client") {
		t.Errorf("Ready: %s", message)
	}
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind,
		"metadata": map[string]any{"name": "mondoo-client", "namespace": w.namespace, "labels": map[string]any{"helm": "yes"}},
		"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "creds"}, "kubernetesResources": map[string]any{"enable": false},
			"filtering": map[string]any{"namespaces": map[string]any{"exclude": []any{"kube-system"}}}}}}
	must(t, w.admin.Create(t.Context(), object, client.FieldOwner("helm")))
	w.untilReady(commit)
	entry := w.entries("mondoo-client")["eu"]
	if entry.Schedule == "" {
		t.Error("the entry has no schedule, and the operator would stop at it: local scanning is off and gives none")
	}
	live := w.auditConfig("mondoo-client")
	if live.GetLabels()["helm"] != "yes" || live.GetLabels()["muster.dev/sync"] != "" {
		t.Errorf("labels %v", live.GetLabels())
	}
	if exclude, _, _ := unstructured.NestedStringSlice(live.Object, "spec", "filtering", "namespaces", "exclude"); !slices.Equal(exclude, []string{"kube-system"}) {
		t.Errorf("spec was changed: %v", live.Object["spec"])
	}
	// Its deletion takes the list back, and leaves the rest.
	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
	must(t, w.admin.Delete(t.Context(), w.sync()))
	w.gone()
	if live := w.auditConfig("mondoo-client"); live == nil || len(w.entries("mondoo-client")) != 0 {
		t.Errorf("after deletion: %v", live)
	}
	if w.secret(tokenSecret("eu")) != nil {
		t.Error("the Secret is still there")
	}
}

// gone waits until the AuditSync is deleted.
func (w *world) gone() {
	w.Helper()
	deadline := time.Now().Add(patience)
	for {
		var list v1alpha1.AuditSyncList
		must(w.T, w.admin.List(w.Context(), &list, client.InNamespace(w.namespace)))
		if len(list.Items) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("the AuditSync is still there: %+v", list.Items[0].Status.Conditions)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestDeletionPolicies(t *testing.T) {
	for _, policy := range []v1alpha1.DeletionPolicy{v1alpha1.DeletionOrphan, v1alpha1.DeletionDelete} {
		t.Run(string(policy), func(t *testing.T) {
			w := newWorld(t)
			twoClusters(w, func(s *v1alpha1.AuditSync) { s.Spec.DeletionPolicy = policy })
			must(t, w.admin.Delete(t.Context(), w.sync()))
			w.gone()
			var inventories corev1.ConfigMapList
			must(t, w.admin.List(t.Context(), &inventories, client.InNamespace(w.namespace), client.HasLabels{inventory.Label}))
			left := fmt.Sprint(w.auditConfig("mondoo-client") != nil, w.secret(tokenSecret("eu")) != nil, len(inventories.Items))
			want := map[v1alpha1.DeletionPolicy]string{v1alpha1.DeletionOrphan: "true true 1", v1alpha1.DeletionDelete: "false false 0"}[policy]
			if left != want {
				t.Errorf("audit config, Secret, inventories left: %s, want %s", left, want)
			}
		})
	}
}

// TestAuditConfigLeavesGit moves an audit config out of Git: it must not lose a field, nor be deleted by accident.
func TestAuditConfigLeavesGit(t *testing.T) {
	w := newWorld(t)
	twoClusters(w, nil)
	w.push(nil, "clusters/mondoo-client.yaml")
	w.request()
	if w.auditConfig("mondoo-client") == nil || len(w.entries("mondoo-client")) != 2 {
		t.Fatal("the audit config or its list is gone")
	}
	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.AuditConfig = "mondoo-client" })
	w.push(map[string]string{"clusters/asia.yaml": w.tokenCluster("asia", "")})
	w.request()
	w.eventually("the new cluster", func() bool { return len(w.entries("mondoo-client")) == 3 })
	if name, _, _ := unstructured.NestedString(w.auditConfig("mondoo-client").Object, "spec", "mondooCredsSecretRef", "name"); name != "mondoo-client" {
		t.Error("the audit config has lost spec.mondooCredsSecretRef")
	}
}

// TestChangeOfPlaces has two clusters change places between audit configs, of which one is written twice for that.
func TestChangeOfPlaces(t *testing.T) {
	w := newWorld(t)
	files := func(eu, us string) map[string]string {
		return map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/second.yaml": strings.Replace(auditConfigFile, "name: mondoo-client\nspec", "name: second\nspec", 1),
			"clusters/eu.yaml": w.tokenCluster("eu", "  auditConfig: "+eu+"\n"), "clusters/us.yaml": w.tokenCluster("us", "  auditConfig: "+us+"\n")}
	}
	commit := w.push(files("mondoo-client", "second"))
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(commit)
	commit = w.push(files("second", "mondoo-client"))
	w.request()
	w.untilReady(commit)
	for config, cluster := range map[string]string{"mondoo-client": "us", "second": "eu"} {
		if entries := w.entries(config); len(entries) != 1 || entries[cluster].Name != cluster {
			t.Errorf("%s has %v", config, entries)
		}
	}
}
