package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// terminal is the terminal that questions are asked in, or nil if standard input is none.
func (s *shell) terminal() *os.File {
	file, _ := s.stdin.(*os.File)
	if file == nil || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return file
}

// confirm asks a question in the terminal. Only yes is yes, and Enter is what byDefault says.
func (s *shell) confirm(ctx context.Context, question string, byDefault bool) (bool, error) {
	fmt.Fprintf(s.stderr, "%s %s ", question, map[bool]string{true: "[Y/n]", false: "[y/N]"}[byDefault])
	answer, err := s.interruptible(ctx, func() (string, error) { return bufio.NewReader(s.terminal()).ReadString('\n') })
	if err != nil {
		fmt.Fprintln(s.stderr)
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "":
		return byDefault, nil
	case "y", "yes":
		return true, nil
	default:
		return false, nil
	}
}

// askSecret reads a secret from the terminal, which doesn't show it.
func (s *shell) askSecret(ctx context.Context, what string) (string, error) {
	fmt.Fprintf(s.stderr, "%s (not shown): ", what)
	defer fmt.Fprintln(s.stderr)
	fd := int(s.terminal().Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read %s from the terminal: %w", what, err)
	}
	defer func() { _ = term.Restore(fd, before) }() // after Ctrl-C the read goes on, without echo
	return s.interruptible(ctx, func() (string, error) {
		text, err := term.ReadPassword(fd)
		return string(text), err
	})
}

// interruptible reads from the terminal until the context ends.
func (*shell) interruptible(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return "", fmt.Errorf("read from the terminal: %w", r.err)
		}
		return r.text, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// tell prints a text for people to standard error, wrapped in a terminal.
func (s *shell) tell(text string) {
	lines := []string{text}
	if width := widthOf(s.stderr); width > 0 {
		lines = wrapped(text, width)
	}
	for _, line := range lines {
		fmt.Fprintln(s.stderr, s.redactor.String(printable(line)))
	}
}
