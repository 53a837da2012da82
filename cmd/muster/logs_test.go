package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kubelet serves the logs of Pods, as the API server asks for them.
type kubelet struct {
	mu    sync.Mutex
	lines map[string][]string // by Pod, with their times
	more  chan struct{}       // closed when there are more lines
	drop  func()              // closes all connections
}

// startKubelet makes a node whose kubelet is in this process.
func (m *management) startKubelet() *kubelet {
	m.Helper()
	k := &kubelet{lines: map[string][]string{}, more: make(chan struct{})}
	server := httptest.NewUnstartedServer(k)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	m.Cleanup(func() {
		server.CloseClientConnections() // those that follow end with their requests only
		server.Close()
	})
	k.drop = server.CloseClientConnections
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	check(m.T, err)
	number, err := strconv.ParseInt(port, 10, 32)
	check(m.T, err)
	node, err := m.core.CoreV1().Nodes().Create(m.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}}, metav1.CreateOptions{})
	check(m.T, err)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
	_, err = m.core.CoreV1().Nodes().UpdateStatus(m.Context(), node, metav1.UpdateOptions{})
	check(m.T, err)
	return k
}

func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) != 4 || parts[0] != "containerLogs" || parts[3] != "muster" || r.URL.Query().Get("timestamps") != "true" {
		http.Error(w, "unexpected "+r.URL.String(), http.StatusBadRequest)
		return
	}
	since, _ := time.Parse(time.RFC3339, r.URL.Query().Get("sinceTime"))
	for sent := 0; ; {
		k.mu.Lock()
		lines, more := k.lines[parts[2]], k.more
		k.mu.Unlock()
		for ; sent < len(lines); sent++ {
			stamp, _, _ := strings.Cut(lines[sent], " ")
			if at, err := time.Parse(time.RFC3339Nano, stamp); err != nil || !at.Before(since) {
				fmt.Fprintln(w, lines[sent])
			}
		}
		if r.URL.Query().Get("follow") != "true" {
			return
		}
		w.(http.Flusher).Flush() //nolint:forcetypeassert // the server's is one
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}

// log adds a line to a Pod's log, so many seconds after the start of a day.
func (k *kubelet) log(pod string, second int, line string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := time.Date(2026, time.November, 23, 0, 0, second, 5000, time.UTC)
	k.lines[pod] = append(k.lines[pod], at.Format(time.RFC3339Nano)+" "+line)
	close(k.more)
	k.more = make(chan struct{})
}

// pod makes a Pod of the controller that runs on the node.
func (m *management) pod(name string, labels map[string]string) {
	m.Helper()
	pods := m.core.CoreV1().Pods(testNamespace)
	token := false
	made, err := pods.Create(m.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: corev1.PodSpec{NodeName: "node", AutomountServiceAccountToken: &token, Containers: []corev1.Container{{Name: "muster", Image: "muster"}}}}, metav1.CreateOptions{})
	check(m.T, err)
	made.Status.Phase = corev1.PodRunning
	_, err = pods.UpdateStatus(m.Context(), made, metav1.UpdateOptions{})
	check(m.T, err)
}

// about is a line of the controller's about an AuditSync.
func about(level, namespace, name, message string) string {
	text, err := json.Marshal(message)
	if err != nil {
		panic(err) // a string always has a form in JSON
	}
	return fmt.Sprintf(`{"time":"2026-11-23T00:00:00Z","level":%q,"msg":%s,"controller":"auditsync","AuditSync":{"name":%q,"namespace":%q},"namespace":%[4]q,"name":%[3]q,"reconcileID":"x","reason":"Applied"}`,
		level, text, name, namespace)
}

// TestLogs reads the logs of two Pods through a real API server.
func TestLogs(t *testing.T) {
	m := startManagement(t)
	k := m.startKubelet()
	m.core.CoreV1().ServiceAccounts(testNamespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}) //nolint:errcheck // the Pods below fail without it
	m.look(exitFailure, "logs")
	m.login("reader")
	m.grant(rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}, Verbs: []string{"get", "list"}})
	if _, errs := m.look(exitFailure, "logs"); !strings.Contains(errs, "no Pod in the namespace mondoo-operator has the labels app.kubernetes.io/name=muster") {
		t.Errorf("without Pods: %s", errs)
	}
	labels := map[string]string{"app.kubernetes.io/name": "muster", "app.kubernetes.io/component": "controller"}
	m.pod("muster-0", labels)
	m.pod("other", map[string]string{"app.kubernetes.io/name": "other"})
	k.log("other", 0, "of another program")
	k.log("muster-0", 1, about("INFO", testNamespace, "production", "sync \x1b[2Jchanged"))
	k.log("muster-0", 3, about("DEBUG+3", testNamespace, "production", "a detail"))
	k.log("muster-0", 4, about("INFO", "elsewhere", "production", "of another namespace"))
	k.log("muster-0", 5, about("ERROR", testNamespace, "staging", "of another AuditSync"))
	k.log("muster-0", 6, "panic: boom")
	one, _ := m.look(exitOK, "logs", "production")
	if want := "2026-11-23T00:00:01.000Z info AuditSync/production.mondoo-operator sync \ufffd[2Jchanged reason=Applied\n" +
		"2026-11-23T00:00:03.000Z debug AuditSync/production.mondoo-operator a detail reason=Applied\n"; one != want {
		t.Errorf("%s\nwant\n%s", one, want)
	}
	m.pod("muster-1", labels)
	k.log("muster-1", 2, `{"time":"2026-11-23T00:00:02Z","level":"INFO","msg":"webhook requested a sync","logger":"webhook","namespace":"mondoo-operator","name":"production"}`)
	for _, row := range []struct {
		reason string
		args   []string
		want   []string // what each line ends with
	}{
		{"everything, merged by time", nil, []string{"changed reason=Applied", "sync logger=webhook", "detail reason=Applied", "namespace reason=Applied", "AuditSync reason=Applied", "muster-0 panic: boom"}},
		{"one AuditSync", []string{"production"}, []string{"changed reason=Applied", "sync logger=webhook", "detail reason=Applied"}},
		{"the last line of one", []string{"production", "--tail", "1"}, []string{"detail reason=Applied"}},
		{"no line", []string{"production", "--tail", "0"}, nil},
		{"errors", []string{"--level", "error"}, []string{"AuditSync reason=Applied", "muster-0 panic: boom"}},
		{"another namespace", []string{"production", "-n", "elsewhere", "--controller-namespace", testNamespace}, []string{"namespace reason=Applied"}},
		{"as it was logged", []string{"staging", "-o", "json"}, []string{`"reason":"Applied"}`}},
	} {
		out, errs := m.look(exitOK, append([]string{"logs"}, row.args...)...)
		lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if out == "" {
			lines = nil
		}
		ok := len(lines) == len(row.want)
		for i := range lines {
			ok = ok && strings.HasSuffix(lines[i], row.want[i])
		}
		if !ok || errs != "" {
			t.Errorf("%s: %s%s", row.reason, out, errs)
		}
	}
	for _, args := range [][]string{{"--since", "-1s"}, {"--tail", "-2"}, {"--level", "trace"}, {"--controller-namespace", "A"}, {"a", "b"}} {
		m.look(exitFailure, append([]string{"logs"}, args...)...)
	}
	r := m.begin("logs", "production", "-f", "--tail", "1")
	r.await("a detail")
	k.log("muster-1", 6, about("INFO", testNamespace, "production", "the first new one"))
	r.await("the first new one")
	k.log("muster-0", 7, about("INFO", testNamespace, "staging", "of another AuditSync"))
	k.log("muster-0", 7, about("INFO", testNamespace, "production", "the second new one"))
	r.await("the second new one")
	if out := r.stop(); strings.Count(out, "\n") != 3 || strings.Contains(out, "of another AuditSync") {
		t.Errorf("followed:\n%s", out)
	}
	if !strings.Contains(r.errs.String(), "Pods that start from now on are not followed: no permission to watch Pods in mondoo-operator") {
		t.Errorf("no note about the missing right: %s", r.errs)
	}

	// With the right to watch Pods, those of a rollout are followed, too.
	m.login("watcher")
	m.grant(rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}, Verbs: []string{"get", "list", "watch"}})
	r = m.begin("logs", "production", "-f", "--tail", "1")
	r.await("the second new one")
	k.log("muster-2", 8, about("INFO", testNamespace, "production", "of a new Pod"))
	m.pod("muster-2", labels)
	r.await("muster-2 info AuditSync/production.mondoo-operator of a new Pod")
	check(t, m.core.CoreV1().Pods(testNamespace).Delete(t.Context(), "muster-0", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
	k.log("muster-2", 9, about("INFO", testNamespace, "production", "after the old one is gone"))
	r.await("after the old one is gone")
	k.drop()
	k.log("muster-2", 10, about("INFO", testNamespace, "production", "after the connection is gone"))
	r.await("after the connection is gone")
	if out := r.stop(); strings.Count(out, "of a new Pod") != 1 {
		t.Errorf("followed:\n%s", out)
	}
}

func TestParseLine(t *testing.T) {
	for _, row := range []struct {
		reason, raw string
		json        bool
		name        string
		passes      bool // by a filter for mondoo-operator/production
	}{
		{"about an AuditSync", about("INFO", "mondoo-operator", "production", "m"), true, "production", true},
		{"about another", about("INFO", "mondoo-operator", "staging", "m"), true, "staging", false},
		{"with the same name elsewhere", about("INFO", "other", "production", "m"), true, "production", false},
		{"about none", `{"level":"INFO","msg":"started"}`, true, "", false},
		{"the AuditSync is no object", `{"level":"INFO","msg":"m","AuditSync":"production"}`, true, "", false},
		{"a crash", "panic: boom", false, "", false},
		{"a level that slog doesn't have", `{"level":"LOUD","msg":"m"}`, false, "", false},
		{"JSON that is no object", `["level"]`, false, "", false},
		{"empty", "", false, "", false},
	} {
		line := parseLine(row.raw)
		if line.json != row.json || line.name != row.name {
			t.Errorf("%s: %+v", row.reason, line)
		}
		if got := (lineFilter{namespace: "mondoo-operator", name: "production"}).passes(line); got != row.passes {
			t.Errorf("%s: passes is %t", row.reason, got)
		}
	}
}

// TestLineTellsItsValues: values keep their form, and no line can imitate another.
func TestLineTellsItsValues(t *testing.T) {
	line := parseLine(`{"level":"ERROR","msg":"a\nb","error":"x y","count":12345678901,"list":["<a>"],"empty":""}`)
	plain := func(_ colour, text string) string { return text }
	redact := func(text string) string { return strings.ReplaceAll(text, "x y", "***") }
	if got, want := line.textOf("", redact, plain), "0001-01-01T00:00:00.000Z error a\ufffdb count=12345678901 empty=\"\" error=*** list=\"[\\\"<a>\\\"]\""; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
