package server

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Component is a server binary that is built from source.
type Component struct {
	// Name is the file name of the binary, as in KUBEBUILDER_ASSETS.
	Name string

	dir     string // the nested module, below cmd/devenv/build
	module  string // the required module that has the component's version
	target  string // the main package
	tags    string // build tags, if any
	stamp   string // the variable that holds the version, for the linker
	took    string // expected duration of a first build on two cores
	version string // set by locate
	source  string // the absolute folder of the nested module; set by locate
	cache   string // the absolute folder for the binary; set by locate
}

// The components that this package can build.
var (
	Etcd = Component{
		Name: "etcd", dir: "etcd", module: "go.etcd.io/etcd/server/v3", target: ".", took: "40 seconds",
	}
	KubeAPIServer         = kubernetesServer("kube-apiserver", "6 minutes")
	KubeControllerManager = kubernetesServer("kube-controller-manager", "3 minutes")
	VaultServer           = Component{
		Name: "vault", dir: "vault", module: "github.com/hashicorp/vault", target: ".", took: "3 minutes",
	}
	GiteaServer = Component{
		Name: "gitea", dir: "gitea", module: giteaModule, target: ".", stamp: "main.version", took: "5 minutes",
	}
	// Promtool is not a server: it checks and unit-tests the alerting rules. It is built without service discovery, which
	// needs the clients of clouds.
	Promtool = Component{
		Name: "promtool", dir: "promtool", module: "github.com/prometheus/prometheus",
		target: "github.com/prometheus/prometheus/cmd/promtool", tags: "remove_all_sd", took: "2 minutes",
	}
	// Kubectl is not a server either: a test types the commands of README.md.
	Kubectl = Component{Name: "kubectl", dir: "kubectl", module: "k8s.io/kubectl", target: ".", took: "1 minute"}
)

// Components returns every component. Those of a control plane come first, in the order in which it starts them.
func Components() []Component {
	return append(controlPlaneComponents(), VaultServer, GiteaServer, Promtool, Kubectl)
}

func controlPlaneComponents() []Component {
	return []Component{Etcd, KubeAPIServer, KubeControllerManager}
}

func kubernetesServer(name, took string) Component {
	return Component{
		Name: name, dir: "kubernetes", module: "k8s.io/kubernetes", target: "k8s.io/kubernetes/cmd/" + name,
		stamp: "k8s.io/component-base/version.gitVersion", took: took,
	}
}

// ErrNoSource means that the working directory is not inside a checkout of Muster, so there is no source to build from.
var ErrNoSource = errors.New("not inside a checkout of " + modulePath)

const modulePath = "github.com/muster-gitops/muster"

// locate returns the component with its version, source and place in the cache. The place depends on everything that
// determines the binary: version, platform, and the files of the nested module.
func (c Component) locate() (Component, error) {
	root, err := Root()
	if err != nil {
		return c, err
	}
	c.source = filepath.Join(root, "cmd", "devenv", "build", c.dir)
	gomod, err := os.ReadFile(filepath.Join(c.source, "go.mod"))
	if err != nil {
		return c, err
	}
	if c.version = required(gomod, c.module); c.version == "" {
		return c, fmt.Errorf("%s does not require %s", filepath.Join(c.source, "go.mod"), c.module)
	}
	sum, err := hashFiles(c.source)
	if err != nil {
		return c, err
	}
	key := strings.Join([]string{c.Name, c.version, runtime.GOOS, runtime.GOARCH, sum}, "-")
	c.cache = filepath.Join(root, ".cache", "devenv", key)
	return c, nil
}

// Root returns the top folder of the checkout that contains the working directory, or ErrNoSource. Tests run in the folder
// of their package, commands mostly at the root. The nested modules on the way have other names.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && declares(gomod, modulePath) {
			return dir, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", ErrNoSource
		}
		dir = parent
	}
}

func declares(gomod []byte, module string) bool {
	lines := bufio.NewScanner(bytes.NewReader(gomod))
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) >= 2 && f[0] == "module" {
			return f[1] == module
		}
	}
	return false
}

// required finds the version of a direct requirement on a single line, the form that the nested modules use.
func required(gomod []byte, module string) string {
	lines := bufio.NewScanner(bytes.NewReader(gomod))
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) >= 3 && f[0] == "require" && f[1] == module {
			return f[2]
		}
	}
	return ""
}

// hashFiles returns 8 hex digits of a hash over the names and contents of the files of a nested module, which has no
// folders.
func hashFiles(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", e.Name(), len(content))
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil)[:4]), nil
}
