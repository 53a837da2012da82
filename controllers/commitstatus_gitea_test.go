package controllers_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestStatusesOnGitea is the short way through on a real Gitea, for a robot that may do no more than it has to: a good commit, a
// broken one while Gitea is down, a mended one, and a restart. Each status is posted once.
func TestStatusesOnGitea(t *testing.T) {
	t.Parallel()
	const repository = "platform/fleet"
	gitea, err := server.StartGitea(t.Context(), server.GiteaOptions{Dir: t.TempDir()})
	must(t, err)
	defer gitea.Stop() //nolint:errcheck // the test is over
	w := newWorld(t)
	w.url, err = gitea.CreateRepository(t.Context(), repository)
	must(t, err)
	token, err := gitea.CreateUser(t.Context(), "robot", "write:repository")
	must(t, err)
	must(t, gitea.AddCollaborator(t.Context(), repository, "robot", "write"))
	username, password := gitea.Login()
	w.git("remote", "set-url", "origin", strings.Replace(w.url, "://", "://"+username+":"+password+"@", 1))
	w.createSecret("robot", map[string]string{"username": "robot", "password": token})
	shows := func(hash string, want ...string) {
		t.Helper()
		var got []string
		w.eventually("the statuses of "+hash[:10], func() bool {
			got = nil
			statuses, err := gitea.Statuses(t.Context(), repository, hash)
			must(t, err)
			for _, s := range statuses {
				if s.Description != "is being checked and applied" {
					got = append(got, fmt.Sprintf("%s %s %s", s.Context, s.State, s.Description))
				}
			}
			return len(got) >= len(want)
		})
		ok := len(got) == len(want)
		for i := 0; ok && i < len(want); i++ {
			ok = strings.HasPrefix(got[i], want[i])
		}
		if !ok {
			t.Errorf("shown of %s:\n\t%s\nwant\n\t%s", hash[:10], strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	}

	reads := func(hash string) (n int) {
		for _, r := range gitea.Requests() {
			if r.Path == "/api/v1/repos/"+repository+"/commits/"+hash+"/status" {
				n++
			}
		}
		return n
	}

	w.startController(nil)
	good := w.push(w.clusterFiles("eu", "us"))
	w.createSync(func(s *v1alpha1.AuditSync) {
		s.Spec.Source.SecretRef = &v1alpha1.SecretRef{Name: "robot"}
		s.Spec.Forge = &v1alpha1.Forge{Provider: "gitea", SecretRef: v1alpha1.SecretRef{Name: "robot"}}
	})
	w.untilReady(good)
	shows(good, "muster/production success 2 clusters applied: 2 added (eu, us), 1 audit config added", "muster/production/drift success in sync",
		"muster/production/scan pending waits for the scan of 2 changed clusters: eu, us")

	broken := w.push(map[string]string{"clusters/bad.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: bad}\nspec: {schedule: nonsense}\n"})
	w.request()
	shows(broken, "muster/production failure 1 of 3 clusters can't be used: clusters/bad.yaml:4: ", "muster/production/drift success in sync",
		"muster/production/scan pending waits for the scan of 2 clusters: eu, us")
	shows(good, "muster/production success", "muster/production/drift success", "muster/production/scan pending", "muster/production/scan error superseded by "+broken[:10])

	// Gitea goes between the fetch and the report: both were at hand before, so the drift of the broken commit is put right and
	// said as soon as Gitea is back.
	gitea.SetDown(true)
	w.edit(`{"spec":{"kubernetesResources":{"externalClusters":[]}}}`)
	w.until("the forge is down", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionReported).Reason == "Unreachable" && len(w.names("mondoo-client")) == 2
	})
	gitea.SetDown(false)
	w.eventually("drift is told", func() bool {
		statuses, err := gitea.Statuses(t.Context(), repository, broken)
		must(t, err)
		return strings.HasPrefix(statuses[len(statuses)-1].Description, "drift corrected: mondoo-client: cluster eu: removed by kubectl-edit")
	})

	mended := w.push(nil, "clusters/bad.yaml")
	w.request()
	want := []string{"muster/production success 2 clusters applied", "muster/production/drift success in sync", "muster/production/scan pending waits for the scan of 2 clusters: eu, us"}
	shows(mended, want...)
	w.until("Reported", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionReported).Status == metav1.ConditionTrue
	})
	posts, looked := gitea.StatusPosts(repository, mended), reads(mended)
	w.stopController()
	w.startController(nil)
	w.eventually("the new process looks", func() bool { return reads(mended) > looked })
	w.request()
	shows(mended, want...)
	if again := gitea.StatusPosts(repository, mended); again != posts {
		t.Errorf("%d posts for the last commit, %d before the restart", again, posts)
	}
	t.Logf("posts: good %d, broken %d, mended %d", gitea.StatusPosts(repository, good), gitea.StatusPosts(repository, broken), posts)
}
