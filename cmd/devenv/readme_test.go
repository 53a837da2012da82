package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/v1alpha1"
	"github.com/muster-gitops/muster/cmd/devenv/operator"
	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// codeBlocks are the code blocks of a Markdown file, without indentation and fences.
func codeBlocks(text string) (blocks []string) {
	var block []string
	end := func() {
		if len(block) > 0 {
			blocks = append(blocks, strings.Trim(strings.Join(block, "\n"), "\n"))
		}
		block = nil
	}
	fenced := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		rest, indented := strings.CutPrefix(line, "    ")
		switch {
		case fence.MatchString(line):
			end()
			fenced = !fenced
		case fenced:
			block = append(block, line)
		case indented:
			block = append(block, rest)
		case line != "":
			end()
		default:
			if len(block) > 0 {
				block = append(block, "")
			}
		}
	}
	end()
	return blocks
}

// TestReadme types all commands of README.md into a shell, in their order, with what a reader has to fill in. Nothing is left out:
// a block that the test doesn't know fails it. kubectl, make and muster are the real ones, and the cluster to scan has an API server
// of its own. Docker, the Mondoo Operator and the kubelet that would start Muster's Pod are stand-ins.
func TestReadme(t *testing.T) {
	server.SkipShort(t)
	r := newReader(t)
	known := []struct {
		begins string
		does   func(block string)
	}{
		{"apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster", r.exampleFile},
		{"make run ", func(block string) { r.types(strings.ReplaceAll(block, "make ", "make --dry-run ")) }}, // TestDemoDoesWhatItSays
		{"      Git  ", func(string) {}}, // a diagram
		{"make build\nbin/muster init ", r.inits},
		{"bin/muster add ", r.adds},
		{"cd ../fleet && git ", r.pushes},
		{"make image ", r.installs},
		{"kubectl apply -f ../fleet/auditsyncs/", func(block string) { r.commands++; r.types(block) }},
		{"kubectl -n mondoo-operator get auditsyncs", r.looks},
	}
	for _, block := range codeBlocks(read(t, "README.md")) {
		if len(known) == 0 || !strings.HasPrefix(block, known[0].begins) {
			t.Fatalf("README.md has a block that this test doesn't expect here:\n%s", block)
		}
		known[0].does(block)
		known = known[1:]
	}
	if len(known) > 0 {
		t.Errorf("README.md has no block that begins with %q", known[0].begins)
	}
	// Building the binary and the image aside, which others do, and counting that the result is looked at once.
	if r.commands > 8 {
		t.Errorf("from nothing to the first cluster in %d commands", r.commands)
	}
}

// reader is someone who follows README.md.
type reader struct {
	*testing.T
	dir        string // a copy of the checkout; the work tree of the fleet is beside it
	home       string
	url        string // the repository of the fleet
	target     string // the address of the cluster to scan
	commands   int    // how many were needed
	path       string // PATH of the shell
	admin      client.Client
	in         *installation
	kubeconfig string
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{T: t, dir: filepath.Join(t.TempDir(), "muster"), home: t.TempDir()}
	for _, file := range tracked(t, "*") {
		info, err := os.Lstat(filepath.Join(root, file))
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, file))
		r.must(err)
		r.must(os.MkdirAll(filepath.Dir(filepath.Join(r.dir, file)), 0o755))
		r.must(os.WriteFile(filepath.Join(r.dir, file), content, info.Mode()))
	}
	r.installTools()
	r.startCluster()
	git, err := server.StartGit(t.Context(), server.GitOptions{Username: "muster", Password: "TOKEN"})
	r.must(err)
	t.Cleanup(func() { r.must(git.Stop()) })
	r.url, err = git.CreateRepository(t.Context(), "platform/fleet")
	r.must(err)
	return r
}

func (r *reader) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// installTools puts kubectl and a stand-in for Docker in a folder of the PATH.
func (r *reader) installTools() {
	bin := r.TempDir()
	kubectl, err := server.Binary(r.Context(), server.Kubectl, os.Stderr)
	r.must(err)
	r.must(os.Symlink(kubectl, filepath.Join(bin, "kubectl")))
	r.must(os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\necho stand-in for docker: \"$@\"\n"), 0o700))
	r.path = bin + string(os.PathListSeparator) + os.Getenv("PATH")
}

// startCluster starts a cluster with the operator's CRD, namespace and audit config, and the one to scan, in the context TARGET.
func (r *reader) startCluster() {
	plane, err := server.StartControlPlane(r.Context(), server.ControlPlaneOptions{ControllerManager: true})
	r.must(err)
	r.Cleanup(func() { r.must(plane.Stop()) })
	r.in = &installation{plane: plane}
	r.must(server.InstallCRDs(r.Context(), plane.Config(), server.MondooAuditConfigCRD()))
	r.admin, err = client.New(plane.Config(), client.Options{})
	r.must(err)
	config := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "k8s.mondoo.com/v1alpha2", "kind": "MondooAuditConfig",
		"metadata": map[string]any{"name": "mondoo-client", "namespace": operatorNamespace},
		"spec":     map[string]any{"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"}, "kubernetesResources": map[string]any{"schedule": "0 * * * *"}}}}
	namespace, credentials := &corev1.Namespace{}, &corev1.Secret{StringData: map[string]string{"config": "{}"}}
	namespace.Name, credentials.Name, credentials.Namespace = operatorNamespace, "mondoo-client", operatorNamespace
	for _, o := range []client.Object{namespace, credentials, config} {
		r.must(r.admin.Create(r.Context(), o))
	}
	standIn, err := operator.Start(r.Context(), plane.Config(), operator.Options{Namespace: operatorNamespace, Takes: time.Second})
	r.must(err)
	r.Cleanup(func() { r.must(standIn.Stop()) })
	scanned, err := server.StartControlPlane(r.Context(), server.ControlPlaneOptions{ControllerManager: true})
	r.must(err)
	r.Cleanup(func() { r.must(scanned.Stop()) })
	r.target = scanned.Config().Host
	target := filepath.Join(r.TempDir(), "target")
	r.must(os.WriteFile(target, []byte(strings.ReplaceAll(string(scanned.Kubeconfig()), "muster-devenv", "TARGET")), 0o600))
	r.kubeconfig = plane.KubeconfigPath() + string(os.PathListSeparator) + target
}

// shell runs a script as bash would run what is typed, and returns what it prints.
func (r *reader) shell(script string) (string, error) {
	cmd := exec.CommandContext(r.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "PATH="+r.path, "KUBECONFIG="+r.kubeconfig, "HOME="+r.home, "XDG_CONFIG_HOME=", "GOCACHE="+r.goEnv("GOCACHE"), "GOMODCACHE="+r.goEnv("GOMODCACHE"), "GOFLAGS=-mod=mod", "KUBECACHEDIR="+filepath.Join(r.dir, ".cache", "kubectl"),
		"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// types runs a block, which must succeed.
func (r *reader) types(block string) string {
	r.Helper()
	began := time.Now()
	out, err := r.shell(block)
	if err != nil {
		r.Fatalf("%s\n%v:\n%s", block, err, out)
	}
	first, _, _ := strings.Cut(block, "\n")
	r.Logf("%s: %s", first, time.Since(began).Round(10*time.Millisecond))
	return out
}

// exampleFile reads the cluster file of the first screen.
func (r *reader) exampleFile(block string) {
	var file v1alpha1.ExternalCluster
	if err := yaml.UnmarshalStrict([]byte(block), &file); err != nil {
		r.Errorf("the example: %v", err)
	}
}

// goEnv is a setting of the go command, which depends on HOME unless it is given.
func (r *reader) goEnv(name string) string {
	out, err := exec.CommandContext(r.Context(), "go", "env", name).Output()
	r.must(err)
	return strings.TrimSpace(string(out))
}

const exampleURL = "https://git.example.com/platform/fleet.git"

// inits makes the repository. The reader has another address than the page.
func (r *reader) inits(block string) {
	if !strings.Contains(block, exampleURL) {
		r.Fatalf("init has another repository than %s:\n%s", exampleURL, block)
	}
	r.commands++
	block = strings.Replace(block, exampleURL, r.url, 1)
	if out := r.types(block); !strings.Contains(out, "fleet/.sops.yaml") || !strings.Contains(out, ".config/sops/age/fleet.agekey") {
		r.Errorf("init doesn't say what it wrote:\n%s", out)
	}
	r.types(`grep -q 'url: ` + r.url + `$' ../fleet/auditsyncs/production.yaml`)
}

// adds adds the cluster. Only a local API server needs its address.
func (r *reader) adds(block string) {
	r.commands++
	if out, err := r.shell(block); err == nil || !strings.Contains(out, "its server is this machine") {
		r.Errorf("an address of this machine: %v:\n%s", err, out)
	}
	if out := r.types(block + " --server " + r.target); !strings.Contains(out, "adds 1 cluster (prod-eu-west-1)") {
		r.Errorf("add doesn't say what it does:\n%s", out)
	}
	if file := r.types(`cat ../fleet/clusters/production/*.yaml`); !strings.Contains(file, "token: ENC[") || !strings.Contains(file, "H * * * *") {
		r.Errorf("the file isn't encrypted as the page says:\n%s", file)
	}
}

// pushes commits and pushes.
func (r *reader) pushes(block string) {
	r.commands++
	r.types(strings.Replace(block, exampleURL, "'"+strings.Replace(r.url, "://", "://muster:TOKEN@", 1)+"'", 1))
}

// installs builds an image that nothing can run here, and starts the controller as the Deployment would.
func (r *reader) installs(block string) {
	build, rest, _ := strings.Cut(block, "\n")
	if out := r.types(build); !strings.Contains(out, "--tag registry.example.com/muster:devel") {
		r.Errorf("make image doesn't build the image:\n%s", out)
	}
	r.types(`sed -i 's|newName: muster .*|newName: registry.example.com/muster|' config/default/kustomization.yaml`)
	r.types(`echo TOKEN >TOKEN_FILE`)
	r.types(rest)
	r.commands += strings.Count(rest, "\n") + 1
	if image := r.types(`kubectl -n mondoo-operator get deployment muster -o 'jsonpath={.spec.template.spec.containers[0].image}'`); image != "registry.example.com/muster:devel" {
		r.Errorf("the Deployment has the image %s", image)
	}
	r.in.awaitRights(r.T, objects(r.T, kustomize(r.T, "default")))
	r.in.startController(r.T)
}

// looks types the last commands until they show what the page promises. muster status lists only clusters that need attention.
func (r *reader) looks(block string) {
	var out string
	if !eventually(r.T, 3*time.Minute, func() bool {
		var err error
		out, err = r.shell(block)
		return err == nil && regexp.MustCompile(`(?m)^production +True `).MatchString(out) && strings.Contains(out, "AuditSync production  ready ") && strings.Contains(out, "scans: 1 Succeeded")
	}) {
		r.Fatalf("the AuditSync isn't ready, or its cluster isn't scanned:\n%s", out)
	}
	r.commands++
	r.Logf("%s", out)
}
