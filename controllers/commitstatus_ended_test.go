package controllers_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

const begun = "muster/production pending is being checked and applied"

// leftPending has a commit begun and not answered: what was to answer has ended in between. The statuses go on.
func (h *byHand) leftPending() (commit string) {
	h.Helper()
	h.createSync(h.withForge(h.provider))
	h.commit(h.clusterFiles("eu"))
	h.reconcile()
	commit = h.commit(h.clusterFiles("us"))
	ctx, die := context.WithCancel(h.Context())
	h.r.Client = slowClient{h.admin, func() error {
		defer die()
		h.clock.Step(2 * time.Second)
		h.post()
		return nil
	}}
	h.clock.Step(time.Hour)
	if _, err := h.r.Reconcile(ctx, ctrl.Request{NamespacedName: h.key}); err == nil {
		h.Fatal("the reconcile did not end")
	}
	h.r.Client = h.admin
	h.shows(commit, begun)
	if at := h.world.sync().Status.PendingAt; at == nil || at.URL != h.url || at.Context != "muster/production" {
		h.Errorf("pending at %+v", at)
	}
	return commit
}

// told are the events of a reason of the present process.
func (h *byHand) told(reason string) (notes []string) {
	for {
		select {
		case e := <-h.events.Events:
			if strings.Contains(e, " "+reason+" ") {
				notes = append(notes, e)
			}
		default:
			return notes
		}
	}
}

// gone says whether the AuditSync is deleted.
func (h *byHand) gone() bool {
	h.Helper()
	err := h.admin.Get(h.Context(), h.key, &v1alpha1.AuditSync{})
	if !apierrors.IsNotFound(err) {
		must(h.T, err)
	}
	return err != nil
}

// TestPendingIsEnded has a commit pending when its AuditSync goes, pauses or reports elsewhere: what is pending is ended, once,
// with the cause, by the process that posted it and by one that comes after it.
func TestPendingIsEnded(t *testing.T) {
	h := func(t *testing.T, restart bool) (*byHand, string) {
		t.Parallel()
		h := newByHand(t, forge.Gitea)
		commit := h.leftPending()
		if restart {
			h.start()
		}
		return h, commit
	}
	for _, restart := range []bool{false, true} {
		suffix := map[bool]string{false: "", true: " after a restart"}[restart]
		t.Run("suspended"+suffix, func(t *testing.T) {
			h, commit := h(t, restart)
			h.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Suspend = true })
			h.reconcile()
			h.shows(commit, begun, "muster/production error the AuditSync was suspended before there was a result")
			h.nothingPending()
			h.quietFor(2 * time.Hour)
			h.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Suspend = false })
			h.reconcile()
			h.shows(commit, begun, "muster/production error the AuditSync was suspended before there was a result",
				"muster/production success 2 clusters applied: 1 added (us)", "muster/production/drift success in sync")
		})
		t.Run("deleted"+suffix, func(t *testing.T) {
			h, commit := h(t, restart)
			must(t, h.admin.Delete(t.Context(), h.world.sync()))
			h.reconcile()
			h.shows(commit, begun, "muster/production error the AuditSync was deleted before there was a result")
			if !h.gone() {
				t.Error("it is still there")
			}
		})
		t.Run("another name"+suffix, func(t *testing.T) {
			h, commit := h(t, restart)
			h.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Forge.Context = "muster/eu" })
			h.reconcile()
			h.shows(commit, begun, "muster/production error reported as muster/eu from now on",
				"muster/eu success 2 clusters applied: 1 added (us)", "muster/eu/drift success in sync")
			h.quietFor(2 * time.Hour)
		})
		t.Run("another repository"+suffix, func(t *testing.T) {
			h, commit := h(t, restart)
			h.moveRepository()
			h.reconcile()
			h.shows(commit, begun, "muster/production error the AuditSync was pointed at another repository or forge before there was a result")
			h.nothingPending()
		})
		t.Run("another forge"+suffix, func(t *testing.T) {
			h, commit := h(t, restart)
			other := forgetest.Start(t, forge.GitLab, forgetest.Options{Repository: "platform/" + h.namespace, Token: forgeToken, Now: h.clock.Now})
			other.AddCommit(commit)
			h.changeSync(func(s *v1alpha1.AuditSync) {
				s.Spec.Forge.Provider, s.Spec.Forge.APIURL = "gitlab", other.URL()
			})
			before := len(h.forge.Requests())
			h.reconcile()
			if posts := other.Posts(); len(posts) != 2 || posts[0].State != forge.Success {
				t.Errorf("posted at the new forge: %+v", posts)
			}
			h.endedUnless(restart, commit, before, "muster/production error the AuditSync was pointed at another repository or forge before there was a result")
		})
		t.Run("no forge"+suffix, func(t *testing.T) {
			h, commit := h(t, restart)
			h.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Forge = nil })
			must(t, h.admin.Delete(t.Context(), h.secret("fleet-forge")))
			before := len(h.forge.Requests())
			h.reconcile()
			h.endedUnless(restart, commit, before, "muster/production error reports were turned off before there was a result")
			h.quietFor(2 * time.Hour)
		})
	}
}

// TestPlaceChangesMeanwhile changes where statuses are shown while a commit is worked on, and has the process die then: nothing is begun in
// the name of one place and noted as pending in another, where nobody would find it.
func TestPlaceChangesMeanwhile(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(map[bool]string{false: "the process goes on", true: "the process dies"}[restart], func(t *testing.T) {
			h := newByHand(t, forge.Gitea)
			h.createSync(h.withForge(forge.Gitea))
			h.commit(h.clusterFiles("eu"))
			h.reconcile()
			commit := h.commit(h.clusterFiles("us"))
			ctx, die := context.WithCancel(t.Context())
			defer die()
			h.r.Client = slowClient{h.admin, func() error {
				h.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Forge.Context = "muster/eu" })
				h.clock.Step(2 * time.Second)
				h.post()
				if restart {
					die()
				}
				return nil
			}}
			h.clock.Step(time.Hour)
			if _, err := h.r.Reconcile(ctx, ctrl.Request{NamespacedName: h.key}); (err != nil) != restart {
				t.Fatal(err)
			}
			h.post()
			h.r.Client = h.admin
			if restart {
				h.start()
			}
			h.reconcile()
			last := map[string]forge.State{}
			for _, post := range h.forge.Posts() {
				if post.Commit == commit {
					last[post.Context] = post.State
				}
			}
			for name, state := range last {
				if state == forge.Pending {
					t.Errorf("%s stays pending", name)
				}
			}
			if last["muster/eu"] != forge.Success {
				t.Errorf("shown: %v", last)
			}
			h.nothingPending()
		})
	}
}

// endedUnless expects what is pending to be ended, or, where the credentials for it are not known any more, that this is told and
// that nothing is sent to where it is shown.
func (h *byHand) endedUnless(unknown bool, commit string, requests int, want string) {
	h.Helper()
	h.nothingPending()
	told := h.told("LeftPending")
	if !unknown {
		h.shows(commit, begun, want)
		if len(told) > 0 {
			h.Errorf("told %q", told)
		}
		return
	}
	h.shows(commit, begun)
	if len(told) != 1 || !strings.Contains(told[0], commit[:10]) || !strings.Contains(told[0], h.url) {
		h.Errorf("told %q", told)
	}
	if sent := h.forge.Requests()[requests:]; len(sent) > 0 {
		h.Errorf("credentials of another server were sent: %v", sent)
	}
}

func (h *byHand) nothingPending() {
	h.Helper()
	if s := h.world.sync().Status; len(s.PendingRevisions) > 0 || s.PendingAt != nil {
		h.Errorf("pending %v at %+v", s.PendingRevisions, s.PendingAt)
	}
}

// quietFor reconciles, lets time pass, and expects no request.
func (h *byHand) quietFor(d time.Duration) {
	h.Helper()
	before := len(h.forge.Requests())
	h.reconcile()
	h.pass(d)
	if sent := h.forge.Requests()[before:]; len(sent) > 0 {
		h.Errorf("asked again: %v", sent)
	}
}

// moveRepository has the AuditSync follow another repository of the same server.
func (h *byHand) moveRepository() {
	h.Helper()
	url, err := gitServer.CreateRepository(h.Context(), "platform/other-"+h.namespace)
	must(h.T, err)
	h.git("push", "-q", strings.Replace(url, "://", "://muster:"+gitPassword+"@", 1), "HEAD:main")
	h.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Source.URL = url })
}

// TestPendingCannotBeEnded has the forge fail when what is pending is to be ended. While something waits for that it is given up
// soon, and told; a suspended AuditSync goes on until the forge is back.
func TestPendingCannotBeEnded(t *testing.T) {
	down := forgetest.Status(http.StatusServiceUnavailable, `{"message":"down"}`)
	refuses := forgetest.Status(http.StatusUnauthorized, `{"message":"no access with `+forgeToken+`"}`)
	t.Run("deleted, and the forge is down", func(t *testing.T) {
		t.Parallel()
		h := newByHand(t, forge.GitHub)
		h.leftPending()
		h.forge.AnswerWith(down)
		must(t, h.admin.Delete(t.Context(), h.world.sync()))
		h.reconcile()
		if h.gone() {
			t.Fatal("it was not tried again")
		}
		h.pass(time.Minute)
		if told := h.told("LeftPending"); !h.gone() || len(told) != 1 {
			t.Errorf("gone: %t; told %q", h.gone(), told)
		}
	})
	t.Run("deleted, and the token is refused", func(t *testing.T) {
		t.Parallel()
		h := newByHand(t, forge.GitLab)
		h.leftPending()
		h.forge.AnswerWith(refuses)
		must(t, h.admin.Delete(t.Context(), h.world.sync()))
		h.reconcile()
		if told := h.told("LeftPending"); !h.gone() || len(told) != 1 || strings.Contains(told[0], forgeToken) {
			t.Errorf("gone: %t; told %q", h.gone(), told)
		}
	})
	t.Run("deleted with its Secret", func(t *testing.T) {
		t.Parallel()
		h := newByHand(t, forge.Gitea)
		commit := h.leftPending()
		must(t, h.admin.Delete(t.Context(), h.secret("fleet-forge")))
		must(t, h.admin.Delete(t.Context(), h.world.sync()))
		h.reconcile()
		h.shows(commit, begun, "muster/production error the AuditSync was deleted before there was a result")
		if !h.gone() {
			t.Error("it is still there")
		}
	})
	t.Run("moved, and the forge is down for a moment", func(t *testing.T) {
		t.Parallel()
		h := newByHand(t, forge.Gitea)
		commit := h.leftPending()
		h.forge.AnswerWith(down)
		h.moveRepository()
		h.reconcile()
		h.forge.AnswerWith(nil)
		h.clock.Step(h.statusDue.Sub(h.clock.Now()))
		h.post()
		h.shows(commit, begun, "muster/production error the AuditSync was pointed at another repository or forge before there was a result")
		h.nothingPending()
	})
	t.Run("suspended, and the forge is down for hours", func(t *testing.T) {
		t.Parallel()
		h := newByHand(t, forge.GitLab)
		commit := h.leftPending()
		h.forge.AnswerWith(down)
		before := len(h.forge.Requests())
		h.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Suspend = true })
		h.reconcile()
		h.pass(3 * time.Hour)
		if asked := len(h.forge.Requests()) - before; asked == 0 || asked > 60 {
			t.Errorf("asked %d times in three hours", asked)
		}
		h.forge.AnswerWith(nil)
		h.pass(time.Hour)
		h.shows(commit, begun, "muster/production canceled the AuditSync was suspended before there was a result")
		h.quietFor(time.Hour)
	})
	t.Run("deleted, and the forge hangs", func(t *testing.T) {
		t.Parallel()
		w := newForgeWorld(t, forge.Gitea, time.Now)
		commit := w.commit(w.clusterFiles("eu"))
		w.startController(nil)
		w.createSync(w.withForge(forge.Gitea))
		w.untilShown(commit, "muster/production success", "muster/production/drift success", "muster/production/scan pending ")
		w.forge.AnswerWith(w.forge.Hang)
		must(t, w.admin.Delete(t.Context(), w.sync()))
		w.untilDeleted()
	})
}

// TestScanPendingIsEnded has the real controller end the status that users look at the longest, and begin anew.
func TestScanPendingIsEnded(t *testing.T) {
	t.Parallel()
	w := newForgeWorld(t, forge.Gitea, time.Now)
	commit := w.commit(w.clusterFiles("eu"))
	w.startController(nil)
	w.createSync(w.withForge(forge.Gitea))
	want := []string{"muster/production success 1 cluster applied: 1 added (eu)", "muster/production/drift success in sync",
		"muster/production/scan pending waits for the scan of 1 changed cluster: eu"}
	w.untilShown(commit, want...)
	w.until("Reported", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionReported).Status == metav1.ConditionTrue
	})
	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Suspend = true })
	want = append(want, "muster/production/scan error the AuditSync was suspended before there was a result")
	w.untilShown(commit, want...)
	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Suspend = false })
	want = append(want, "muster/production/scan pending waits for the scan of 1 changed cluster: eu")
	w.untilShown(commit, want...)
	must(t, w.admin.Delete(t.Context(), w.sync()))
	want = append(want, "muster/production/scan error the AuditSync was deleted before there was a result")
	w.untilDeleted()
	w.shows(commit, want...)
}

// untilDeleted waits until the AuditSync is gone.
func (w *world) untilDeleted() {
	w.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := w.admin.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: syncName}, &v1alpha1.AuditSync{})
		if apierrors.IsNotFound(err) {
			return
		}
		must(w.T, err)
		if time.Now().After(deadline) {
			w.Fatalf("the AuditSync is still there after %s", patience)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
