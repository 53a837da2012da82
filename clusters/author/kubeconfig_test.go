package author_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/muster-gitops/muster/clusters/author"
)

// Each folder of testdata/kubeconfigs is a kubeconfig as a tool writes it, and the draft that becomes of its current context, or
// the error.
func TestKubeconfigs(t *testing.T) {
	files, err := filepath.Glob("testdata/kubeconfigs/*.kubeconfig")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d kubeconfigs, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".kubeconfig")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			config, err := clientcmd.Load(text)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			draft, err := author.Kubeconfig{Config: config, ReadFile: readFile}.Draft("scanned")
			if err != nil {
				got = "error: " + err.Error() + "\n"
			} else {
				body, err := draft.YAML("")
				if err != nil {
					t.Fatal(err)
				}
				for _, note := range draft.Notes {
					got += "# note: " + note + "\n"
				}
				got += string(body)
			}
			golden := strings.TrimSuffix(file, ".kubeconfig") + ".golden"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// readFile has the files that the kubeconfigs name.
func readFile(name string) ([]byte, error) {
	switch name {
	case "/var/run/secrets/kubernetes.io/serviceaccount/token":
		return []byte("canary-token-of-a-file\n"), nil
	case "/home/me/.minikube/ca.crt", "/home/me/.minikube/client.crt", "/home/me/.minikube/client.key":
		return []byte("content of " + filepath.Base(name) + "\n"), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func TestKubeconfigErrors(t *testing.T) {
	const head = "apiVersion: v1\nkind: Config\n"
	tests := []struct{ reason, config, context, want string }{
		{"empty", head, "", `context "": there is no such context; the kubeconfig has no contexts`},
		{"no current context", head + "contexts: [{name: b, context: {cluster: c, user: u}}, {name: a, context: {cluster: c, user: u}}]\n", "",
			`context "": there is no such context; the contexts are a, b`},
		{"unknown context", head + "contexts: [{name: a, context: {cluster: c, user: u}}]\n", "x", `context "x": there is no such context; the contexts are a`},
		{"cluster missing", head + "contexts: [{name: a, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: t}}]\n", "a",
			`context "a": its cluster or its user is missing in the kubeconfig; export the kubeconfig again`},
		{"no credentials", head + "contexts: [{name: a, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\nclusters: [{name: c, cluster: {server: 'https://a.example.com'}}]\n", "a",
			`context "a": its user has no credentials`},
		{"http", head + "contexts: [{name: a, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: t}}]\nclusters: [{name: c, cluster: {server: 'http://a.example.com'}}]\n", "a",
			`context "a": its server is not an https address; give the address with --server`},
		{"file missing", head + "contexts: [{name: a, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {tokenFile: /none}}]\nclusters: [{name: c, cluster: {server: 'https://a.example.com'}}]\n", "a",
			`context "a": read tokenFile: open /none: file does not exist`},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			config, err := clientcmd.Load([]byte(test.config))
			if err != nil {
				t.Fatal(err)
			}
			_, err = author.Kubeconfig{Config: config, Context: test.context, ReadFile: readFile}.Draft("x")
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Fatalf("got  %v\nwant %s", err, test.want)
			}
			if _, ok := errors.AsType[*author.UnusableError](err); ok == errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v is of the wrong type", err)
			}
		})
	}
}

// The address of the kubeconfig is replaced wherever it is used.
func TestServer(t *testing.T) {
	for _, server := range []string{"https://127.0.0.1:6443", "https://[::1]:6443", "https://localhost:6443", "https://0.0.0.0:6443"} {
		for _, user := range []string{"{token: t}", "{username: u, password: p}"} {
			config, err := clientcmd.Load(fmt.Appendf(nil, "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"+
				"users: [{name: u, user: %s}]\nclusters: [{name: c, cluster: {server: '%s'}}]\n", user, server))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := (author.Kubeconfig{Config: config, ReadFile: readFile}).Draft("x"); err == nil || !strings.Contains(err.Error(), "its server is this machine") {
				t.Errorf("%s: %v", server, err)
			}
			draft, err := author.Kubeconfig{Config: config, ReadFile: readFile, Server: "https://10.0.0.7:6443"}.Draft("x")
			if err != nil {
				t.Fatal(err)
			}
			text, err := draft.YAML("")
			if err != nil || !strings.Contains(string(text), "server: https://10.0.0.7:6443") || strings.Contains(string(text), server) {
				t.Errorf("%s: %v\n%s", server, err, text)
			}
			target, _, err := author.Kubeconfig{Config: config, ReadFile: readFile, Server: "https://10.0.0.7:6443"}.Target()
			if err != nil || target != "https://10.0.0.7:6443" {
				t.Errorf("target %s, %v", target, err)
			}
		}
	}
}

// A token of the cluster is not for a proxy in front of it.
func TestProxies(t *testing.T) {
	for _, name := range []string{"teleport", "rancher"} {
		text, err := os.ReadFile("testdata/kubeconfigs/" + name + ".kubeconfig")
		if err != nil {
			t.Fatal(err)
		}
		config, err := clientcmd.Load(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := (author.Kubeconfig{Config: config, ReadFile: readFile}).Target(); err == nil || !strings.Contains(err.Error(), "its server is a proxy") {
			t.Errorf("%s: %v", name, err)
		}
		if server, _, err := (author.Kubeconfig{Config: config, ReadFile: readFile, Server: "https://prod.example.com:6443"}).Target(); err != nil || server != "https://prod.example.com:6443" {
			t.Errorf("%s: %s, %v", name, server, err)
		}
	}
}
