package main

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// command matches a command in a text. It ends with its clause.
var command = regexp.MustCompile(`(?:: |\b(?:run|use|see) )(?:git|kubectl|muster|nc|openssl|sops) (?:[^;:,]|[:,][^ ])+`)

// wrapped breaks text between words into lines of the width of a terminal, which is 0 or less for everything else. A longer word gets
// its own line, and so does a command, which people copy.
func wrapped(text string, width int) []string {
	if width <= 0 {
		return []string{text}
	}
	const space = "\ue000" // in a command
	text = command.ReplaceAllStringFunc(text, func(found string) string {
		before, rest := "", found
		for _, prefix := range []string{": ", "run ", "use ", "see "} {
			if after, ok := strings.CutPrefix(found, prefix); ok {
				before, rest = prefix, after
			}
		}
		return before + strings.ReplaceAll(rest, " ", space)
	})
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		word = strings.ReplaceAll(word, space, " ")
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// folded wraps a line, and indents what continues it.
func folded(line string, width int, indent string) string {
	return strings.Join(wrapped(line, width-len(indent)), "\n"+indent)
}

// hanging is a text after a head, which may have spaces and colours and is never broken; plain is the head without colours.
func hanging(head, plain, text string, width int, indent string) string {
	placeholder := strings.Repeat("x", utf8.RuneCountInString(plain))
	return head + strings.TrimPrefix(folded(placeholder+" "+text, width, indent), placeholder)
}

// writeParagraph writes a text whose lines begin with the indent.
func writeParagraph(b *strings.Builder, indent, text string, width int) {
	for _, line := range wrapped(text, width-len(indent)) {
		b.WriteString(indent + line + "\n")
	}
}
