package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// krewManifest is the manifest in the repository, with placeholders.
var krewManifest = filepath.Join("config", "krew", "muster.yaml")

// What a release replaces in the manifest.
const (
	placeholderVersion = "v0.0.0"
	placeholderSum     = `sha256: "0000000000000000000000000000000000000000000000000000000000000000" # the archive's`
)

// releaseVersion is a version that krew accepts, by semver.org with a v in front.
var releaseVersion = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)

// krewRelease is the manifest of a version. Checksums are placeholders until filled.
type krewRelease struct {
	text      []byte
	platforms []krewPlatform
}

// krewPlatform is what krew downloads for a platform.
type krewPlatform struct {
	Selector struct {
		MatchLabels map[string]string `json:"matchLabels"`
	} `json:"selector"`
	URI    string `json:"uri"`
	Sha256 string `json:"sha256"`
	Bin    string `json:"bin"`
	Files  []struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"files"`
}

func (p krewPlatform) os() string      { return p.Selector.MatchLabels["os"] }
func (p krewPlatform) arch() string    { return p.Selector.MatchLabels["arch"] }
func (p krewPlatform) archive() string { return path.Base(p.URI) }

// readKrewManifest reads the manifest at the top of the repository, for a version.
func readKrewManifest(version string) (*krewRelease, error) {
	template, err := os.ReadFile(krewManifest)
	if err != nil {
		return nil, fmt.Errorf("%w; run this at the top of the repository", err)
	}
	return krewOf(template, version)
}

// krewOf replaces the version. It leaves out the comments, which are about the placeholders.
func krewOf(template []byte, version string) (*krewRelease, error) {
	switch {
	case !releaseVersion.MatchString(version) || version == placeholderVersion:
		return nil, fmt.Errorf("the version %q is not that of a release, such as v1.2.3; set VERSION", version)
	case strings.HasSuffix(version, "-dirty"):
		return nil, fmt.Errorf("the version %q has changes that are not committed; commit them, or set VERSION", version)
	}
	var text bytes.Buffer
	for line := range strings.Lines(string(template)) {
		if !strings.HasPrefix(line, "#") {
			line = strings.ReplaceAll(line, placeholderVersion+" # the release's", version)
			text.WriteString(strings.ReplaceAll(line, placeholderVersion, version))
		}
	}
	var parsed struct {
		Spec struct {
			Platforms []krewPlatform `json:"platforms"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text.Bytes(), &parsed); err != nil {
		return nil, fmt.Errorf("read %s: %w", krewManifest, err)
	}
	return &krewRelease{text.Bytes(), parsed.Spec.Platforms}, nil
}

// filled is the manifest with the checksum of each platform's archive.
func (r *krewRelease) filled(dist fs.FS) ([]byte, error) {
	text := r.text
	for _, p := range r.platforms {
		sum, err := sumOf(dist, p.archive())
		if err != nil {
			return nil, err
		}
		text = bytes.Replace(text, []byte(placeholderSum), []byte("sha256: "+sum), 1) // they are in the order of the platforms
	}
	return text, nil
}

func sumOf(dist fs.FS, archive string) (string, error) {
	content, err := fs.ReadFile(dist, archive)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}
