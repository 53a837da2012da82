package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

func krewCommand() command {
	return command{
		name: "krew", args: "VERSION DIST",
		does: "write DIST/krew/muster.yaml, the manifest of the kubectl plugin for the archives in DIST",
		run:  runKrew,
	}
}

// krewManifest is the manifest in the repository, with placeholders.
var krewManifest = filepath.Join("config", "krew", "muster.yaml")

// runKrew fills in the manifest of a release. It runs at the top of the repository.
func runKrew(_ context.Context, args []string, stdout, _ io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("%w: krew takes the version, such as v1.2.3, and the folder with the archives", errUsage)
	}
	template, err := os.ReadFile(krewManifest)
	if err != nil {
		return fmt.Errorf("%w; run this at the top of the repository", err)
	}
	manifest, err := filledManifest(template, args[0], os.DirFS(args[1]))
	if err != nil {
		return err
	}
	file := filepath.Join(args[1], "krew", "muster.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	fmt.Fprintln(stdout, file)
	return os.WriteFile(file, manifest, 0o644)
}

// What a release replaces in the manifest.
const (
	placeholderVersion = "v0.0.0"
	placeholderSum     = `sha256: "0000000000000000000000000000000000000000000000000000000000000000" # the archive's`
)

// releaseVersion is a version that krew accepts, by semver.org with a v in front.
var releaseVersion = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)

// filledManifest replaces the version, and for each platform the checksum of the archive that its uri names. It leaves out the
// comments, which are about the placeholders.
func filledManifest(template []byte, version string, dist fs.FS) ([]byte, error) {
	if !releaseVersion.MatchString(version) || version == placeholderVersion {
		return nil, fmt.Errorf("the version %q is not that of a release, such as v1.2.3; set VERSION", version)
	}
	var out bytes.Buffer
	archive := ""
	for line := range strings.Lines(string(template)) {
		line = strings.ReplaceAll(line, placeholderVersion+" # the release's", version)
		line = strings.ReplaceAll(line, placeholderVersion, version)
		if uri, ok := strings.CutPrefix(strings.TrimSpace(line), "uri: "); ok {
			archive = path.Base(uri)
		}
		if strings.Contains(line, placeholderSum) {
			sum, err := sumOf(dist, archive)
			if err != nil {
				return nil, err
			}
			line = strings.Replace(line, placeholderSum, "sha256: "+sum, 1)
		}
		if !strings.HasPrefix(line, "#") {
			out.WriteString(line)
		}
	}
	return out.Bytes(), nil
}

func sumOf(dist fs.FS, archive string) (string, error) {
	content, err := fs.ReadFile(dist, archive)
	if err != nil {
		return "", fmt.Errorf("%w; build the release's archives first", err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}
