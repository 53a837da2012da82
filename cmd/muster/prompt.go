package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
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

// interactive reports whether a user is there to ask, who sees the question.
func (s *shell) interactive() bool {
	out := osFile(s.stderr)
	return s.terminal() != nil && out != nil && term.IsTerminal(int(out.Fd()))
}

// askText asks for a line until there is one.
func (s *shell) askText(ctx context.Context, question string) (string, error) {
	for {
		fmt.Fprintf(s.stderr, "%s: ", question)
		answer, err := s.interruptible(ctx, func() (string, error) { return bufio.NewReader(s.terminal()).ReadString('\n') })
		if err != nil {
			fmt.Fprintln(s.stderr)
			return "", err
		}
		if answer = strings.TrimSpace(answer); answer != "" {
			return answer, nil
		}
	}
}

// askChoice asks for one of several, by its number. It returns the index.
func (s *shell) askChoice(ctx context.Context, question string, options []string) (int, error) {
	fmt.Fprintf(s.stderr, "%s\n", question)
	for i, option := range options {
		fmt.Fprintf(s.stderr, "  %d  %s\n", i+1, option)
	}
	for {
		answer, err := s.askText(ctx, fmt.Sprintf("1 to %d", len(options)))
		if err != nil {
			return 0, err
		}
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(options) {
			return n - 1, nil
		}
	}
}

// tell prints a text for people to standard error, wrapped in a terminal.
func (s *shell) tell(text string) {
	for _, line := range wrapped(text, widthOf(s.stderr)) {
		fmt.Fprintln(s.stderr, s.redactor.String(printable(line)))
	}
}
