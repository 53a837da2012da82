package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/shlex"
	"golang.org/x/term"

	"github.com/muster-gitops/muster/clusters/load"
)

// editorFor returns the command of the user's editor, without the file: as sops does, and as kubectl does.
func editorFor(env func(string) string, terminal bool) ([]string, error) {
	for _, name := range []string{"SOPS_EDITOR", "VISUAL", "EDITOR"} {
		text := env(name)
		if strings.TrimSpace(text) == "" {
			continue
		}
		words, err := shlex.Split(text)
		if err != nil || len(words) == 0 {
			return nil, fmt.Errorf("%s is not a command line; check its quotes", name)
		}
		return append(words, tidy(words[0])...), nil
	}
	if !terminal { // vi would print the plain text, into the log of a pipeline
		return nil, errors.New("there is no terminal for vi; set EDITOR to a program that needs none, or use muster set")
	}
	return append([]string{"vi"}, tidy("vi")...), nil
}

// tidy returns arguments that keep Vim from copying the text elsewhere, where its user's settings would: swap files, backups, undo
// files, registers.
func tidy(editor string) []string {
	path, err := exec.LookPath(editor)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	name := filepath.Base(path)
	if err != nil || !strings.HasPrefix(name, "vim") && !strings.HasPrefix(name, "nvim") {
		return nil
	}
	return []string{"-n", "-i", "NONE", "-c", "set nobackup nowritebackup noundofile"}
}

// errInterrupted ends a command after Ctrl-C.
var errInterrupted = errors.New("interrupted")

// runEditor runs the editor on a file. Ctrl-C is the editor's until it ends.
func (s *shell) runEditor(ctx context.Context, folder, file string) error {
	out := osFile(s.stdout)
	words, err := editorFor(s.env, s.terminal() != nil && out != nil && term.IsTerminal(int(out.Fd())))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], file)...) //nolint:gosec // it is the user's own choice
	cmd.Env = append(os.Environ(), "TMPDIR="+folder, "TMP="+folder, "TEMP="+folder)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.stdin, unwrapped(s.stdout), unwrapped(s.stderr)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	unused := make(chan os.Signal, 1)
	signal.Ignore(os.Interrupt) // so the context no longer ends with it
	signal.Notify(unused, os.Interrupt)
	defer signal.Stop(unused)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run the editor: %w; set EDITOR", err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case errors.As(err, &exit) && interrupted(exit):
		return errInterrupted
	case err != nil:
		return fmt.Errorf("the editor %s failed: %w; nothing was written", printable(filepath.Base(words[0])), err)
	}
	return nil
}

// interrupted reports whether Ctrl-C ended a program.
func interrupted(exit *exec.ExitError) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGINT || exit.ExitCode() == exitStopped
}

// unwrapped is the file behind a writer, which an editor needs to draw, or the writer.
func unwrapped(w io.Writer) io.Writer {
	if file := osFile(w); file != nil {
		return file
	}
	return w
}

// editing is one text in the hands of the user.
type editing struct {
	*shell
	folder *privateFolder
	file   string
}

// startEditing writes a text into a private folder, under the name that the editor shows.
func (s *shell) startEditing(name string, text []byte) (_ *editing, err error) {
	folder, err := s.newPrivateFolder()
	if err != nil {
		return nil, err
	}
	e := &editing{s, folder, filepath.Join(folder.path, filepath.Base(name))}
	if err := os.WriteFile(e.file, text, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("write the text for the editor: %w", err), folder.remove())
	}
	return e, nil
}

// edit runs the editor once, and returns what it leaves.
func (e *editing) edit(ctx context.Context) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	if err := e.runEditor(ctx, e.folder.path, e.file); err != nil {
		return nil, err
	}
	file, err := os.Open(e.file)
	if err != nil {
		return nil, fmt.Errorf("read the edited text: %w; nothing was written", withoutPath(err))
	}
	defer func() { _ = file.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(file, load.DefaultLimits.FileBytes+1))
	if err == nil && int64(len(text)) > load.DefaultLimits.FileBytes {
		err = fmt.Errorf("it is larger than %d MiB, the limit of a file", load.DefaultLimits.FileBytes>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("read the edited text: %w; nothing was written", err)
	}
	return slices.Clip(text), nil
}
