package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/crypto/ssh"
)

func (g *GitSSH) accept(config *ssh.ServerConfig) {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			return // closed
		}
		if !g.clients.hold(conn) {
			return
		}
		g.serving.Go(func() {
			defer g.clients.release(conn)
			g.serve(conn, config)
		})
	}
}

// serve returns when the client has disconnected. A rejected client is told during the handshake.
func (g *GitSSH) serve(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		if c.ChannelType() != "session" {
			c.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		g.serving.Go(func() { g.session(channel, requests) })
	}
}

// session runs the one command of a session and sends its exit status.
func (g *GitSSH) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	var version string
	for r := range requests {
		switch r.Type {
		case "env":
			var env struct{ Name, Value string }
			known := ssh.Unmarshal(r.Payload, &env) == nil && env.Name == "GIT_PROTOCOL"
			if known {
				version = env.Value
			}
			r.Reply(known, nil)
		case "exec":
			var command struct{ Line string }
			if err := ssh.Unmarshal(r.Payload, &command); err != nil {
				r.Reply(false, nil)
				return
			}
			r.Reply(true, nil)
			status := struct{ Status uint32 }{g.run(channel, command.Line, version)}
			channel.SendRequest("exit-status", false, ssh.Marshal(status))
			return
		default:
			r.Reply(false, nil) // no shell, no terminal, no forwarding
		}
	}
}

// run executes a command line such as "git-upload-pack '/platform/fleet.git'". No shell is involved.
func (g *GitSSH) run(channel ssh.Channel, line, version string) (status uint32) {
	command, path, err := parseCommand(line)
	if err == nil {
		g.mu.Lock()
		g.requests = append(g.requests, GitSSHRequest{Command: command, Path: path})
		g.mu.Unlock()
		err = g.execute(channel, command, path, version)
	}
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return uint32(exit.ExitCode()) // git has printed the reason
	}
	fmt.Fprintln(channel.Stderr(), err)
	return 128
}

func (g *GitSSH) execute(channel ssh.Channel, command, path, version string) error {
	dir, err := g.path(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); err != nil {
		return &RepositoryError{Name: path, Err: fs.ErrNotExist}
	}
	cmd := exec.Command("git", strings.TrimPrefix(command, "git-"), dir)
	cmd.Env = append(g.env(), "GIT_PROTOCOL="+version)
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	// Don't use cmd.Stdin: Wait would then wait for the client to close its side too, which Git's client doesn't do first.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	p, err := start(command, cmd)
	if err != nil {
		return err
	}
	go func() {
		io.Copy(stdin, channel) // ends with the channel, or with git
		stdin.Close()
	}()
	<-p.done
	return p.err
}

func parseCommand(line string) (command, path string, err error) {
	command, path, _ = strings.Cut(line, " ")
	if command != "git-upload-pack" && command != "git-receive-pack" {
		return "", "", fmt.Errorf("command %q is neither git-upload-pack nor git-receive-pack", command)
	}
	// Git quotes the path for a shell. Names with quotes aren't found, which is acceptable here.
	return command, strings.Trim(path, "'"), nil
}
