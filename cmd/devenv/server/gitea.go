package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

const giteaModule = "code.gitea.io/gitea"

// GiteaOptions configure Gitea. The zero value is valid.
type GiteaOptions struct {
	// Dir is the folder for repositories, database and gitea.log. It remains after Stop. Empty means a temporary folder that
	// Stop removes.
	Dir string
	// Log gets progress: mostly that Gitea is being built. Nil means os.Stderr.
	Log io.Writer
	// StartTimeout bounds the time from start to ready, without building. 0 means three minutes.
	StartTimeout time.Duration
}

// Gitea is a running Gitea server: Git over HTTP, the REST API and webhooks. It is safe for concurrent use.
//
// It listens on a socket in its folder, and clients talk to a proxy in this process. So it never loses its port to another
// program, and each request can be counted, or rejected for a test, before Gitea sees it.
type Gitea struct {
	dir      string
	temp     bool
	sockets  string // a separate folder, because the path of a socket may have at most 107 bytes
	binary   string
	admin    struct{ token, password string }
	front    *front
	process  *process
	shutdown shutdown
}

// StartGitea starts Gitea with an empty database and returns when it answers, after two or three seconds if it is built. It
// stops with ctx.
func StartGitea(ctx context.Context, o GiteaOptions) (_ *Gitea, err error) {
	o.Log, o.StartTimeout = orDefaults(o.Log, o.StartTimeout)
	g := &Gitea{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start gitea: %w", err), g.Stop())
		}
	}()
	if g.binary, err = Binary(ctx, GiteaServer, o.Log); err != nil {
		return nil, err
	}
	static, err := moduleFolder(ctx, GiteaServer, giteaModule)
	if err != nil {
		return nil, err
	}
	if err := g.prepare(ctx, o.Dir, static); err != nil {
		return nil, err
	}
	ctxStart, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	if err := g.run(ctxStart); err != nil {
		return nil, err
	}
	g.shutdown.with(ctx, g.end)
	return g, nil
}

// moduleFolder returns the folder of a component's source, which contains its templates and translations.
func moduleFolder(ctx context.Context, c Component, module string) (string, error) {
	c, err := c.locate()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = c.source
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the source of %s: %w", c.Name, err)
	}
	var found struct{ Dir string }
	if err := json.Unmarshal(out, &found); err != nil || found.Dir == "" {
		return "", fmt.Errorf("find the source of %s: %s", c.Name, out)
	}
	return found.Dir, nil
}

func (g *Gitea) prepare(ctx context.Context, dir, static string) (err error) {
	if g.dir, g.temp, err = ensureDir(dir, "muster-gitea-"); err != nil {
		return err
	}
	if g.sockets, err = os.MkdirTemp("", "muster-gitea-"); err != nil {
		return err
	}
	socket := filepath.Join(g.sockets, "http")
	if g.front, err = newFront(ctx, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}); err != nil {
		return err
	}
	me, err := user.Current()
	if err != nil {
		return err
	}
	settings := strings.NewReplacer("{user}", me.Username, "{dir}", g.dir, "{socket}", socket, "{url}", g.front.url,
		"{static}", static, "{random}", rand.Text()).Replace(giteaSettings)
	return os.WriteFile(g.file("app.ini"), []byte(settings), 0o600)
}

// run starts the server, waits until it answers, and creates the administrator.
func (g *Gitea) run(ctx context.Context) (err error) {
	if g.process, err = launch(GiteaServer.Name, g.dir, exec.Command(g.binary, g.settings("web")...)); err != nil {
		return err
	}
	if err := g.process.awaitReady(ctx, g.front.transport, g.front.url+"/api/healthz"); err != nil {
		return err
	}
	return g.createAdmin(ctx)
}

// settings adds the settings to a gitea command.
func (g *Gitea) settings(args ...string) []string {
	return append(args, "--config", g.file("app.ini"), "--work-path", g.dir)
}

const giteaAdmin = "administrator"

func (g *Gitea) createAdmin(ctx context.Context) error {
	g.admin.password = rand.Text()
	cmd := exec.CommandContext(ctx, g.binary, g.settings("admin", "user", "create", "--admin", "--username", giteaAdmin,
		"--email", giteaAdmin+"@example.com", "--password", g.admin.password, "--must-change-password=false",
		"--access-token", "--access-token-scopes", "all")...)
	cmd.Dir, cmd.Env = g.dir, environment(g.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("create the administrator: %w: %s", err, out)
	}
	_, after, _ := strings.Cut(string(out), "Access token was successfully created")
	for f := range strings.FieldsSeq(after) {
		if len(f) == 40 {
			g.admin.token = f
			return nil
		}
	}
	return fmt.Errorf("create the administrator: gitea printed no token: %s", out)
}

// Stop ends the server and removes its folder if that is temporary. Stopping again does nothing.
func (g *Gitea) Stop() error { return g.shutdown.now(g.end) }

func (g *Gitea) end() error {
	var errs []error
	if g.front != nil {
		errs = append(errs, g.front.stop())
	}
	if g.process != nil {
		// Kill it: a graceful shutdown waits for connected clients.
		errs = append(errs, g.process.kill())
	}
	if g.sockets != "" {
		errs = append(errs, os.RemoveAll(g.sockets))
	}
	if g.temp {
		errs = append(errs, removeBusy(g.dir))
	}
	return errors.Join(errs...)
}

// removeBusy removes a folder into which children of a killed process may still write for a moment.
func removeBusy(dir string) (err error) {
	for range 20 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// URL is the address of the server, without a slash at the end.
func (g *Gitea) URL() string { return g.front.url }

// AdminToken has all permissions.
func (g *Gitea) AdminToken() string { return g.admin.token }

// Login is the administrator's login for the web pages.
func (g *Gitea) Login() (username, password string) { return giteaAdmin, g.admin.password }

// Requests returns all requests so far, oldest first, without those of this package's setup.
func (g *Gitea) Requests() []GitRequest { return g.front.gate.all() }

// StatusPosts counts the requests to set a status of the commit, including rejected ones.
func (g *Gitea) StatusPosts(repository, commit string) int {
	n := 0
	for _, r := range g.Requests() {
		if r.Method == http.MethodPost && r.Path == "/api/v1/repos/"+repository+"/statuses/"+commit {
			n++
		}
	}
	return n
}

// SetDown makes the server answer all requests with 503, until it is called with false.
func (g *Gitea) SetDown(down bool) { g.front.gate.setDown(down) }

// SetDropping makes the server close connections without an answer, until it is called with false.
func (g *Gitea) SetDropping(dropping bool) { g.front.gate.setDropping(dropping) }

func (g *Gitea) file(name string) string { return filepath.Join(g.dir, name) }
