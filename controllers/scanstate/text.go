package scanstate

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of the excerpt of a workload's output.
const (
	maxLines = 3
	maxRunes = 200 // in a line
)

// lastLines returns the last lines of a text that aren't blank, joined by " / ".
func lastLines(text string) string {
	var lines []string
	for _, line := range slices.Backward(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })) {
		if line = clean(line); line != "" {
			lines = append(lines, line)
		}
		if len(lines) == maxLines {
			break
		}
	}
	slices.Reverse(lines)
	return strings.Join(lines, " / ")
}

// clean returns one line of at most maxRunes characters. It replaces characters that move a cursor or change the text direction
// with blanks.
func clean(line string) string {
	line = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError {
			return ' '
		}
		return r
	}, line)
	line = strings.Join(strings.Fields(line), " ")
	if utf8.RuneCountInString(line) <= maxRunes {
		return line
	}
	return string([]rune(line)[:maxRunes-1]) + "…"
}
