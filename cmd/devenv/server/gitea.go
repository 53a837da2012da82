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
	"sync"
	"time"
)

const giteaModule = "code.gitea.io/gitea"

// GiteaOptions say how to start Gitea. The zero value is a good one.
type GiteaOptions struct {
	// Dir takes repositories, database and gitea.log, and is kept after Stop. Empty means a temporary folder that Stop removes.
	Dir string
	// Log gets progress: mostly that Gitea is being built. Nil means os.Stderr.
	Log io.Writer
	// StartTimeout bounds the time from start to ready, building not counted. 0 means a minute.
	StartTimeout time.Duration
}

// Gitea is a running Gitea server: Git over HTTP, the REST API and webhooks. It is safe for concurrent use.
//
// It listens on a socket in its folder, and what clients talk to is a proxy of this process before it. So no port is ever
// lost to somebody else, and each request can be counted, or refused for a test, before Gitea sees it.
type Gitea struct {
	dir     string
	temp    bool
	sockets string // a folder of its own, because the name of a socket may have 107 bytes at most
	binary  string
	admin   struct{ token, password string }
	front   *front
	process *process
	unbind  func() bool

	stopping sync.Once
	stopErr  error
}

// StartGitea starts Gitea with an empty database and returns when it answers, two or three seconds after its call when it is
// built. It stops with ctx.
func StartGitea(ctx context.Context, o GiteaOptions) (_ *Gitea, err error) {
	if o.Log == nil {
		o.Log = os.Stderr
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = time.Minute
	}
	g := &Gitea{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start gitea: %w", err), g.stop())
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
	g.unbind = context.AfterFunc(ctx, func() { g.stop() })
	return g, nil
}

// moduleFolder returns the folder of a component's source, where its templates and translations are.
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

// run starts the server, waits until it answers, and makes the administrator.
func (g *Gitea) run(ctx context.Context) error {
	out, err := os.OpenFile(g.file("gitea.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() // the child has its own descriptor
	cmd := g.command(exec.Command(g.binary, "web"))
	cmd.Stdout, cmd.Stderr = out, out
	if g.process, err = start(GiteaServer.Name, cmd); err != nil {
		return err
	}
	if err := g.awaitReady(ctx); err != nil {
		return err
	}
	return g.createAdmin(ctx)
}

// command gives every gitea the same settings, and nothing else of the environment than it needs to run.
func (g *Gitea) command(cmd *exec.Cmd) *exec.Cmd {
	cmd.Args = append(cmd.Args, "--config", g.file("app.ini"), "--work-path", g.dir)
	cmd.Dir = g.dir
	cmd.Env = []string{"HOME=" + g.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "USER=" + os.Getenv("USER")}
	return cmd
}

func (g *Gitea) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	client := &http.Client{Transport: g.front.transport, Timeout: 5 * time.Second}
	for {
		if ready(ctx, client, g.front.url+"/api/healthz") {
			return nil
		}
		select {
		case <-tick.C:
		case <-g.process.done:
			return &ExitError{Server: GiteaServer.Name, Log: fileTail(g.file("gitea.log")), Err: g.process.err}
		case <-ctx.Done():
			return fmt.Errorf("gitea is not ready: %w; the end of its log:\n%s", ctx.Err(), fileTail(g.file("gitea.log")))
		}
	}
}

const giteaAdmin = "administrator"

func (g *Gitea) createAdmin(ctx context.Context) error {
	g.admin.password = rand.Text()
	cmd := g.command(exec.CommandContext(ctx, g.binary, "admin", "user", "create", "--admin", "--username", giteaAdmin,
		"--email", giteaAdmin+"@example.com", "--password", g.admin.password, "--must-change-password=false",
		"--access-token", "--access-token-scopes", "all"))
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
func (g *Gitea) Stop() error {
	if g.unbind != nil {
		g.unbind()
	}
	return g.stop()
}

func (g *Gitea) stop() error {
	g.stopping.Do(func() {
		var errs []error
		if g.front != nil {
			errs = append(errs, g.front.stop())
		}
		if g.process != nil {
			// Killed, not asked: a graceful end waits for whoever is connected.
			errs = append(errs, g.process.kill())
		}
		if g.sockets != "" {
			errs = append(errs, os.RemoveAll(g.sockets))
		}
		if g.temp {
			errs = append(errs, removeBusy(g.dir))
		}
		g.stopErr = errors.Join(errs...)
	})
	return g.stopErr
}

// removeBusy removes a folder into which the children of a killed process may write for a moment yet.
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

// AdminToken may do everything.
func (g *Gitea) AdminToken() string { return g.admin.token }

// Login is who may do everything on the pages.
func (g *Gitea) Login() (username, password string) { return giteaAdmin, g.admin.password }

// Requests returns all requests so far, oldest first; those that this package makes to set things up are not among them.
func (g *Gitea) Requests() []GitRequest { return g.front.all() }

// StatusPosts counts the requests to set a status of the commit, refused ones too.
func (g *Gitea) StatusPosts(repository, commit string) int {
	n := 0
	for _, r := range g.Requests() {
		if r.Method == http.MethodPost && r.Path == "/api/v1/repos/"+repository+"/statuses/"+commit {
			n++
		}
	}
	return n
}

// SetDown makes the server answer everything with 503, until it is called with false.
func (g *Gitea) SetDown(down bool) { g.front.down.Store(down) }

// SetDropping makes the server close connections without an answer, until it is called with false.
func (g *Gitea) SetDropping(dropping bool) { g.front.dropping.Store(dropping) }

func (g *Gitea) file(name string) string { return filepath.Join(g.dir, name) }
