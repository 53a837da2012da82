package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is where the tests of this package find the top of the repository.
var root = filepath.Join("..", "..")

const module = "github.com/muster-gitops/muster"

// goPackage is what the test needs of `go list -json`.
type goPackage struct {
	ImportPath, Name                         string
	Imports, Deps, TestImports, XTestImports []string
}

// dir is the folder of a package of this module, from the root.
func (p goPackage) dir() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// isBelow says whether the import path is one of these, or below one.
func isBelow(importPath string, parents ...string) bool {
	return slices.ContainsFunc(parents, func(p string) bool { return importPath == p || strings.HasPrefix(importPath, p+"/") })
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Imports,Deps,TestImports,XTestImports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	}
	var all []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// Imports go one way: cmd → controllers → {gitsync, clusters}.
func TestImportsGoOneWay(t *testing.T) {
	forbidden := []struct {
		from   string
		to     []string
		reason string
	}{
		{module + "/gitsync", []string{module + "/clusters", module + "/controllers", module + "/cmd"},
			"a repository doesn't know what its files mean"},
		{module + "/clusters", []string{module + "/gitsync", module + "/controllers", module + "/cmd"},
			"files are rendered without knowing where they come from or go to"},
		{module + "/controllers", []string{module + "/cmd"}, "the program uses the controllers"},
		{module + "/gitsync", []string{"sigs.k8s.io/controller-runtime", "k8s.io/client-go"}, "gitsync knows nothing of Kubernetes"},
		{module + "/clusters", []string{"sigs.k8s.io/controller-runtime", "k8s.io/client-go/dynamic", "k8s.io/client-go/kubernetes",
			"k8s.io/client-go/discovery"}, "clusters has no Kubernetes client"},
	}
	rules := make([]int, len(forbidden))
	for _, p := range packages(t) {
		for i, f := range forbidden {
			if !isBelow(p.ImportPath, f.from) {
				continue
			}
			rules[i]++
			for _, to := range p.Deps {
				if isBelow(to, f.to...) {
					t.Errorf("%s depends on %s: %s", p.dir(), to, f.reason)
				}
			}
			// Tests may start the servers of cmd/devenv, and the stand-in for the operator; that is what these are for.
			for _, to := range slices.Concat(p.TestImports, p.XTestImports) {
				if isBelow(to, f.to...) && isBelow(to, module) && !isBelow(to, module+"/cmd/devenv/server", module+"/cmd/devenv/operator") {
					t.Errorf("a test of %s imports %s: %s", p.dir(), to, f.reason)
				}
			}
		}
		if isBelow(p.ImportPath, module+"/clusters") {
			checkClientGo(t, p)
		}
	}
	for i, n := range rules {
		if n == 0 {
			t.Errorf("%s: there is no such package, so the rule holds nothing", forbidden[i].from)
		}
	}
}

// Packages below controllers don't know the package that puts them together, and import each other only downwards: api and scanstate
// import none, report imports those two, and all others import only these three.
func TestControllersAreRooms(t *testing.T) {
	const house, api, scan, report = module + "/controllers", module + "/controllers/api", module + "/controllers/scanstate", module + "/controllers/report"
	allowed := map[string][]string{api: {}, scan: {}, report: {api, scan}}
	found := map[string]bool{}
	for _, p := range packages(t) {
		if p.ImportPath == house || !isBelow(p.ImportPath, house) {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(p.ImportPath, house+"/"), "/")
		room := house + "/" + name
		found[room] = true
		below, pure := allowed[room]
		if !pure {
			below = []string{api, scan, report}
		}
		for _, to := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if isBelow(to, house) && !isBelow(to, append(below, room)...) {
				t.Errorf("%s imports %s: packages below controllers import each other only downwards", p.dir(), to)
			}
		}
	}
	if !found[api] || !found[scan] || !found[report] || len(found) <= len(allowed) {
		t.Errorf("found only %v, so the rule holds nothing", slices.Sorted(maps.Keys(found)))
	}
}

// Nothing before the stage open can decrypt: it reaches neither keys nor a library that decrypts.
func TestOnlyOpeningReachesKeys(t *testing.T) {
	decrypting := []string{module + "/clusters/keys", module + "/clusters/unseal", "filippo.io/age", "github.com/getsops/sops/v3", "github.com/ProtonMail/go-crypto"}
	withKeys := []string{"clusters", "clusters/keys", "clusters/encrypt", "clusters/unseal", "clusters/open", "clusters/judge", "clusters/sealtest"}
	keyless := map[string]bool{}
	for _, p := range packages(t) {
		if !isBelow(p.ImportPath, module+"/clusters") || slices.Contains(withKeys, p.dir()) {
			continue
		}
		keyless[p.dir()] = true
		for _, to := range p.Deps {
			if isBelow(to, decrypting...) {
				t.Errorf("%s depends on %s: only %s may decrypt", p.dir(), to, strings.Join(withKeys, ", "))
			}
		}
	}
	for _, stage := range []string{"v1alpha1", "load", "seal", "kustomize", "compile", "fleet", "recipient", "redact", "explain", "plan"} {
		if !keyless["clusters/"+stage] {
			t.Errorf("there is no package clusters/%s, so the rule holds nothing for it", stage)
		}
	}
}

// checkClientGo lets clusters/credential and clusters/author parse kubeconfigs with the parser that clients use, which brings
// along, but never connects with, client-go's REST client. Nothing else of client-go is for clusters.
func checkClientGo(t *testing.T, p goPackage) {
	for _, to := range p.Imports {
		parser := isBelow(to, "k8s.io/client-go/tools/clientcmd") && (p.dir() == "clusters/credential" || p.dir() == "clusters/author")
		if isBelow(to, "k8s.io/client-go") && !parser {
			t.Errorf("%s imports %s: only clusters/credential and clusters/author may, and only clientcmd", p.dir(), to)
		}
	}
}

// Of the packages below clusters, only two speak HTTP: keys with key services, and preflight with clusters, through its guarded dialer.
func TestOnlyTwoPackagesConnect(t *testing.T) {
	connecting := map[string]bool{"clusters/keys": false, "clusters/preflight": false}
	for _, p := range packages(t) {
		_, known := connecting[p.dir()]
		switch {
		case !isBelow(p.ImportPath, module+"/clusters") || !slices.Contains(p.Imports, "net/http"):
		case known:
			connecting[p.dir()] = true
		default:
			t.Errorf("%s imports net/http: only keys and preflight open connections", p.dir())
		}
		// What preflight checks is opened already. With keys, whoever controls an address would be close to them.
		if p.dir() == "clusters/preflight" && slices.Contains(p.Deps, module+"/clusters/keys") {
			t.Errorf("%s depends on clusters/keys", p.dir())
		}
	}
	for dir, found := range connecting {
		if !found {
			t.Errorf("%s imports no net/http, so the rule holds nothing for it", dir)
		}
	}
}

func TestNoPackageIsNamedAfterNothing(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range append(strings.Split(p.dir(), "/"), p.Name) {
			switch name {
			case "util", "utils", "common", "helper", "helpers", "misc", "base", "manager", "lib", "pkg", "shared":
				t.Errorf("%s: %q says nothing about what is in it", p.dir(), name)
			}
		}
	}
}

// The top folders are the map of the house, as README.md draws it.
func TestTopLevelFolders(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	allowed := []string{".ci", ".github", "clusters", "cmd", "config", "controllers", "examples", "gitsync"}
	found := map[string]bool{}
	for file := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		folder, _, nested := strings.Cut(file, "/")
		if !nested {
			continue
		}
		found[folder] = true
		if !slices.Contains(allowed, folder) {
			t.Errorf("%s: %s is no folder of this house", file, folder)
		}
		// A package can only embed files beside it.
		embeds := path.Dir(file) == "config/schema"
		if path.Ext(file) == ".go" && (folder == ".ci" || folder == ".github" || folder == "config" && !embeds || folder == "examples") {
			t.Errorf("%s: Go is in clusters, cmd, controllers and gitsync, and in config/schema, which embeds its files", file)
		}
	}
	if len(found) == 0 {
		t.Error("git listed no files")
	}
}
