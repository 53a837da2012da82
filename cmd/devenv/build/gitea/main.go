// Command gitea is the upstream Gitea server and its command line, with a SQLite that is written in Go: Gitea's driver needs
// cgo, and so a C compiler, which Muster's tests don't require. It is a separate module so that Muster's module never has to
// match Gitea's requirements; cmd/devenv/server builds it.
package main

import (
	"os"
	"strings"

	"code.gitea.io/gitea/cmd"
	"code.gitea.io/gitea/modules/log"
	"code.gitea.io/gitea/modules/setting"
	"github.com/urfave/cli/v3"
)

// version is the version of the Go module, set by the linker.
var version = "v0.0.0-development"

func main() {
	setting.AppVer = strings.TrimPrefix(version, "v") // as in Gitea's releases
	cli.OsExiter = func(code int) {
		log.GetManager().Close() // queued messages would be lost
		os.Exit(code)
	}
	err := cmd.RunMainApp(cmd.NewMainApp(cmd.AppVersion{Version: setting.AppVer}), os.Args...)
	log.GetManager().Close()
	if err != nil {
		os.Exit(1)
	}
}
