package controllers_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

// untilShown waits for what a commit comes to, and expects nothing else on the way but that it is worked on.
func (w *forgeWorld) untilShown(hash string, want ...string) {
	w.Helper()
	answers := func() []string {
		return slices.DeleteFunc(w.posts(hash), func(p string) bool { return p == "muster/production pending is being checked and applied" })
	}
	w.eventually("the statuses of "+hash[:10], func() bool { return len(answers()) >= len(want) })
	got := answers()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		w.Errorf("posted of %s:\n\t%s\nwant\n\t%s", hash[:10], strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// superseded waits until the scans of commits are no longer waited for.
func (w *forgeWorld) superseded(commits ...string) {
	w.Helper()
	for _, hash := range commits {
		w.eventually("the end of "+hash[:10], func() bool { return w.forge.Shown(hash)["muster/production/scan"].State == forge.Error })
	}
}

// reads counts the requests that only read.
func (w *forgeWorld) reads() (n int) {
	for _, r := range w.forge.Requests() {
		if strings.HasPrefix(r, http.MethodGet+" ") {
			n++
		}
	}
	return n
}

// TestStatuses follows a controller from commit to commit: good, broken, mended, ten at once, drift, a forge that hangs, and a
// restart.
func TestStatuses(t *testing.T) {
	t.Parallel()
	w := newForgeWorld(t, forge.Gitea, time.Now)
	w.startController(nil)
	good := w.commit(w.clusterFiles("eu", "us"))
	w.createSync(w.withForge(forge.Gitea))
	w.untilShown(good, "muster/production success 2 clusters applied: 2 added (eu, us), 1 audit config added", "muster/production/drift success in sync",
		"muster/production/scan pending waits for the scan of 2 changed clusters: eu, us")
	w.until("Reported", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionReported).Status == metav1.ConditionTrue
	})

	broken := w.commit(map[string]string{"clusters/bad.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: bad}\nspec: {schedule: nonsense}\n"})
	w.request()
	w.untilShown(broken, "muster/production failure 1 of 3 clusters can't be used: clusters/bad.yaml:4: ", "muster/production/drift success in sync",
		"muster/production/scan pending waits for the scan of 2 clusters: eu, us")
	mended := w.commit(nil, "clusters/bad.yaml")
	w.request()
	w.untilShown(mended, "muster/production success 2 clusters applied", "muster/production/drift success in sync",
		"muster/production/scan pending waits for the scan of 2 clusters: eu, us")

	var ten []string
	for range 9 {
		w.git("commit", "-q", "--allow-empty", "-m", "one of ten")
		ten = append(ten, w.git("rev-parse", "HEAD"))
	}
	last := w.commit(map[string]string{"clusters/asia.yaml": w.tokenCluster("asia", "")})
	w.request()
	w.untilShown(last, "muster/production success 3 clusters applied: 1 added (asia)", "muster/production/drift success in sync",
		"muster/production/scan pending waits for the scan of 1 changed cluster: asia")
	for _, hash := range ten {
		w.shows(hash)
	}

	w.edit(`{"spec":{"kubernetesResources":{"externalClusters":[]}}}`)
	w.untilShown(last, "muster/production success 3 clusters applied: 1 added (asia)", "muster/production/drift success in sync",
		"muster/production/scan pending waits for the scan of 1 changed cluster: asia", "muster/production/drift success drift corrected: mondoo-client: cluster asia: removed by kubectl-edit at ")

	w.forge.AnswerWith(w.forge.Hang)
	hung := w.commit(map[string]string{"clusters/africa.yaml": w.tokenCluster("africa", "")})
	w.request()
	w.untilReady(hung) // while the forge hangs
	w.forge.AnswerWith(nil)
	w.untilShown(hung, "muster/production success 4 clusters applied: 1 added (africa)", "muster/production/drift success in sync",
		"muster/production/scan pending waits for the scan of 1 changed cluster: africa")
	w.superseded(good, broken, mended, last)

	before, reads := len(w.forge.Posts()), w.reads()
	w.stopController()
	w.startController(nil)
	w.request()
	w.eventually("the new process looks", func() bool { return w.reads() > reads })
	w.request()
	if posts := w.forge.Posts()[before:]; len(posts) > 0 {
		t.Errorf("posted again after a restart: %v", posts)
	}
}

// TestStatusesOfReplicas has two replicas and lets the one that leads go: the other repeats nothing, and goes on.
func TestStatusesOfReplicas(t *testing.T) {
	t.Parallel()
	w := newForgeWorld(t, forge.GitHub, time.Now)
	w.grantLease()
	first := w.commit(w.clusterFiles("eu"))
	w.createSync(w.withForge(forge.GitHub))
	stopFirst := w.replica(true, nil)
	w.untilShown(first, "muster/production success 1 cluster applied: 1 added (eu)", "muster/production/drift success in sync",
		"muster/production/scan pending waits for the scan of 1 changed cluster: eu")
	stopSecond := w.replica(true, nil)
	defer func() { stopSecond() }()
	reads := w.reads()
	stopFirst()
	w.eventually("the other replica looks", func() bool { return w.reads() > reads })
	second := w.commit(w.clusterFiles("us"))
	w.request()
	w.untilShown(second, "muster/production success 2 clusters applied: 1 added (us)", "muster/production/drift success in sync",
		"muster/production/scan pending waits for the scan of 1 changed cluster: us")
	w.superseded(first)
	w.untilShown(first, "muster/production success 1 cluster applied: 1 added (eu)", "muster/production/drift success in sync",
		"muster/production/scan pending waits for the scan of 1 changed cluster: eu", "muster/production/scan error superseded by ")
}

// TestForgeSecretIsWatched mends the credentials: no interval has to pass.
func TestForgeSecretIsWatched(t *testing.T) {
	t.Parallel()
	w := newForgeWorld(t, forge.Gitea, time.Now)
	secret := w.secret("fleet-forge")
	secret.Data["token"] = []byte("CANARY-a-wrong-token")
	must(t, w.admin.Update(t.Context(), secret))
	commit := w.commit(w.clusterFiles("eu"))
	w.startController(nil)
	w.createSync(w.withForge(forge.Gitea))
	w.until("the token is refused", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionReported).Reason == "TokenRefused"
	})
	w.untilReady(commit)
	secret.Data["token"] = []byte(forgeToken)
	must(t, w.admin.Update(t.Context(), secret))
	w.untilShown(commit, "muster/production success 1 cluster applied: 1 added (eu)", "muster/production/drift success in sync",
		"muster/production/scan pending ")
	w.until("Reported", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionReported).Status == metav1.ConditionTrue
	})

	// Nothing from the repository may replace it.
	w.push(map[string]string{"clusters/secret.yaml": w.key.Encrypt(t, "secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: fleet-forge, annotations: {muster.dev/adopt: production}}\nstringData: {token: CANARY-of-a-stranger}\n", sealtest.Credentials)})
	status := w.request().Status
	if string(w.secret("fleet-forge").Data["token"]) != forgeToken || !slices.ContainsFunc(status.Problems, func(p v1alpha1.Problem) bool { return p.Code == "secret-in-use" }) {
		t.Errorf("the forge's Secret is not reserved: %+v", status.Problems)
	}

	// Without spec.forge nothing is left of it in the status.
	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Forge = nil })
	w.until("no more reports", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionReported).Type == "" && len(s.Status.PendingRevisions) == 0
	})
}

// echo is a server that repeats what it was sent.
func echo(rw http.ResponseWriter, r *http.Request) {
	forgetest.Status(http.StatusForbidden, `{"message":"no access with `+r.Header.Get("Authorization")+`"}`)(rw, r)
}
