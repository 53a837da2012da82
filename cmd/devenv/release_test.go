package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// TestRelease builds the archive of this platform, installs it as krew does, and runs it as a plugin of the real kubectl. Two builds
// have the same bytes.
func TestRelease(t *testing.T) {
	server.SkipShort(t)
	t.Chdir(root)
	release, err := readKrewManifest("v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(release.platforms, func(p krewPlatform) bool { return p.os() == runtime.GOOS && p.arch() == runtime.GOARCH })
	if at < 0 || runtime.GOOS == "windows" {
		t.Skipf("no tar archive is for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	p := release.platforms[at]
	var builds [2][]byte
	for i := range builds {
		dist := t.TempDir()
		if err := p.build(t.Context(), "v1.2.3", dist); err != nil {
			t.Fatal(err)
		}
		if builds[i], err = os.ReadFile(filepath.Join(dist, p.archive())); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(builds[0], builds[1]) {
		t.Errorf("two builds of %s differ", p.archive())
	}
	bin := krewInstall(t, p, builds[0])
	kubectl, err := server.Binary(t.Context(), server.Kubectl, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), kubectl, "muster", "version")
	cmd.Env = append(os.Environ(), "PATH="+bin, "KUBECONFIG=/nowhere")
	out, err := cmd.CombinedOutput()
	if want := "/" + p.arch() + ")\n"; err != nil || !strings.HasPrefix(string(out), "muster v1.2.3 (") || !strings.HasSuffix(string(out), want) {
		t.Errorf("kubectl muster version: %v\n%s", err, out)
	}
}

// krewInstall copies files from an archive to the plugin's folder by the rules of the manifest, and links the binary as kubectl-NAME. It
// returns the folder of the link. The archive has nothing else.
func krewInstall(t *testing.T, p krewPlatform, archive []byte) string {
	t.Helper()
	home := t.TempDir()
	plugin, bin := filepath.Join(home, "store", "muster"), filepath.Join(home, "bin")
	compressed, err := gzip.NewReader(bytes.NewReader(archive))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	must(os.MkdirAll(plugin, 0o700))
	must(os.MkdirAll(bin, 0o700))
	installed := 0
	for in := tar.NewReader(compressed); ; installed++ {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(err)
		at := slices.IndexFunc(p.Files, func(f struct {
			From string `json:"from"`
			To   string `json:"to"`
		}) bool {
			return f.From == header.Name
		})
		if at < 0 || header.Uid != 0 || header.Gid != 0 || header.Uname != "" || header.ModTime.Year() < 2020 {
			t.Fatalf("the manifest doesn't expect %+v", header)
		}
		content, err := io.ReadAll(in)
		must(err)
		must(os.WriteFile(filepath.Join(plugin, p.Files[at].To, header.Name), content, os.FileMode(header.Mode)))
	}
	if installed != len(p.Files) {
		t.Fatalf("the archive has %d of %v", installed, p.Files)
	}
	must(os.Symlink(filepath.Join(plugin, p.Bin), filepath.Join(bin, "kubectl-muster")))
	return bin
}

// TestReleaseCommand holds what is said before anything is built.
func TestReleaseCommand(t *testing.T) {
	t.Chdir(root)
	for _, row := range []struct {
		reason string
		args   []string
		says   string
	}{
		{"no folder", []string{"release", "v1.2.3"}, "the folder for the archives"},
		{"not a version", []string{"release", "main", t.TempDir()}, `"main" is not that of a release`},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), row.args, &out, &out); code == 0 || !strings.Contains(out.String(), row.says) {
			t.Errorf("%s: status %d: %s", row.reason, code, out.String())
		}
	}
}

// TestWorkflows: each action is pinned by commit, a job may only read by default, and a tag builds the release.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	var commands []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var w struct {
			Permissions map[string]string `json:"permissions"`
			Jobs        map[string]struct {
				Steps []struct {
					Uses string `json:"uses"`
					Run  string `json:"run"`
				} `json:"steps"`
			} `json:"jobs"`
		}
		if err := yaml.Unmarshal(content, &w); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
			t.Errorf("%s: every job has the permissions %v", file, w.Permissions)
		}
		for name, job := range w.Jobs {
			for _, step := range job.Steps {
				commands = append(commands, step.Run)
				if step.Uses != "" && !regexp.MustCompile(`@[0-9a-f]{40}$`).MatchString(step.Uses) {
					t.Errorf("%s: %s: %s is not pinned by a commit", file, name, step.Uses)
				}
				if strings.Contains(step.Run, "${{") {
					t.Errorf("%s: %s: an expression in a shell script can become part of it: %s", file, name, step.Run)
				}
			}
		}
	}
	if all := strings.Join(commands, "\n"); !strings.Contains(all, `make release VERSION="$GITHUB_REF_NAME"`) {
		t.Errorf("no workflow builds the release:\n%s", all)
	}
}
