package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version of a release build, set by the linker: -X main.release=v1.2.3.
var release string

func newVersionCommand(s *shell) *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version of this binary", Example: "  muster version", Args: atMost(0)}
	output := addChoice(cmd, "output", "o", "output format", "text", "json")
	cmd.RunE = func(*cobra.Command, []string) error {
		if output.value == "json" {
			return writeJSON(s.stdout, build())
		}
		_, err := fmt.Fprintln(s.stdout, version())
		return err
	}
	return cmd
}

// buildJSON is what the build knows of itself.
type buildJSON struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func build() buildJSON {
	b := buildJSON{Version: shortVersion(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				b.Commit = setting.Value
			}
		}
	}
	return b
}

// version is one line: version, commit, Go version and platform, as far as the build knows them.
func version() string {
	b := build()
	commit := ""
	if b.Commit != "" {
		commit = "commit " + b.Commit + ", "
	}
	return fmt.Sprintf("muster %s (%s%s, %s)", b.Version, commit, b.Go, b.Platform)
}

// shortVersion is the version only: that of the release, or of the module if it was built as a dependency or by go install.
func shortVersion() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
