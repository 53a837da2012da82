package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/redact"
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
		a := &adder{folder: &folder{shell: &shell{stderr: &stderr, redactor: &redact.Redactor{}}}, context: "x"}
		client, err := a.connectTarget(&api.Config{Clusters: map[string]*api.Cluster{"x": {Server: server.URL}}, AuthInfos: map[string]*api.AuthInfo{"x": {}},
			Contexts: map[string]*api.Context{"x": {Cluster: "x", AuthInfo: "x"}}})
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
