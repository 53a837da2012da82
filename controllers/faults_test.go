package controllers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// guillotine lets a number of writes to what Muster applies through, and fails everything after: to the API server, the
// controller is dead from then on.
type guillotine struct {
	next http.RoundTripper
	mu   sync.Mutex
	left int
	fell bool
}

var errDead = errors.New("the controller was killed here")

func (g *guillotine) RoundTrip(r *http.Request) (*http.Response, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fell {
		return nil, errDead
	}
	if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/auditsyncs") && !strings.Contains(r.URL.Path, "/events") {
		if g.left == 0 {
			g.fell = true
			return nil, errDead
		}
		g.left--
	}
	return g.next.RoundTrip(r)
}

func (g *guillotine) hasFallen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fell
}

// TestKilledBetweenWrites kills the controller before each write of a change that adds, changes and removes clusters, pushes
// another change while it is dead, starts it again, and expects the same end each time.
func TestKilledBetweenWrites(t *testing.T) {
	server.SkipShort(t)
	const most = 30
	for writes := range most {
		if !killedAfter(t, writes) {
			if writes < 5 {
				t.Errorf("the change took %d writes; it should take one for each object", writes)
			}
			return
		}
	}
	t.Fatalf("the change takes more than %d writes", most)
}

// killedAfter reports whether the controller came to be killed.
func killedAfter(t *testing.T, writes int) (killed bool) {
	t.Run(fmt.Sprintf("after %d writes", writes), func(t *testing.T) {
		w := newWorld(t)
		w.push(map[string]string{
			"clusters/mondoo-client.yaml": auditConfigFile,
			"clusters/eu.yaml":            w.tokenCluster("eu", ""),
			"clusters/us.yaml":            w.tokenCluster("us", ""),
			"clusters/old.yaml":           w.tokenCluster("old", ""),
		})
		w.startController(nil)
		w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.Prune.MaxRemovals = percent("100%") })
		w.untilReady(w.git("rev-parse", "HEAD"))
		w.stopController()

		blade := &guillotine{left: writes}
		w.push(map[string]string{
			"clusters/asia.yaml": w.tokenCluster("asia", ""),
			"clusters/us.yaml":   w.tokenCluster("us", "  containerImageScanning: true\n"),
		}, "clusters/old.yaml")
		w.startController(func(next http.RoundTripper) http.RoundTripper { blade.next = next; return blade })
		head := w.git("rev-parse", "HEAD")
		w.eventually("killed or done", func() bool {
			return blade.hasFallen() || strings.HasSuffix(w.sync().Status.LastAppliedRevision, head)
		})
		w.stopController()
		killed = blade.hasFallen()

		// What the dead one began is taken back before the next one starts: nothing of it may stay behind.
		head = w.push(map[string]string{"clusters/africa.yaml": w.tokenCluster("africa", "")}, "clusters/asia.yaml")
		w.startController(nil)
		w.untilReady(head)
		if got := w.names("mondoo-client"); !slices.Equal(got, []string{"africa", "eu", "us"}) {
			t.Errorf("entries %v", got)
		}
		var secrets corev1.SecretList
		must(t, w.admin.List(t.Context(), &secrets, client.InNamespace(w.namespace), client.HasLabels{"muster.dev/sync"}))
		var names []string
		for _, s := range secrets.Items {
			names = append(names, s.Name)
		}
		want := []string{tokenSecret("africa"), tokenSecret("eu"), tokenSecret("us")}
		if !slices.Equal(names, want) {
			t.Errorf("Secrets %v", names)
		}
	})
	return killed
}

func TestRestartWritesNothing(t *testing.T) {
	w := newWorld(t)
	commit := twoClusters(w, nil)
	w.untilQuiet() // or events that are still on their way would count
	w.stopController()
	mark := w.mark()
	w.startController(nil)
	w.request()
	w.untilReady(commit)
	requests := w.requests(mark)
	for _, r := range requests {
		if r.Writes() && r.Resource != "auditsyncs" {
			t.Errorf("a restart wrote: %s", r)
		}
	}
}

func TestRepositoryTroubles(t *testing.T) {
	w := newWorld(t)
	commit := twoClusters(w, nil)
	unchanged := func(t *testing.T) {
		t.Helper()
		if got := w.names("mondoo-client"); !slices.Equal(got, []string{"eu", "us"}) {
			t.Errorf("entries %v", got)
		}
	}
	not := func(t *testing.T, kind, reason, message string) {
		t.Helper()
		w.changeSync(func(s *v1alpha1.AuditSync) {
			metav1.SetMetaDataAnnotation(&s.ObjectMeta, v1alpha1.AnnotationReconcile, reason+message)
		})
		w.until(reason, func(s *v1alpha1.AuditSync) bool {
			c := condition(s.Status, kind)
			return c.Status == metav1.ConditionFalse && c.Reason == reason && strings.Contains(c.Message, message)
		})
		unchanged(t)
	}
	t.Run("the remote is down", func(t *testing.T) {
		gitServer.SetDown(true)
		defer gitServer.SetDown(false)
		not(t, v1alpha1.ConditionFetched, "ServerFailed", "503")
	})
	t.Run("and up again", func(*testing.T) { w.untilReady(commit) })
	t.Run("the branch is deleted", func(t *testing.T) {
		w.git("push", "-q", "origin", "HEAD:other")
		w.git("--git-dir", repositoryPath(w), "symbolic-ref", "HEAD", "refs/heads/other")
		w.git("push", "-q", "origin", ":main")
		not(t, v1alpha1.ConditionFetched, "RefNotFound", `no branch "main"`)
	})
	t.Run("history is rewritten", func(*testing.T) {
		w.git("commit", "-q", "--amend", "-m", "another history")
		w.untilAfterRequest(w.push(nil))
	})
	t.Run("the path is renamed", func(t *testing.T) {
		w.git("mv", "clusters", "elsewhere")
		w.push(nil)
		not(t, v1alpha1.ConditionRendered, "PathInvalid", "no such folder")
	})
	t.Run("the path is empty", func(t *testing.T) {
		w.push(map[string]string{"clusters/README.md": "nothing here"})
		not(t, v1alpha1.ConditionRendered, "Stopped", "has no YAML files")
	})
	t.Run("and back", func(*testing.T) {
		w.git("rm", "-q", "clusters/README.md")
		w.git("mv", "elsewhere", "clusters")
		w.untilAfterRequest(w.push(nil))
	})
	t.Run("the password is wrong", func(t *testing.T) {
		secret := w.secret("fleet-git")
		secret.Data["password"] = []byte("CANARY-wrong-password")
		must(t, w.admin.Update(t.Context(), secret))
		w.until("unauthorized", func(s *v1alpha1.AuditSync) bool {
			return condition(s.Status, v1alpha1.ConditionFetched).Reason == "Unauthorized"
		})
		unchanged(t)
	})
	if data, err := json.Marshal(w.sync().Status); err != nil || bytes.Contains(data, []byte("CANARY")) {
		t.Errorf("status holds a secret: %s", data)
	}
}

func repositoryPath(w *world) string {
	w.Helper()
	path, err := gitServer.RepositoryPath(w.namespace)
	must(w.T, err)
	return path
}

// pushAndRequest pushes files and asks for a sync. It returns the commit.
func (w *world) pushAndRequest(files map[string]string) string {
	w.Helper()
	commit := w.push(files)
	w.request()
	return commit
}

// untilAfterRequest asks for a sync and waits until a commit is applied.
func (w *world) untilAfterRequest(commit string) {
	w.Helper()
	w.request()
	w.untilReady(commit)
}

func TestKeys(t *testing.T) {
	w := newWorld(t)
	commit := twoClusters(w, nil)
	replace := func(field, key string) {
		secret := w.secret("sops-keys")
		secret.Data = map[string][]byte{field: []byte(key)}
		must(t, w.admin.Update(t.Context(), secret))
	}
	rendered := func(t *testing.T, reason, message string) {
		t.Helper()
		w.until(reason, func(s *v1alpha1.AuditSync) bool {
			c := condition(s.Status, v1alpha1.ConditionRendered)
			return c.Reason == reason && strings.Contains(c.Message, message)
		})
		if len(w.names("mondoo-client")) != 2 || w.secret(tokenSecret("eu")) == nil {
			t.Error("what was applied is gone")
		}
	}
	t.Run("revoked", func(*testing.T) {
		replace("age.agekey", "AGE-SECRET-KEY-1QQPQYQQZQPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPSX9VLA")
		w.until("no key", func(s *v1alpha1.AuditSync) bool {
			return condition(s.Status, v1alpha1.ConditionReady).Reason == "KeysInvalid"
		})
	})
	t.Run("of somebody else", func(t *testing.T) {
		other := newWorldKey(t)
		replace("age.agekey", other)
		rendered(t, "Quarantined", "no provided key opens this file")
	})
	t.Run("under another name", func(*testing.T) {
		replace("identity.txt", w.key.Private())
		w.until("no key", func(s *v1alpha1.AuditSync) bool {
			return strings.Contains(condition(s.Status, v1alpha1.ConditionReady).Message, ".agekey")
		})
	})
	t.Run("given again", func(*testing.T) {
		replace("age.agekey", w.key.Private())
		w.untilReady(commit)
	})
	t.Run("deleted", func(*testing.T) {
		must(t, w.admin.Delete(t.Context(), w.secret("sops-keys")))
		w.until("no Secret", func(s *v1alpha1.AuditSync) bool {
			return condition(s.Status, v1alpha1.ConditionReady).Reason == "SecretMissing"
		})
	})
}

func TestRemovalBudget(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}
	for i := range 8 {
		files[fmt.Sprintf("clusters/c%d.yaml", i)] = w.tokenCluster(fmt.Sprintf("c%d", i), "")
	}
	commit := w.push(files)
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(commit)
	head := w.push(map[string]string{"clusters/new.yaml": w.tokenCluster("new", "")}, "clusters/c0.yaml", "clusters/c1.yaml", "clusters/c2.yaml", "clusters/c3.yaml")
	status := w.request().Status
	if ready := condition(status, v1alpha1.ConditionReady); ready.Reason != "RemovalsHeld" || !strings.Contains(ready.Message, inventory.ApproveAnnotation+"="+head+"-") ||
		!strings.Contains(ready.Message, "cluster c0") {
		t.Errorf("Ready %+v", ready)
	}
	if got := w.names("mondoo-client"); len(got) != 9 || status.Clusters.Held != 4 {
		t.Errorf("entries %v, held %d: the addition should be applied, and nothing removed", got, status.Clusters.Held)
	}
	approve := func(revision string) {
		w.changeSync(func(s *v1alpha1.AuditSync) {
			metav1.SetMetaDataAnnotation(&s.ObjectMeta, inventory.ApproveAnnotation, revision)
		})
	}
	approval := approvalIn(t, condition(status, v1alpha1.ConditionReady).Message, head)
	approve(strings.Replace(approval, head, commit, 1))
	w.request()
	if got := w.names("mondoo-client"); len(got) != 9 {
		t.Errorf("entries %v: another revision was approved", got)
	}
	approve(approval)
	w.untilReady(head)
	if got := w.names("mondoo-client"); !slices.Equal(got, []string{"c4", "c5", "c6", "c7", "new"}) {
		t.Errorf("entries %v", got)
	}
}

func TestSuspend(t *testing.T) {
	w := newWorld(t)
	twoClusters(w, nil)
	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Suspend = true })
	must(t, w.admin.Delete(t.Context(), w.secret(tokenSecret("eu"))))
	commit := w.push(map[string]string{"clusters/asia.yaml": w.tokenCluster("asia", "")})
	mark := w.mark()
	w.changeSync(func(s *v1alpha1.AuditSync) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, v1alpha1.AnnotationReconcile, "now")
	})
	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Suspend = false })
	w.untilReady(commit)
	requests := w.requests(mark)
	if !slices.ContainsFunc(requests, func(r server.Request) bool { return r.Writes() && r.Resource == "secrets" }) {
		t.Error("nothing was caught up")
	}
}

// TestServiceAccount applies in the name of a ServiceAccount, whose rights are the limit.
func TestServiceAccount(t *testing.T) {
	w := newWorld(t)
	w.grantImpersonation("applier")
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.ServiceAccountName = "applier" })
	w.until("forbidden", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionApplied).Reason == "Forbidden"
	})
	w.bindRole("applier", "system:serviceaccount:"+w.namespace+":applier")
	mark := w.mark()
	w.request()
	w.untilReady(commit)
	requests, err := plane.Requests(t.Context(), mark, "")
	must(t, err)
	for _, r := range requests {
		if r.Namespace == w.namespace && r.Writes() && (r.Resource == "secrets" || r.Resource == "mondooauditconfigs") && !strings.HasSuffix(r.Impersonated, ":applier") {
			t.Errorf("not in the name of the ServiceAccount: %s", r)
		}
	}
}

// TestConflicts has the API server refuse writes for a while, as it does under load.
func TestConflicts(t *testing.T) {
	w := newWorld(t)
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	var mu sync.Mutex
	refusals := []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}
	w.startController(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			if len(refusals) > 0 && r.Method != http.MethodGet && strings.Contains(r.URL.Path, "mondooauditconfigs") {
				code := refusals[0]
				refusals = refusals[1:]
				return refusal(r, code), nil
			}
			return next.RoundTrip(r)
		})
	})
	w.createSync(nil)
	w.untilReady(commit)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// refusal is an answer of the API server.
func refusal(r *http.Request, code int) *http.Response {
	status := metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: int32(code), Reason: map[int]metav1.StatusReason{
		http.StatusConflict: metav1.StatusReasonConflict, http.StatusTooManyRequests: metav1.StatusReasonTooManyRequests,
		http.StatusInternalServerError: metav1.StatusReasonInternalError, http.StatusServiceUnavailable: metav1.StatusReasonServiceUnavailable}[code]}
	body, err := json.Marshal(status)
	if err != nil {
		panic(err)
	}
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}
}

// TestDeletionWithoutOperator deletes AuditSyncs in a cluster from which the operator has been taken out, CRD and all, and in
// one that never had it.
func TestDeletionWithoutOperator(t *testing.T) {
	bareControlPlane(t)
	w := newWorld(t)
	commit := w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "")})
	w.startController(nil)
	defer w.stopController()
	withDeletion := func(s *v1alpha1.AuditSync) { s.Spec.DeletionPolicy = v1alpha1.DeletionDelete }
	w.createSync(withDeletion)
	w.until("the operator is missed", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionReady).Reason == "OperatorMissing"
	})
	must(t, w.admin.Delete(t.Context(), w.sync()))
	w.gone()

	must(t, server.InstallCRDs(t.Context(), plane.Config(), server.MondooAuditConfigCRD()))
	w.createSync(withDeletion)
	w.untilReady(commit)
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	crd.SetName(mondoo.Resource + "." + mondoo.Group)
	must(t, w.admin.Delete(t.Context(), crd))
	must(t, w.admin.Delete(t.Context(), w.sync()))
	w.gone()
	if w.secret(tokenSecret("eu")) != nil {
		t.Error("the Secret is still there")
	}
}

// TestSourceChanges points an AuditSync at a repository that can't be read: nothing of the old one is applied with the new
// spec.
func TestSourceChanges(t *testing.T) {
	w := newWorld(t)
	w.push(map[string]string{"elsewhere/wrong.yaml": w.tokenCluster("wrong", "")})
	twoClusters(w, nil)
	w.changeSync(func(s *v1alpha1.AuditSync) {
		s.Spec.Source.URL = strings.Replace(w.url, w.namespace, "nowhere", 1)
		s.Spec.Path = "./elsewhere"
	})
	w.until("the repository is missed", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionFetched).Status == metav1.ConditionFalse
	})
	if got := w.names("mondoo-client"); !slices.Equal(got, []string{"eu", "us"}) {
		t.Errorf("entries %v", got)
	}
}

// TestReservedSecrets pushes manifests for the Secrets that hold Muster's own keys and credentials.
func TestReservedSecrets(t *testing.T) {
	w := newWorld(t)
	w.createSecret("by-hand", map[string]string{"password": "theirs"}) // before the controller lists Secrets
	twoClusters(w, nil)
	manifest := func(name string) string {
		return w.key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: "+name+"\nstringData:\n  age.agekey: CANARY-mine-now\n", sealtest.Credentials)
	}
	w.push(map[string]string{"clusters/keys.yaml": manifest("sops-keys"), "clusters/git.yaml": manifest("fleet-git"), "clusters/hand.yaml": manifest("by-hand")})
	status := w.request().Status
	if string(w.secret("sops-keys").Data["age.agekey"]) != w.key.Private() || w.secret("fleet-git").Data["age.agekey"] != nil || w.secret("by-hand").Data["age.agekey"] != nil {
		t.Error("a Secret was taken over")
	}
	if ready := condition(status, v1alpha1.ConditionReady); ready.Status != metav1.ConditionFalse || len(status.Problems) < 3 {
		t.Errorf("status %+v", status)
	}
}
