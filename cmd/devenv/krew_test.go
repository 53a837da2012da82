package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
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
	const version = "v1.2.3-rc.1"
	release, err := krewOf(krewTemplate(t), version)
	if err != nil {
		t.Fatal(err)
	}
	dist := fstest.MapFS{}
	for _, p := range release.platforms {
		dist[p.archive()] = &fstest.MapFile{Data: []byte(p.archive())}
	}
	filled, err := release.filled(dist)
	if err != nil {
		t.Fatal(err)
	}
	p := readKrew(t, filled)
	if p.Spec.Version != version || bytes.Contains(filled, []byte(placeholderVersion)) || bytes.Contains(filled, []byte("#")) {
		t.Errorf("placeholders are left:\n%s", filled)
	}
	for _, platform := range p.Spec.Platforms {
		sum := sha256.Sum256(dist[platform.archive()].Data)
		if platform.Sha256 != hex.EncodeToString(sum[:]) || !strings.Contains(platform.URI, "/"+version+"/muster_"+version+"_") {
			t.Errorf("%+v", platform)
		}
	}
	delete(dist, "muster_v1.2.3-rc.1_darwin_arm64.tar.gz")
	if _, err := release.filled(dist); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with an archive missing: %v", err)
	}
	for _, row := range []struct{ reason, version, says string }{
		{"not a version", "1.2.3", "not that of a release"},
		{"a work tree", "v1.2.3-dirty dirty", "not that of a release"},
		{"the placeholder", placeholderVersion, "not that of a release"},
		{"a commit without a tag", "0123456", "not that of a release"},
		{"files that are not committed", "v1.2.3-4-g0123456-dirty", "commit them"},
	} {
		if _, err := krewOf(krewTemplate(t), row.version); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.reason, err)
		}
	}
}
