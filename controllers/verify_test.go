package controllers_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// newSigner makes an SSH key pair, and returns the path of the private key and the public one's content.
func newSigner(w *world) (path, public string) {
	w.Helper()
	path = filepath.Join(w.TempDir(), "key")
	if out, err := exec.CommandContext(w.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", path).CombinedOutput(); err != nil {
		w.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	content, err := os.ReadFile(path + ".pub")
	must(w.T, err)
	return path, string(content)
}

// sign has git sign what is committed from now on; without a key, it doesn't.
func (w *world) sign(key string) {
	w.Helper()
	w.git("config", "gpg.format", "ssh")
	w.git("config", "user.signingkey", key)
	w.git("config", "commit.gpgsign", map[bool]string{true: "true", false: "false"}[key != ""])
}

// untilRefused asks for a sync and waits until it is refused with this reason and these words.
func (w *world) untilRefused(t *testing.T, reason string, words ...string) {
	t.Helper()
	w.changeSync(func(s *v1alpha1.AuditSync) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, v1alpha1.AnnotationReconcile, t.Name())
	})
	sync := w.until(reason, func(s *v1alpha1.AuditSync) bool {
		c := condition(s.Status, v1alpha1.ConditionFetched)
		return s.Status.ObservedGeneration == s.Generation && c.Status == metav1.ConditionFalse && c.Reason == reason && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(c.Message, word) })
	})
	if ready := condition(sync.Status, v1alpha1.ConditionReady); ready.Status != metav1.ConditionFalse || ready.Reason != reason {
		t.Errorf("Ready %+v", ready)
	}
	if stalled := condition(sync.Status, v1alpha1.ConditionStalled); reason == "Unverified" && stalled.Status != metav1.ConditionTrue {
		t.Errorf("Stalled %+v", stalled)
	}
}

func (w *world) wantEntries(t *testing.T, names ...string) {
	t.Helper()
	if got := w.names("mondoo-client"); !slices.Equal(got, names) {
		t.Errorf("entries %v, want %v", got, names)
	}
}

func (w *world) replaceSecret(t *testing.T, name, field, value string) {
	t.Helper()
	secret := w.secret(name)
	secret.Data = map[string][]byte{field: []byte(value)}
	must(t, w.admin.Update(t.Context(), secret))
}

func TestVerify(t *testing.T) {
	w := newWorld(t)
	ada, adaPublic := newSigner(w)
	grace, gracePublic := newSigner(w)
	w.createSecret("signers", map[string]string{"ada.pub": adaPublic})
	unsigned := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) {
		s.Spec.Source.Verify = &v1alpha1.Verify{SecretRef: v1alpha1.SecretRef{Name: "signers"}}
	})
	var signed, last string
	t.Run("an unsigned commit is refused", func(t *testing.T) {
		w.untilRefused(t, "Unverified", unsigned, "is not signed", "nothing is applied")
		if w.auditConfig("mondoo-client") != nil || w.secret(tokenSecret("eu")) != nil {
			t.Error("something was applied")
		}
	})
	t.Run("a signed one is applied", func(t *testing.T) {
		w.sign(ada)
		signed = w.push(nil)
		w.untilAfterRequest(signed)
		w.wantEntries(t, "eu")
	})
	t.Run("an unsigned one changes nothing", func(t *testing.T) {
		w.sign("")
		last = w.push(map[string]string{"clusters/us.yaml": w.tokenCluster("us", "")})
		w.untilRefused(t, "Unverified", last, "is not signed", "; main@sha1:"+signed+" stays applied")
		w.wantEntries(t, "eu")
	})
	t.Run("meanwhile drift is put right from the last good one", func(*testing.T) {
		must(t, w.admin.Delete(t.Context(), w.secret(tokenSecret("eu"))))
		w.eventually("the Secret is back", func() bool { return w.secret(tokenSecret("eu")) != nil })
	})
	t.Run("nor does it after a restart, whatever else changes", func(t *testing.T) {
		w.stopController()
		w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.ForeignClusters = v1alpha1.ForeignRemove })
		w.startController(nil)
		w.untilRefused(t, "Unverified", last)
		w.wantEntries(t, "eu")
	})
	t.Run("nor does a stranger's", func(t *testing.T) {
		w.sign(grace)
		last = w.push(nil)
		w.untilRefused(t, "Unverified", last, "SSH key SHA256:", "not one of the trusted public keys", signed)
		w.wantEntries(t, "eu")
	})
	t.Run("until the stranger's key is there", func(t *testing.T) {
		w.replaceSecret(t, "signers", "grace.pub", gracePublic)
		w.untilReady(last)
		w.wantEntries(t, "eu", "us")
	})
	t.Run("and nothing is rendered from it once it is gone", func(t *testing.T) {
		w.replaceSecret(t, "signers", "ada.pub", adaPublic)
		w.untilRefused(t, "Unverified", last, "; main@sha1:"+last+" stays applied")
		w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.AuditConfig, s.Spec.Path = "other", "./elsewhere" })
		w.untilRefused(t, "Unverified", last)
		if reason := condition(w.sync().Status, v1alpha1.ConditionRendered).Reason; reason != "Pending" {
			t.Errorf("Rendered %s", reason)
		}
		w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.AuditConfig, s.Spec.Path = "", "./clusters" })
		w.wantEntries(t, "eu", "us")
	})
	t.Run("a private key in the Secret", func(t *testing.T) {
		private, err := os.ReadFile(ada)
		must(t, err)
		w.replaceSecret(t, "signers", "ada.pub", string(private))
		w.untilRefused(t, "VerifyKeysInvalid", "Secret signers", "ada.pub contains a private key", last)
		w.wantEntries(t, "eu", "us")
	})
	t.Run("no Secret", func(t *testing.T) {
		must(t, w.admin.Delete(t.Context(), w.secret("signers")))
		w.untilRefused(t, "SecretMissing", "spec.source.verify.secretRef", last)
		w.wantEntries(t, "eu", "us")
	})
	t.Run("without verify everything is applied", func(t *testing.T) {
		w.sign("")
		last = w.push(map[string]string{"clusters/asia.yaml": w.tokenCluster("asia", "")})
		w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Source.Verify = nil })
		w.untilReady(last)
		w.wantEntries(t, "asia", "eu", "us")
	})
}

// TestVerifyIsAddedLater asks for signatures when an unsigned commit has been applied already.
func TestVerifyIsAddedLater(t *testing.T) {
	w := newWorld(t)
	commit := twoClusters(w, nil)
	_, public := newSigner(w)
	w.createSecret("signers", map[string]string{"ada.pub": public})
	w.changeSync(func(s *v1alpha1.AuditSync) {
		s.Spec.Source.Verify = &v1alpha1.Verify{SecretRef: v1alpha1.SecretRef{Name: "signers"}}
	})
	w.untilRefused(t, "Unverified", commit, "is not signed", "; main@sha1:"+commit+" stays applied")
	w.wantEntries(t, "eu", "us")
}

// TestVerifyMonotonic replays an older commit whose signature is good: by a force-push, and as a Git server that stopped in time does.
func TestVerifyMonotonic(t *testing.T) {
	w := newWorld(t)
	ada, public := newSigner(w)
	w.createSecret("signers", map[string]string{"ada.pub": public})
	w.sign(ada)
	old := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", ""), "clusters/us.yaml": w.tokenCluster("us", "")})
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) {
		s.Spec.Source.Verify = &v1alpha1.Verify{SecretRef: v1alpha1.SecretRef{Name: "signers"}, Monotonic: true}
	})
	w.untilReady(old)
	w.push(map[string]string{"clusters/asia.yaml": w.tokenCluster("asia", "")})
	last := w.push(nil, "clusters/us.yaml")
	w.untilAfterRequest(last)
	w.wantEntries(t, "asia", "eu")

	set := func(monotonic bool) {
		w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Source.Verify.Monotonic = monotonic })
	}
	t.Run("an older commit is refused", func(t *testing.T) {
		w.git("push", "--quiet", "--force", "origin", old+":refs/heads/main")
		w.untilRefused(t, "NotDescendant", "main@sha1:"+old, "not a descendant of "+last, "push a commit that reverts it",
			"spec.source.verify.monotonic", "; main@sha1:"+last+" stays applied")
		w.wantEntries(t, "asia", "eu")
		if applied := w.sync().Status.LastAppliedRevision; applied != "main@sha1:"+last {
			t.Errorf("lastAppliedRevision %s", applied)
		}
	})
	t.Run("drift is corrected meanwhile", func(*testing.T) {
		must(t, w.admin.Delete(t.Context(), w.secret(tokenSecret("eu"))))
		w.eventually("the Secret is back", func() bool { return w.secret(tokenSecret("eu")) != nil })
	})
	t.Run("after a restart too, with an empty cache", func(t *testing.T) {
		w.stopController()
		must(t, os.RemoveAll(w.cacheDir))
		w.startController(nil)
		w.untilRefused(t, "NotDescendant", old, last)
		w.wantEntries(t, "asia", "eu")
	})
	t.Run("a commit that builds on the last is applied", func(t *testing.T) {
		w.git("push", "--quiet", "--force", "origin", last+":refs/heads/main")
		w.git("reset", "--quiet", "--hard", last)
		w.git("revert", "--no-edit", last)
		last = w.push(nil)
		w.untilAfterRequest(last)
		w.wantEntries(t, "asia", "eu", "us")
	})
	t.Run("with monotonic: false the older one is applied, and then it is the last", func(t *testing.T) {
		w.git("push", "--quiet", "--force", "origin", old+":refs/heads/main")
		w.untilRefused(t, "NotDescendant", old, last)
		set(false)
		w.untilReady(old)
		w.wantEntries(t, "eu", "us")
		set(true)
		w.untilReady(old)
	})
	t.Run("a snapshot from before it was set is not applied either", func(t *testing.T) {
		set(false)
		w.git("push", "--quiet", "--force", "origin", last+":refs/heads/main")
		w.untilAfterRequest(last)
		w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.ServiceAccountName = "without-rights" })
		w.git("push", "--quiet", "--force", "origin", old+":refs/heads/main")
		w.request()
		w.until("the older one fails to be applied", func(s *v1alpha1.AuditSync) bool {
			return s.Status.LastAttemptedRevision == "main@sha1:"+old && condition(s.Status, v1alpha1.ConditionReady).Status == metav1.ConditionFalse
		})
		w.changeSync(func(s *v1alpha1.AuditSync) {
			s.Spec.Source.Verify.Monotonic, s.Spec.ServiceAccountName = true, ""
		})
		w.untilRefused(t, "NotDescendant", old, last)
		w.wantEntries(t, "asia", "eu", "us")
	})
}
