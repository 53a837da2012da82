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
	return in != nil && out != nil && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd())) && s.env("TERM") != "dumb"
}

// errAborted ends a command whose question was answered by Ctrl-C.
var errAborted = errors.New("interrupted")

// ask runs a form on standard error, past the writer that removes control characters: the form needs them. Texts in a form are
// Muster's own or went through printable.
func (s *shell) ask(ctx context.Context, field huh.Field) error {
	form := huh.NewForm(huh.NewGroup(field)).WithInput(s.stdin).WithOutput(osFile(s.stderr)).WithShowHelp(false)
	if s.env("NO_COLOR") != "" {
		form = form.WithTheme(huh.ThemeFunc(huh.ThemeBase))
	}
	err := form.RunWithContext(ctx)
	if errors.Is(err, huh.ErrUserAborted) || ctx.Err() != nil {
		return errAborted
	}
	return err
}

// askText asks for a line. If secret, it isn't shown.
func (s *shell) askText(ctx context.Context, title, help string, secret bool) (answer string, err error) {
	input := huh.NewInput().Title(title).Description(help).Value(&answer).Validate(func(text string) error {
		if strings.TrimSpace(text) == "" {
			return errors.New("an answer is needed; Ctrl-C ends the command")
		}
		return nil
	})
	if secret {
		input = input.EchoMode(huh.EchoModePassword)
	}
	err = s.ask(ctx, input)
	return strings.TrimSpace(answer), err
}

// askYes asks a question whose answer is no unless the user says yes.
func (s *shell) askYes(ctx context.Context, question string) (yes bool, err error) {
	err = s.ask(ctx, huh.NewConfirm().Title(question).Affirmative("Yes").Negative("No").Value(&yes))
	return yes, err
}

// askChoice asks for one of several.
func (s *shell) askChoice(ctx context.Context, title string, options []huh.Option[string]) (answer string, err error) {
	err = s.ask(ctx, huh.NewSelect[string]().Title(title).Options(options...).Value(&answer))
	return answer, err
}
