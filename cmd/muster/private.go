package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// privateFolder is where an editor gets plain text: a folder for this user alone, in memory where possible. A second process of this
// program removes it when this one ends, even by SIGKILL.
type privateFolder struct {
	path    string
	remover *exec.Cmd
	// alive is closed by the kernel when this process ends, which the remover sees.
	alive io.Closer
}

// privatePrefix is how the name of a private folder starts. The remover removes no other folder.
const privatePrefix = "muster-edit-"

func (s *shell) newPrivateFolder() (*privateFolder, error) {
	path, err := s.makePrivateFolder(s.env("XDG_RUNTIME_DIR"), "/dev/shm")
	if err != nil {
		return nil, fmt.Errorf("make a private folder for the editor: %w", err)
	}
	p := &privateFolder{path: path}
	if err := p.startRemover(); err != nil {
		_ = os.Remove(path) // it is empty
		return nil, fmt.Errorf("start the process that removes the plain text: %w", err)
	}
	return p, nil
}

// makePrivateFolder makes an empty folder in the first of the folders in memory that exists, or on disk.
func (s *shell) makePrivateFolder(inMemory ...string) (string, error) {
	for _, dir := range inMemory {
		if dir == "" {
			continue
		}
		if made, err := os.MkdirTemp(dir, privatePrefix); err == nil {
			return made, nil
		}
	}
	made, err := os.MkdirTemp(s.env("TMPDIR"), privatePrefix)
	if err == nil {
		s.tell("muster: the plain text is on disk while you edit, in " + made + ", because there is no folder in memory; set XDG_RUNTIME_DIR to one")
	}
	return made, err
}

// startRemover starts this program again, without its environment, and out of reach of Ctrl-C.
func (p *privateFolder) startRemover() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p.remover = &exec.Cmd{Path: self, Args: []string{"muster", removeCommand}, Env: []string{}, SysProcAttr: detached()}
	in, err := p.remover.StdinPipe()
	if err != nil {
		return err
	}
	p.alive = in
	if err := p.remover.Start(); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(in, p.path); err != nil {
		return errors.Join(err, in.Close(), p.remover.Wait())
	}
	return nil
}

// remove removes the folder with everything in it.
func (p *privateFolder) remove() error {
	err := os.RemoveAll(p.path)
	return errors.Join(err, p.alive.Close(), p.remover.Wait())
}

// removeCommand is the name of the hidden command of the remover.
const removeCommand = "__remove-private-folder"

func newRemoveFolderCommand(s *shell) *cobra.Command {
	return &cobra.Command{Use: removeCommand, Hidden: true, Args: atMost(0), RunE: func(cmd *cobra.Command, _ []string) error {
		signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
		in := bufio.NewReader(s.stdin)
		path, err := in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("read the folder's name: %w", err)
		}
		path = strings.TrimSuffix(path, "\n")
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it has been removed already
		}
		if err != nil || !info.IsDir() || !filepath.IsAbs(path) || !strings.HasPrefix(filepath.Base(path), privatePrefix) {
			return usagef("standard input names no private folder")
		}
		_, _ = io.Copy(io.Discard, in) // until the other process ends, in whatever way
		return removeStubbornly(context.WithoutCancel(cmd.Context()), path)
	}}
}

// removeStubbornly removes a folder to which an editor may still write.
func removeStubbornly(ctx context.Context, path string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var err error
	for range 20 {
		if err = os.RemoveAll(path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return err
}
