package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/redact"
)

// shell is what a command has of the process around it. The redactor knows every secret of the run.
type shell struct {
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

// printFindings writes findings as text, with paths as seen from the working directory. Each is a line, which a terminal gets broken
// between words.
func (s *shell) printFindings(w io.Writer, repo *repository, findings []finding.Finding) error {
	paint, width := s.painter(w), widthOf(w)
	for _, f := range finding.Sorted(findings) {
		f = s.masked(f)
		place := ""
		if f.Path != "" {
			f.Path = repo.fromWorkingDir(f.Path)
			place = f.Place() + ": "
			// At the start of a line, CI systems take "::" and "##[" for commands.
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

// findingText is a finding behind its place. In a terminal of some width, what doesn't fit goes to further lines, indented.
func findingText(place string, f finding.Finding, paint func(colour, string) string, width int) string {
	severity := string(f.Severity)
	text := printable(strings.TrimPrefix(f.String(), severity+": "))
	head := place + paint(severityColour[f.Severity], severity) + ":"
	if width == 0 {
		return head + " " + text
	}
	// A word of the same length holds the place of the head, which may have blanks and colours in it.
	stand := strings.Repeat("x", utf8.RuneCountInString(place+severity+":"))
	const indent = "    "
	lines := wrapped(stand+" "+text, width-len(indent))
	return head + strings.TrimPrefix(strings.Join(lines, "\n"+indent), stand)
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

// painter colours text for a terminal, and leaves it as it is for everything else and where NO_COLOR asks for that.
func (s *shell) painter(w io.Writer) func(colour, string) string {
	f := osFile(w)
	if f == nil || s.env("NO_COLOR") != "" || s.env("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return func(_ colour, text string) string { return text }
	}
	return func(c colour, text string) string { return "\x1b[" + string(c) + "m" + text + "\x1b[0m" }
}

// safeWriter is where all output of the process goes. It passes no control character on but line ends, tabs and the colours of painter:
// whatever a repository, a server or a library says can't talk to the terminal, in no format and no error.
type safeWriter struct{ io.Writer }

// control is a colour of painter, or a control character.
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

// osFile is the file behind a writer, nil for none.
func osFile(w io.Writer) *os.File {
	if safe, ok := w.(safeWriter); ok {
		w = safe.Writer
	}
	f, _ := w.(*os.File)
	return f
}

// printable replaces what could move a terminal's cursor, or start a line of its own in a CI log: names come from
// repositories that anybody may have written.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
