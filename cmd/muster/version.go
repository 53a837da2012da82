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
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this binary",
		Example: "  muster version",
		Args:    atMost(0),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(s.stdout, version())
			return err
		},
	}
}

// version is one line: version, commit, Go version and platform, as far as the build knows them.
func version() string {
	name, commit := shortVersion(), ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				commit = "commit " + setting.Value + ", "
			}
		}
	}
	return fmt.Sprintf("muster %s (%s%s, %s/%s)", name, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
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
