package scan

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is taken of a text that a workload has written.
const (
	maxLines = 3
	maxRunes = 200 // a line
)

// lastLines are the last lines of a text that say anything, joined by " / ".
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

// clean makes one short line: blanks for what could move a cursor or change the direction of reading, and no more than
// maxRunes characters.
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
