package server

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

func TestRequestsCountsWhatTheServerAnswered(t *testing.T) {
	SkipShort(t)
	ns := namespace(t, plane)
	cfg, err := plane.User("counted", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	cfg.UserAgent = "counting"
	counted, other := client(t, cfg), client(t, plane.Config())

	mark := takeMark(t)
	if got := requests(t, mark, "counted"); len(got) != 0 {
		t.Errorf("of an idle user: %v", got)
	}
	if _, err := counted.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := counted.CoreV1().ServiceAccounts(ns).Get(t.Context(), "nobody", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	if err := counted.CoreV1().ConfigMaps(ns).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}

	got := requests(t, mark, "counted")
	want := []Request{
		{Verb: "list", Version: "v1", Resource: "secrets", Namespace: ns, Code: 200},
		{Verb: "get", Version: "v1", Resource: "serviceaccounts", Namespace: ns, Name: "nobody", Code: 404},
		{Verb: "deletecollection", Version: "v1", Resource: "configmaps", Namespace: ns, Code: 200},
	}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		want[i].User, want[i].UserAgent = "counted", "counting"
		want[i].Path, want[i].Time = got[i].Path, got[i].Time
		if got[i] != want[i] || got[i].Path == "" || got[i].Time.IsZero() {
			t.Errorf("request %d: got %+v, want %+v", i, got[i], want[i])
		}
		if got[i].Writes() != (i == 2) {
			t.Errorf("request %d: Writes is %v", i, got[i].Writes())
		}
	}
	if all := requests(t, mark, ""); len(all) != 4 {
		t.Errorf("of all users: got %v, want 4", all)
	}
}

// Controllers watch: a watch must count when it begins, and not again under a later mark when it ends.
func TestRequestsCountsAWatchOnce(t *testing.T) {
	SkipShort(t)
	ns := namespace(t, plane)
	cfg, err := plane.User("watching", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	mark := takeMark(t)
	ctx, cancel := context.WithCancel(t.Context())
	w, err := client(t, cfg).CoreV1().Secrets(ns).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := requests(t, mark, "watching"); len(got) != 1 || got[0].Verb != "watch" || got[0].Code != 200 {
		t.Fatalf("of the running watch: got %v, want it", got)
	}
	running := takeMark(t)
	cancel()
	for range w.ResultChan() { // until it is closed
	}
	eventually(t, "the server has noticed", func() bool {
		requests(t, running, "watching")
		plane.audit.mu.Lock()
		defer plane.audit.mu.Unlock()
		return len(plane.audit.begun) == 0
	})
	if got := requests(t, running, "watching"); len(got) != 0 {
		t.Errorf("of the end of the watch: got %v, want nothing", got)
	}
}

func TestRequestsNamesTheImpersonated(t *testing.T) {
	SkipShort(t)
	cfg := plane.Config()
	cfg.Impersonate = rest.ImpersonationConfig{UserName: "puppet"}
	mark := takeMark(t)
	_, err := client(t, cfg).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want forbidden: the puppet has no rights", err)
	}
	got := requests(t, mark, "admin")
	if len(got) != 1 || got[0].Impersonated != "puppet" || got[0].Code != 403 {
		t.Errorf("got %v, want one request for the puppet", got)
	}
}

func TestAuditLogReadsHalfALineLater(t *testing.T) {
	l := auditLog{path: filepath.Join(t.TempDir(), "audit.log")}
	line := `{"auditID":"1","stage":"ResponseComplete","verb":"get","responseStatus":{"code":200}}` + "\n"
	for _, step := range []struct {
		reason, content string
		want            int
	}{
		{"no file yet", "", 0},
		{"half an event", line[:20], 0},
		{"the other half", line, 1},
		{"nothing new", line, 1},
		{"another one", line + line, 2},
	} {
		if step.content != "" {
			if err := os.WriteFile(l.path, []byte(step.content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := l.read(t.Context())
		if err != nil || len(got) != step.want {
			t.Errorf("%s: got %v, %v; want %d", step.reason, got, err, step.want)
		}
	}
}

func TestRequestsRefusesAForeignMark(t *testing.T) {
	SkipShort(t)
	if got, err := plane.Requests(t.Context(), 1<<30, ""); err == nil {
		t.Errorf("got %d requests, want an error", len(got))
	}
}

func takeMark(t *testing.T) Mark {
	t.Helper()
	mark, err := plane.Mark()
	if err != nil {
		t.Fatal(err)
	}
	return mark
}

func requests(t *testing.T, since Mark, user string) []Request {
	t.Helper()
	found, err := plane.Requests(t.Context(), since, user)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
