package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func releaseCommand() command {
	return command{
		name: "release", args: "VERSION DIST",
		does: "build the archives of a release into DIST, with their checksums and the manifest of the kubectl plugin",
		run:  runRelease,
	}
}

// runRelease builds what a release consists of: the archives that the manifest for krew names, SHA256SUMS, and the manifest. It runs
// at the top of the repository.
func runRelease(ctx context.Context, args []string, stdout, _ io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("%w: release takes the version, such as v1.2.3, and the folder for the archives", errUsage)
	}
	version, dist := args[0], args[1]
	manifest, err := readKrewManifest(version)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, p := range manifest.platforms {
		fmt.Fprintln(stdout, filepath.Join(dist, p.archive()))
		if err := p.build(ctx, version, dist); err != nil {
			return err
		}
		sum, err := sumOf(os.DirFS(dist), p.archive())
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, p.archive())
	}
	filled, err := manifest.filled(os.DirFS(dist))
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dist, "SHA256SUMS"), []byte(sums.String()), 0o644),
		os.WriteFile(filepath.Join(dist, filepath.Base(krewManifest)), filled, 0o644))
}

// build builds the binary of a platform, and its archive in dist. The same commit, version and Go version give the same bytes.
func (p krewPlatform) build(ctx context.Context, version, dist string) error {
	at, err := commitTime(ctx)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "muster-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }() // a temporary folder
	binary := filepath.Join(temp, p.Bin)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w -X main.release="+version, "-o", binary, "./cmd/muster")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os(), "GOARCH="+p.arch(), "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-mod=readonly", "GOEXPERIMENT=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build muster for %s/%s: %w\n%s", p.os(), p.arch(), err, out)
	}
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(dist, p.archive()))
	if err != nil {
		return err
	}
	write := tarGzip
	if strings.HasSuffix(p.archive(), ".zip") {
		write = zipped
	}
	files := []packed{{p.Bin, binary, 0o755}, {"LICENSE", "LICENSE", 0o644}}
	return errors.Join(write(out, files, at), out.Close())
}

// commitTime is the time of the files in an archive.
func commitTime(ctx context.Context) (time.Time, error) {
	out, err := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct").Output()
	if err != nil {
		return time.Time{}, fmt.Errorf("read the time of the commit: %w", err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return time.Unix(seconds, 0).UTC(), err
}

// packed is a file in an archive.
type packed struct {
	name, from string
	mode       os.FileMode
}

// archiver begins a file in an archive. Owners are left out, and the time is that of the commit.
type archiver func(f packed, size int64) (io.Writer, error)

func pack(files []packed, begin archiver) error {
	for _, f := range files {
		content, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		w, err := begin(f, int64(len(content)))
		if err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return nil
}

func tarGzip(w io.Writer, files []packed, at time.Time) error {
	compressed := gzip.NewWriter(w)
	archive := tar.NewWriter(compressed)
	err := pack(files, func(f packed, size int64) (io.Writer, error) {
		return archive, archive.WriteHeader(&tar.Header{Name: f.name, Mode: int64(f.mode), Size: size, ModTime: at, Format: tar.FormatUSTAR})
	})
	return errors.Join(err, archive.Close(), compressed.Close())
}

func zipped(w io.Writer, files []packed, at time.Time) error {
	archive := zip.NewWriter(w)
	err := pack(files, func(f packed, _ int64) (io.Writer, error) {
		header := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: at}
		header.SetMode(f.mode)
		return archive.CreateHeader(header)
	})
	return errors.Join(err, archive.Close())
}
