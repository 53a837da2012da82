package controllers_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

// slowClient does something whenever the reconciler lists Secrets, which is after the fetch and before anything is decided.
type slowClient struct {
	client.Client
	meanwhile func() error
}

func (c slowClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if _, secrets := list.(*corev1.SecretList); secrets {
		if err := c.meanwhile(); err != nil {
			return err
		}
	}
	return c.Client.List(ctx, list, opts...)
}

// clusterFiles are an audit config and clusters.
func (w *world) clusterFiles(names ...string) map[string]string {
	w.Helper()
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}
	for _, name := range names {
		files["clusters/"+name+".yaml"] = w.tokenCluster(name, "")
	}
	return files
}

// reported is the condition Reported.
func (w *world) reported() metav1.Condition {
	w.Helper()
	return condition(w.sync().Status, v1alpha1.ConditionReported)
}

// TestPendingAndSuperseded has commits that take longer than a second: the forge is told that they are worked on, and nothing
// stays pending when another commit comes before there is an answer, though the process dies in between.
func TestPendingAndSuperseded(t *testing.T) {
	for provider, want := range map[forge.Provider]string{
		forge.GitHub: "error", forge.Gitea: "error", forge.GitLab: "canceled",
	} {
		t.Run(string(provider), func(t *testing.T) {
			h := newByHand(t, provider)
			h.createSync(h.withForge(provider))
			slow := func() error {
				h.clock.Step(2 * time.Second)
				h.post()
				return nil
			}
			h.r.Client = slowClient{h.admin, slow}
			first := h.commit(h.clusterFiles("eu"))
			h.reconcile()
			h.shows(first, "muster/production pending is being checked and applied", "muster/production success 1 cluster applied: 1 added (eu)", "muster/production/drift success in sync")
			if pending := h.world.sync().Status.PendingRevisions; len(pending) != 1 {
				t.Errorf("pending %v: the scan's status may come yet", pending)
			}

			second := h.commit(h.clusterFiles("us"))
			ctx, die := context.WithCancel(t.Context())
			h.r.Client = slowClient{h.admin, func() error {
				defer die()
				return slow()
			}}
			h.clock.Step(time.Hour)
			if _, err := h.r.Reconcile(ctx, ctrl.Request{NamespacedName: h.key}); err == nil {
				t.Fatal("the process did not die")
			}
			h.shows(second, "muster/production pending is being checked and applied")
			third := h.commit(h.clusterFiles("asia"))
			h.start()
			h.reconcile()
			h.shows(second, "muster/production pending is being checked and applied",
				"muster/production "+want+" superseded by "+third[:10]+" before there was a result")
			h.shows(third, "muster/production success 3 clusters applied: 2 added (asia, us)", "muster/production/drift success in sync")
			if pending := h.world.sync().Status.PendingRevisions; len(pending) != 0 {
				t.Errorf("pending %v", pending)
			}
		})
	}
}

// TestForgeTroubles has the forge refuse in every way there is. Syncing goes on, the condition says what is wrong, the forge is
// not asked more often than it should be, and once it can be, it shows what it should.
func TestForgeTroubles(t *testing.T) {
	tests := []struct {
		reason   string
		provider forge.Provider
		answer   http.HandlerFunc
		want     string
		// asks is how often the forge may be asked in the hour of trouble.
		asks int
	}{
		{"a token that is not accepted", forge.GitHub, forgetest.Status(http.StatusUnauthorized, `{"message":"Bad credentials"}`), "TokenRefused", 7},
		{"a token that may not write", forge.Gitea, forgetest.Status(http.StatusForbidden, `{"message":"token does not have at least one of required scope(s)"}`), "TokenRefused", 7},
		{"a repository that is not there", forge.GitLab, forgetest.Status(http.StatusNotFound, `{"message":"404 Project Not Found"}`), "RepositoryNotFound", 20},
		{"a secondary rate limit", forge.GitHub, forgetest.Status(http.StatusForbidden, `{"message":"You have exceeded a secondary rate limit."}`, "Retry-After", "1200"), "RateLimited", 4},
		{"a rate limit", forge.GitLab, forgetest.Status(http.StatusTooManyRequests, `Retry later`, "Retry-After", "1800"), "RateLimited", 3},
		{"a server that fails", forge.Gitea, forgetest.Status(http.StatusBadGateway, ``), "Unreachable", 20},
		{"a login page", forge.Gitea, forgetest.Status(http.StatusOK, `<html>`, "Content-Type", "text/html"), "UnexpectedAnswer", 7},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			h := newByHand(t, test.provider)
			h.createSync(func(s *v1alpha1.AuditSync) {
				h.withForge(test.provider)(s)
				s.Spec.Interval.Duration = time.Minute // each sync says anew what is wanted
			})
			h.forge.AnswerWith(test.answer)
			commit := h.commit(h.clusterFiles("eu"))
			h.reconcile()
			h.pass(time.Hour)
			status := h.world.sync().Status
			if c := condition(status, v1alpha1.ConditionReported); c.Status != metav1.ConditionFalse || c.Reason != test.want || c.Message == "" {
				t.Errorf("Reported %s %s: %s", c.Status, c.Reason, c.Message)
			}
			if !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) || len(h.names("mondoo-client")) != 1 {
				t.Error("the sync was held up")
			}
			if asks := len(h.forge.Requests()); asks == 0 || asks > test.asks {
				t.Errorf("asked %d times in an hour", asks)
			}
			h.forge.AnswerWith(nil)
			h.pass(time.Hour)
			h.shows(commit, "muster/production success 1 cluster applied: 1 added (eu)", "muster/production/drift success in sync")
			if c := h.reported(); c.Status != metav1.ConditionTrue {
				t.Errorf("Reported %s %s: %s", c.Status, c.Reason, c.Message)
			}
		})
	}
}

// TestForgeSecret has the credentials missing, of no use, and refused: whoever mends them needs not wait.
func TestForgeSecret(t *testing.T) {
	t.Parallel()
	h := newByHand(t, forge.Gitea)
	must(t, h.admin.Delete(t.Context(), h.secret("fleet-forge")))
	h.createSync(h.withForge(forge.Gitea))
	commit := h.commit(h.clusterFiles("eu"))
	put := func(data map[string]string) {
		t.Helper()
		if old := h.secret("fleet-forge"); old != nil {
			must(t, h.admin.Delete(t.Context(), old))
		}
		h.createSecret("fleet-forge", data)
	}
	steps := []struct {
		reason string
		secret map[string]string
		want   string
	}{
		{"there is none", nil, "SecretMissing"},
		{"it has no credentials", map[string]string{"something": "else"}, "ForgeInvalid"},
		{"it has a token with a line break", map[string]string{"token": "CANARY-a\nb"}, "ForgeInvalid"},
		{"it has another token", map[string]string{"token": "CANARY-another"}, "TokenRefused"},
		{"it is right", map[string]string{"token": forgeToken}, "Succeeded"},
	}
	for _, step := range steps {
		if step.secret != nil {
			put(step.secret)
		}
		h.reconcile() // as the watch of Secrets has it
		if c := h.reported(); c.Reason != step.want || strings.Contains(c.Message, "CANARY") {
			t.Errorf("%s: Reported %s: %s", step.reason, c.Reason, c.Message)
		}
	}
	h.shows(commit, "muster/production success 1 cluster applied: 1 added (eu)", "muster/production/drift success in sync")
}

// TestTooManyStatuses has one status change all the time: it is posted some ten times and then each five minutes, as it is by
// then, and not at all any more when GitHub has its thousand.
func TestTooManyStatuses(t *testing.T) {
	t.Parallel()
	h := newByHand(t, forge.GitHub)
	h.createSync(func(s *v1alpha1.AuditSync) {
		h.withForge(forge.GitHub)(s)
		s.Spec.Drift = v1alpha1.DriftReport
	})
	commit := h.commit(h.clusterFiles("eu"))
	h.reconcile()
	edits := 0
	fight := func(minutes int) {
		for range minutes {
			edits++
			object := h.auditConfig("mondoo-client")
			list, err := mondoo.Entries(object.Object)
			must(t, err)
			list[0]["schedule"] = fmt.Sprintf("%d %d * * *", edits%60, edits/60)
			must(t, mondoo.SetEntries(object.Object, list))
			must(t, h.admin.Update(t.Context(), object, client.FieldOwner(fmt.Sprintf("editor-%d", edits))))
			h.reconcile()
			h.pass(time.Minute)
		}
	}
	drifts := func() (n int) {
		for _, p := range h.posts(commit) {
			if strings.HasPrefix(p, "muster/production/drift failure") {
				n++
			}
		}
		return n
	}
	fight(40)
	if n := drifts(); n < 15 || n > 18 { // ten at once and one each five minutes, of which the first status was one
		t.Errorf("%d posts in 40 minutes", n)
	}

	way, err := connect.To(connect.Config{Provider: forge.GitHub, URL: h.forge.GitURL(), APIURL: h.forge.URL(), Secret: map[string][]byte{"token": []byte(forgeToken)},
		Options: forge.Options{Now: h.clock.Now}})
	must(t, err)
	for i := len(h.posts(commit)); i < 1001; i++ { // one of them is not about drift
		if i%70 == 0 {
			h.clock.Step(time.Minute)
		}
		must(t, way.SetStatus(t.Context(), forge.Commit{Hash: commit}, forge.Status{Context: "muster/production/drift", State: forge.Pending, Description: fmt.Sprint(i)}))
	}
	h.pass(time.Hour)
	fight(15)
	before := len(h.forge.Requests())
	h.pass(time.Hour)
	if c := h.reported(); c.Reason != "Rejected" || !strings.Contains(c.Message, "more than 1000 statuses") {
		t.Errorf("Reported %s: %s", c.Reason, c.Message)
	}
	if after := h.forge.Requests()[before:]; len(after) > 0 {
		t.Errorf("requests after the thousandth: %v", after)
	}
	next := h.commit(map[string]string{"README.md": "Fleet\n"})
	h.pass(2 * time.Hour)
	if got := h.posts(next); len(got) != 2 || !strings.HasPrefix(got[0], "muster/production success") || !strings.Contains(got[1], "editor-55") {
		t.Errorf("posted of the next commit: %v", got)
	}
	if c := h.reported(); c.Status != metav1.ConditionTrue {
		t.Errorf("Reported %s: %s", c.Reason, c.Message)
	}
}

// TestUnverifiedCommit answers for a commit that may not be applied.
func TestUnverifiedCommit(t *testing.T) {
	t.Parallel()
	h := newByHand(t, forge.Gitea)
	h.createSync(h.withForge(forge.Gitea))
	good := h.commit(h.clusterFiles("eu"))
	h.reconcile()
	h.createSecret("signers", map[string]string{"ada.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBV3rsXWKxhxa5yI0aN3fOWnsUzqvzSbTZ+OVRlLQ5cX ada"})
	h.changeSync(func(s *v1alpha1.AuditSync) {
		s.Spec.Source.Verify = &v1alpha1.Verify{SecretRef: v1alpha1.SecretRef{Name: "signers"}}
	})
	unsigned := h.commit(h.clusterFiles("us"))
	h.reconcile()
	h.pass(2 * time.Hour)
	h.shows(good, "muster/production success 1 cluster applied: 1 added (eu)", "muster/production/drift success in sync")
	h.shows(unsigned, "muster/production failure ")
}

// TestForgeContext keeps two AuditSyncs of one repository apart.
func TestForgeContext(t *testing.T) {
	h := newByHand(t, forge.Gitea)
	h.createSync(func(s *v1alpha1.AuditSync) {
		h.withForge(forge.Gitea)(s)
		s.Spec.Forge.Context = "muster/eu-1:production"
	})
	commit := h.commit(h.clusterFiles("eu"))
	h.reconcile()
	h.shows(commit, "muster/eu-1:production success 1 cluster applied: 1 added (eu)", "muster/eu-1:production/drift success in sync")
	if got, want := h.forge.Posts()[0].TargetURL, "https://muster.example.com/"+h.namespace+"/production?at="+commit; got != want {
		t.Errorf("target URL %s, want %s", got, want)
	}
}
