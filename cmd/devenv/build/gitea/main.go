// Command gitea is the upstream Gitea server and its command line, with a SQLite that is written in Go: Gitea's own needs
// cgo and with it a C compiler, which Muster's tests do not ask for. It is a module of its own so that the module it
// stands beside never has to agree with Gitea's requirements; cmd/devenv/server builds it.
package main

import (
	"os"
	"strings"

	"code.gitea.io/gitea/cmd"
	"code.gitea.io/gitea/modules/log"
	"code.gitea.io/gitea/modules/setting"
	"github.com/urfave/cli/v3"
)

// version is that of the Go module, stamped in by the linker.
var version = "v0.0.0-development"

func main() {
	setting.AppVer = strings.TrimPrefix(version, "v") // as Gitea's releases have it
	cli.OsExiter = func(code int) {
		log.GetManager().Close() // what is still queued would be lost
		os.Exit(code)
	}
	err := cmd.RunMainApp(cmd.NewMainApp(cmd.AppVersion{Version: setting.AppVer}), os.Args...)
	log.GetManager().Close()
	if err != nil {
		os.Exit(1)
	}
}
