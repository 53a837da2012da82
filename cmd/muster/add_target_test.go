package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/clusters/setup"
)

// TestHostileTarget: whoever controls the cluster to scan controls its answers, too.
func TestHostileTarget(t *testing.T) {
	const huge = 64 << 20
	for _, row := range []struct {
		reason, token string
		status        int
		message, want string
	}{
		{reason: "a good answer", token: canary},
		{reason: "a token without end", token: strings.Repeat("a", huge), want: "the answer is larger than 1 MiB"},
		{reason: "an error without end", status: http.StatusForbidden, message: strings.Repeat("a", huge), want: "the answer is larger than 1 MiB"},
		{reason: "an error", status: http.StatusForbidden, message: "no", want: "make Namespace mondoo-scan: no; check your rights there"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Warning", `299 - "`+canary+`"`)
			body, _ := io.ReadAll(r.Body)
			switch {
			case row.status != 0:
				w.WriteHeader(row.status)
				_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": row.message, "code": row.status})
			case r.Method == http.MethodGet:
				_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Secret", "apiVersion": "v1", "data": map[string]string{
					"token": base64.StdEncoding.EncodeToString([]byte(row.token))}})
			default:
				_, _ = w.Write(body)
			}
		}))
		t.Cleanup(server.Close)
		var stderr bytes.Buffer
		s := &shell{stderr: &stderr, redactor: &redact.Redactor{}}
		client, err := s.connectTarget(&api.Config{Clusters: map[string]*api.Cluster{"x": {Server: server.URL}}, AuthInfos: map[string]*api.AuthInfo{"x": {}},
			Contexts: map[string]*api.Context{"x": {Cluster: "x", AuthInfo: "x"}}}, "x")
		check(t, err)
		objects, err := scannerObjects(setup.For(mondoo.Entry{Name: "x", ServiceAccountAuth: &mondoo.ServiceAccountAuth{}}, "", "mondoo-operator"), true)
		check(t, err)
		start := time.Now()
		token, _, err := client.make(t.Context(), objects, 0)
		if row.want == "" && (err != nil || token != row.token) || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want) || len(err.Error()) > 1000) {
			t.Errorf("%s: token of %d bytes, %.200v", row.reason, len(token), err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: took %s", row.reason, took)
		}
	}
}

// TestRotateIsInterrupted: Ctrl-C after the Secret was made, while the cluster puts no token into it.
func TestRotateIsInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	deleted := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		meta := map[string]string{"name": "scanner-abc", "namespace": "scan", "uid": "u-1"}
		switch {
		case r.Method == http.MethodDelete:
			deleted = r.URL.Path
		case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/secrets/"):
			interrupt()
		}
		kind := map[bool]string{true: "ServiceAccount", false: "Secret"}[strings.Contains(r.URL.Path, "/serviceaccounts/")]
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": kind, "apiVersion": "v1", "metadata": meta})
	}))
	t.Cleanup(server.Close)
	dir, key := t.TempDir(), sealtest.NewKey(t)
	token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"system:serviceaccount:scan:scanner","kubernetes.io":{"serviceaccount":{"uid":"u-1"}}}`)) + ".x"
	sealed := key.Encrypt(t, "eu.yaml", clusterFile("eu", "  serviceAccountAuth:\n    server: "+server.URL+"\n    token: "+token+"\n    caCert: |\n"+indent(testCA, "      ")), sealtest.Recommended)
	config := "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: [{name: x, cluster: {server: '" + server.URL + "'}}]\nusers: [{name: x, user: {}}]\ncontexts: [{name: x, context: {cluster: x, user: x}}]\n"
	for name, text := range map[string]string{"eu.yaml": sealed, "kubeconfig": config, "key": key.Private()} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	var out, errs bytes.Buffer
	status := run(ctx, []string{"rotate", dir, "--token", "eu", "--create", "--yes", "--from-kubeconfig", filepath.Join(dir, "kubeconfig"), "--sops-key", filepath.Join(dir, "key")},
		strings.NewReader(""), &out, &errs, func(name string) string { return map[string]string{"XDG_CONFIG_HOME": "/nowhere"}[name] })
	after, err := os.ReadFile(filepath.Join(dir, "eu.yaml"))
	if status != exitStopped || deleted != "/api/v1/namespaces/scan/secrets/scanner-abc" || err != nil || string(after) != sealed {
		t.Errorf("status %d, deleted %q: %s", status, deleted, errs.String())
	}
}
