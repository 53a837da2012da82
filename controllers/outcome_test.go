package controllers_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/judge"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

var outcomes = flag.Int("outcomes", 15, "random pull requests to judge and to merge, on a real API server")

// TestThePlanIsTheOutcome: what the check of a pull request plans is what the controller writes after the merge, in the API
// server's own log: not one write more, not one less.
func TestThePlanIsTheOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	random := rand.New(rand.NewPCG(3, 4))
	tree := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}
	for i := range 4 {
		tree[pullFile(i)] = w.pullCluster(random, i)
	}
	head := w.push(tree)
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.ScanOnChange.Enabled = new(false) })
	w.request()
	story := w.story()
	if subject, err := story.Subject(t.Context(), client.ObjectKeyFromObject(w.sync())); subject != nil || err != nil {
		t.Fatalf("pull requests are judged before a sync is reported: %v, %v", subject, err)
	}
	j := &judge.Judge{}
	planned, held := 0, 0
	for n := range *outcomes {
		story.Rebase(w.sync())
		subject, err := story.Subject(t.Context(), client.ObjectKeyFromObject(w.sync()))
		must(t, err)
		merged := editedTree(w, random, tree)
		result, err := j.Review(t.Context(), judge.Request{Name: fmt.Sprint("pull request ", n), Base: filesOf(tree), Merged: filesOf(merged), Changes: changesOf(tree, merged),
			BaseCommit: head, HeadCommit: strings.Repeat("a", 40), Path: "./clusters", Trust: review.Full, Options: subject.Options, Opener: subject.Opener,
			Redactor: subject.Redactor, Live: &subject.Live, Policy: subject.Policy, Now: time.Now()})
		must(t, err)
		mark := w.mark()
		before := head
		head = w.push(merged, removedFrom(tree, merged)...)
		w.request()
		tree = merged
		want := []string{}
		if result != nil {
			want = writesOf(result.Plan)
			planned, held = planned+len(want), held+result.Plan.Held
		}
		if got := w.writesSince(mark); !slices.Equal(got, want) {
			t.Fatalf("%d, %s to %s:\nplanned %v\nwritten %v\nrequests %v", n, before[:7], head[:7], want, got, w.requests(mark))
		}
	}
	if t.Logf("%d pull requests, %d writes, %d held removals, 0 differences", *outcomes, planned, held); planned < *outcomes {
		t.Error("the pull requests change too little")
	}
}

// story is what the check of pull requests takes from the reconciler, for an AuditSync that has it turned on.
func (w *world) story() *controllers.Reconciler {
	w.Helper()
	reader := interceptor.NewClient(w.watching(), interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
		err := c.Get(ctx, key, obj, opts...)
		if audit, ok := obj.(*v1alpha1.AuditSync); ok {
			audit.Spec.Forge = &v1alpha1.Forge{PullRequests: true}
		}
		return err
	}})
	return &controllers.Reconciler{Client: reader, Live: reader, Clock: clock.RealClock{}, Keys: keys.NewRemote(time.Now)}
}

func (w *world) watching() client.WithWatch {
	w.Helper()
	c, err := client.NewWithWatch(plane.Config(), client.Options{Scheme: w.admin.Scheme()})
	must(w.T, err)
	return c
}

// writesOf lists what a plan writes, once for each object.
func writesOf(p *plan.Plan) []string {
	var list []string
	for _, i := range slices.Concat(p.Before, p.After) {
		list = append(list, "configmaps "+inventory.ConfigMapName(i.Sync, i.AuditConfig))
	}
	for _, s := range p.Secrets {
		list = append(list, "secrets "+s.Name)
	}
	for _, c := range p.Configs {
		list = append(list, "mondooauditconfigs "+c.Name)
	}
	for _, gone := range p.Delete.Secrets {
		list = append(list, "secrets "+gone.Name)
	}
	for _, gone := range p.Delete.AuditConfigs {
		list = append(list, "mondooauditconfigs "+gone.Name)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// writesSince lists the objects that the controller has written since the mark, each once.
func (w *world) writesSince(mark server.Mark) []string {
	w.Helper()
	list := []string{}
	for _, r := range w.requests(mark) {
		if r.Writes() && slices.Contains([]string{"configmaps", "secrets", "mondooauditconfigs"}, r.Resource) {
			list = append(list, r.Resource+" "+r.Name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func pullFile(i int) string { return fmt.Sprintf("clusters/c%d.yaml", i) }

// pullCluster is the file of a cluster: with a token, without one, or broken.
func (w *world) pullCluster(random *rand.Rand, i int) string {
	w.Helper()
	name := fmt.Sprint("c", i)
	switch random.IntN(6) {
	case 0:
		return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: " + name + "}\nspec: {schedule: never}\n"
	case 1, 2:
		return w.tokenCluster(name, fmt.Sprintf("  schedule: '%d * * * *'\n", random.IntN(60)))
	}
	return fmt.Sprintf("apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: %s}\nspec:\n  schedule: '%d 3 * * *'\n  workloadIdentity: {provider: gke, gke: {projectId: p-123456, clusterName: c, clusterLocation: europe-west1, googleServiceAccount: s@p-123456.iam.gserviceaccount.com}}\n",
		name, random.IntN(60))
}

// editedTree changes, adds and removes some files.
func editedTree(w *world, random *rand.Rand, tree map[string]string) map[string]string {
	edited := maps.Clone(tree)
	for range 1 + random.IntN(3) {
		i := random.IntN(8)
		if _, found := edited[pullFile(i)]; found && random.IntN(3) == 0 {
			delete(edited, pullFile(i))
			continue
		}
		edited[pullFile(i)] = w.pullCluster(random, i)
	}
	return edited
}

func removedFrom(before, after map[string]string) (names []string) {
	for name := range before {
		if _, found := after[name]; !found {
			names = append(names, name)
		}
	}
	return names
}

func filesOf(tree map[string]string) fstest.MapFS {
	files := fstest.MapFS{}
	for name, content := range tree {
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return files
}

func changesOf(before, after map[string]string) (list []judge.Change) {
	for name, content := range after {
		if old, found := before[name]; old != content || !found {
			list = append(list, judge.Change{Path: name, Before: found, After: true})
		}
	}
	for _, name := range removedFrom(before, after) {
		list = append(list, judge.Change{Path: name, Before: true})
	}
	return list
}
