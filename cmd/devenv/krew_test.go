package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// krewPlugin is a krew manifest (v1alpha2), https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/.
type krewPlugin struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Version          string         `json:"version"`
		Homepage         string         `json:"homepage"`
		ShortDescription string         `json:"shortDescription"`
		Description      string         `json:"description"`
		Caveats          string         `json:"caveats"`
		Platforms        []krewPlatform `json:"platforms"`
	} `json:"spec"`
}

type krewPlatform struct {
	Selector *metav1.LabelSelector `json:"selector"`
	URI      string                `json:"uri"`
	Sha256   string                `json:"sha256"`
	Bin      string                `json:"bin"`
	Files    []struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"files"`
}

func readKrew(t *testing.T, content []byte) krewPlugin {
	t.Helper()
	var p krewPlugin
	if err := yaml.UnmarshalStrict(content, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func krewTemplate(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, krewManifest))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestKrewManifest holds what krew itself checks of a manifest, and what reviewers of krew-index ask for.
func TestKrewManifest(t *testing.T) {
	p := readKrew(t, krewTemplate(t))
	if p.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || p.Kind != "Plugin" || p.Name+".yaml" != filepath.Base(krewManifest) {
		t.Errorf("%s %s %s", p.APIVersion, p.Kind, p.Name)
	}
	s := p.Spec
	// krew search shows 50 characters, and reviewers ask for no full stop and no "kubectl plugin".
	if d := s.ShortDescription; d == "" || len(d) > 50 || strings.ContainsAny(d, "\r\n") || strings.HasSuffix(d, ".") || strings.Contains(strings.ToLower(d), "kubectl") {
		t.Errorf("the short description %q has %d characters", d, len(d))
	}
	if s.Version != placeholderVersion || !strings.HasPrefix(s.Homepage, "https://") || s.Description == "" {
		t.Errorf("%+v", s)
	}
	for line := range strings.Lines(s.Description + s.Caveats) {
		if len(line) > 81 {
			t.Errorf("krew doesn't wrap lines, and this has more than 80 characters: %s", line)
		}
	}
	var platforms []string
	for _, platform := range s.Platforms {
		labels := platform.Selector.MatchLabels
		platforms = append(platforms, labels["os"]+"/"+labels["arch"])
		bin, archive := "muster", "tar.gz"
		if labels["os"] == "windows" {
			bin, archive = "muster.exe", "zip"
		}
		want := "muster_" + placeholderVersion + "_" + labels["os"] + "_" + labels["arch"] + "." + archive
		if platform.Bin != bin || len(labels) != 2 || path.Base(platform.URI) != want || !strings.HasPrefix(platform.URI, s.Homepage+"/releases/download/"+placeholderVersion+"/") {
			t.Errorf("%+v, want the binary %s in %s", platform, bin, want)
		}
		var files []string
		for _, f := range platform.Files {
			files = append(files, f.From)
		}
		if !slices.Equal(files, []string{bin, "LICENSE"}) {
			t.Errorf("%s takes %v from the archive", want, files)
		}
	}
	if want := []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"}; !slices.Equal(platforms, want) {
		t.Errorf("platforms %v, want %v", platforms, want)
	}
}

func TestKrewOfARelease(t *testing.T) {
	dist := fstest.MapFS{}
	for _, p := range readKrew(t, krewTemplate(t)).Spec.Platforms {
		name := strings.ReplaceAll(path.Base(p.URI), placeholderVersion, "v1.2.3-rc.1")
		dist[name] = &fstest.MapFile{Data: []byte(name)}
	}
	filled, err := filledManifest(krewTemplate(t), "v1.2.3-rc.1", dist)
	if err != nil {
		t.Fatal(err)
	}
	p := readKrew(t, filled)
	if p.Spec.Version != "v1.2.3-rc.1" || bytes.Contains(filled, []byte(placeholderVersion)) || bytes.Contains(filled, []byte("#")) {
		t.Errorf("placeholders are left:\n%s", filled)
	}
	for _, platform := range p.Spec.Platforms {
		sum := sha256.Sum256(dist[path.Base(platform.URI)].Data)
		if platform.Sha256 != hex.EncodeToString(sum[:]) || !regexp.MustCompile("/v1.2.3-rc.1/muster_v1.2.3-rc.1_").MatchString(platform.URI) {
			t.Errorf("%+v", platform)
		}
	}
	for _, row := range []struct{ reason, version, remove, says string }{
		{"not a version", "1.2.3", "", "not that of a release"},
		{"a work tree", "v1.2.3-dirty dirty", "", "not that of a release"},
		{"the placeholder", placeholderVersion, "", "not that of a release"},
		{"an archive is missing", "v1.2.3-rc.1", "muster_v1.2.3-rc.1_darwin_arm64.tar.gz", "muster_v1.2.3-rc.1_darwin_arm64.tar.gz: file does not exist; build the release's archives first"},
	} {
		some := fstest.MapFS{}
		for name, file := range dist {
			if name != row.remove {
				some[name] = file
			}
		}
		if _, err := filledManifest(krewTemplate(t), row.version, some); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.reason, err)
		}
	}
}

// TestKrewCommand writes the manifest where the make target expects it.
func TestKrewCommand(t *testing.T) {
	dist := t.TempDir()
	for _, p := range readKrew(t, krewTemplate(t)).Spec.Platforms {
		name := strings.ReplaceAll(path.Base(p.URI), placeholderVersion, "v1.2.3")
		if err := os.WriteFile(filepath.Join(dist, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
	var out bytes.Buffer
	if code := run(t.Context(), []string{"krew", "v1.2.3", dist}, &out, &out); code != 0 {
		t.Fatalf("status %d: %s", code, out.String())
	}
	content, err := os.ReadFile(strings.TrimSpace(out.String()))
	if err != nil || readKrew(t, content).Spec.Version != "v1.2.3" {
		t.Errorf("%v\n%s", err, content)
	}
	for _, args := range [][]string{{"krew"}, {"krew", "v1.2.3"}, {"krew", "v1.2.3", t.TempDir()}} {
		if code := run(t.Context(), args, &out, &out); code == 0 {
			t.Errorf("devenv %v ends well", args)
		}
	}
}
