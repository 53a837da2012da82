package clusters_test

import (
	"context"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is the time of every run.
var now = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// options are those of an AuditSync in the namespace that the examples use.
var options = compile.Options{Namespace: "mondoo-operator", Sync: "fleet", Policy: allowed}

// allowed is what that AuditSync allows.
var allowed = policy.Policy{Source: "the AuditSync fleet", Credentials: policy.Sources{Namespaces: []string{"argocd"}, Vault: []policy.VaultServer{
	{Address: "https://v.example.com", Mounts: []policy.VaultMount{{Mount: "kv", Version: 2, Paths: []string{"clusters/*"}}}}}}, VaultAddresses: []string{"https://v.example.com", "https://vault.example.com:8200"},
	Allow: []string{"mondooCredsSecretRef=mondoo-client", "containers.workloadIdentity"}}

// files is a repository in memory, by path.
type files map[string]string

func (f files) fs() fs.FS {
	repository := fstest.MapFS{}
	for name, content := range f {
		if target, ok := strings.CutPrefix(content, symlink); ok {
			repository[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
			continue
		}
		repository[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	return repository
}

// symlink starts the content of a file that is a symbolic link; its target follows.
const symlink = "symlink:"

// run is what came out of a repository.
type run struct {
	sealed   *fleet.Sealed
	opened   *fleet.Opened
	redactor *redact.Redactor
}

// findings are those of the last stage that ran.
func (r run) findings() []finding.Finding { return finding.Sorted(r.report().Findings) }

func (r run) report() finding.Report {
	if r.opened != nil {
		return r.opened.Report
	}
	return r.sealed.Report
}

// compileOnly goes as far as one gets without keys.
func compileOnly(t testing.TB, repository fs.FS, path string, opts compile.Options) run {
	t.Helper()
	sealed, err := clusters.NewPipeline().Compile(context.Background(), clusters.Source{FS: repository, Path: path}, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	return run{sealed: sealed}
}

// render goes all the way to an opened fleet.
func render(t testing.TB, repository fs.FS, path string, opts compile.Options, opener clusters.Opener) run {
	t.Helper()
	return renderBy(t, clusters.NewPipeline(), &redact.Redactor{}, repository, path, opts, opener)
}

// renderBy does so with a pipeline that may remember what it has rendered before, with the same redactor.
func renderBy(t testing.TB, p *clusters.Pipeline, redactor *redact.Redactor, repository fs.FS, path string, opts compile.Options, opener clusters.Opener) run {
	t.Helper()
	sealed, err := p.Compile(context.Background(), clusters.Source{FS: repository, Path: path}, opts, opener)
	if err != nil {
		t.Fatal(err)
	}
	r := run{sealed: sealed, redactor: redactor}
	if r.opened, err = p.Open(context.Background(), sealed, opener, redactor, now); err != nil {
		t.Fatal(err)
	}
	return r
}

// golden compares text with a file below testdata/golden, or writes the file with -update.
func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with go test ./clusters -run %s -update", err, t.Name())
	}
	if text != string(want) {
		t.Errorf("%s is not what came out; look at the difference after go test ./clusters -run %s -update\n%s", file, t.Name(), firstDifference(string(want), text))
	}
}

func firstDifference(want, got string) string {
	wantLines, gotLines := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(wantLines), len(gotLines)) {
		line := func(lines []string) string {
			if i < len(lines) {
				return lines[i]
			}
			return "(end)"
		}
		if line(wantLines) != line(gotLines) {
			return "want: " + line(wantLines) + "\ngot:  " + line(gotLines)
		}
	}
	return ""
}
