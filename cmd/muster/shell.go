package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/term"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/redact"
)

// shell is the process around a command. The redactor knows every secret of the run.
type shell struct {
	name           string // what the user types: programName or pluginName
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	redactor       *redact.Redactor
}

// masked returns a finding without secrets.
func (s *shell) masked(f finding.Finding) finding.Finding {
	f.Cluster, f.Path = s.redactor.String(f.Cluster), s.redactor.String(f.Path)
	f.Message, f.Fix, f.Accepted = s.redactor.String(f.Message), s.redactor.String(f.Fix), s.redactor.String(f.Accepted)
	return f
}

// printFindings writes findings as text, with paths relative to the working directory. Each is one line, wrapped in a
// terminal.
func (s *shell) printFindings(w io.Writer, repo *repository, findings []finding.Finding) error {
	paint, width := s.painter(w), widthOf(w)
	for _, f := range finding.Sorted(findings) {
		f = s.masked(f)
		place := ""
		if f.Path != "" {
			f.Path = repo.fromWorkingDir(f.Path)
			place = f.Place() + ": "
			// CI systems treat "::" and "##[" at the start of a line as commands.
			if strings.HasPrefix(place, ":") || strings.HasPrefix(place, "#") {
				place = "./" + place
			}
			f.Path = ""
		}
		if _, err := fmt.Fprintln(w, findingText(printable(place), f, paint, width)); err != nil {
			return err
		}
	}
	return nil
}

// findingText is a finding after its place. In a terminal, the text is wrapped and continuation lines are indented.
func findingText(place string, f finding.Finding, paint func(colour, string) string, width int) string {
	severity := string(f.Severity)
	text := printable(strings.TrimPrefix(f.String(), severity+": "))
	return hanging(place+paint(severityColour[f.Severity], severity)+":", place+severity+":", text, width, "    ")
}

// colour is an ANSI escape code.
type colour string

const (
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
	cyan   colour = "36"
	dim    colour = "2"
)

var severityColour = map[finding.Severity]colour{finding.Error: red, finding.Warning: yellow, finding.Info: cyan}

// painter returns a function that colours text for a terminal. It leaves text unchanged for everything else, and with
// NO_COLOR.
func (s *shell) painter(w io.Writer) func(colour, string) string {
	f := osFile(w)
	if f == nil || s.env("NO_COLOR") != "" || s.env("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return func(_ colour, text string) string { return text }
	}
	return func(c colour, text string) string { return "\x1b[" + string(c) + "m" + text + "\x1b[0m" }
}

// safeWriter carries all output of the process. The only control characters that it lets through are newlines, tabs and the
// colours of painter: text from a repository, a server or a library can't control the terminal, whatever the format.
type safeWriter struct{ io.Writer }

// control matches a colour of painter or a control character.
var control = regexp.MustCompile(`\x1b\[(?:0|1|2|31|32|33|36)m|[\x00-\x08\x0b-\x1f\x7f]`)

func (w safeWriter) Write(p []byte) (int, error) {
	coloured := osFile(w) != nil
	safe := control.ReplaceAllFunc(p, func(found []byte) []byte {
		if coloured && len(found) > 1 {
			return found
		}
		return []byte(string(unicode.ReplacementChar))
	})
	_, err := w.Writer.Write(safe)
	return len(p), err
}

// osFile is the file behind a writer, or nil.
func osFile(w io.Writer) *os.File {
	if safe, ok := w.(safeWriter); ok {
		w = safe.Writer
	}
	f, _ := w.(*os.File)
	return f
}

// printable replaces characters that could move a terminal's cursor or start a new line in a CI log. Names come from
// repositories that anyone may have written.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
