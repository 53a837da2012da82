package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"charm.land/huh/v2"
	"golang.org/x/term"
)

// interactive reports whether there is somebody to ask: both ends are terminals.
func (s *shell) interactive() bool {
	in, _ := s.stdin.(*os.File)
	out := osFile(s.stderr)
	return in != nil && out != nil && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
}

// errAborted ends a command whose question was answered by Ctrl-C.
var errAborted = errors.New("interrupted")

// ask asks a question line by line, as screen readers need it. The full-screen form of the library reads ahead, so that the next
// question loses the first key. A question that is still open when ctx ends is left, and the terminal shows again what is typed.
func (s *shell) ask(ctx context.Context, field huh.Field) error {
	in, ok := s.stdin.(*os.File)
	if !ok {
		return errors.New("there is nobody to ask")
	}
	before, err := term.GetState(int(in.Fd()))
	if err != nil {
		return err
	}
	field = field.WithTheme(huh.ThemeFunc(huh.ThemeBase))
	done := make(chan error, 1)
	go func() { done <- field.RunAccessible(osFile(s.stderr), in) }()
	select {
	case <-ctx.Done():
		return errors.Join(errAborted, term.Restore(int(in.Fd()), before))
	case err := <-done:
		return err
	}
}

// errNoAnswer is the end of the input.
var errNoAnswer = errors.New("there is no answer")

// askText asks for a line. If secret, it isn't shown.
func (s *shell) askText(ctx context.Context, title string, secret bool) (answer string, err error) {
	input := huh.NewInput().Title(title + ":").Value(&answer).Validate(func(text string) error {
		if strings.TrimSpace(text) == "" {
			return errors.New("An answer is needed. Ctrl-C ends the command.") //nolint:staticcheck // the library shows it as it is
		}
		return nil
	})
	if secret {
		input = input.EchoMode(huh.EchoModePassword)
	}
	err = s.ask(ctx, input)
	if answer = strings.TrimSpace(answer); err == nil && answer == "" {
		err = errNoAnswer
	}
	return answer, err
}

// askYes asks a question whose answer is no unless the user says yes.
func (s *shell) askYes(ctx context.Context, question string) (yes bool, err error) {
	err = s.ask(ctx, huh.NewConfirm().Title(question).Value(&yes))
	return yes, err
}

// askChoice asks for one of several.
func (s *shell) askChoice(ctx context.Context, title string, options []huh.Option[string]) (answer string, err error) {
	err = s.ask(ctx, huh.NewSelect[string]().Title(title).Options(options...).Value(&answer))
	return answer, err
}
