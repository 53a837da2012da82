package review

import (
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
)

// Names, paths, values and messages come from whoever opened the pull request. In a comment they could mention people,
// reference issues, load images, link to other hosts, close a fold or forge a verdict. So nothing of them is ever
// Markdown: values are code, and of a message every word that isn't plain is code too. Forges expand no references in
// code. Two marks are broken up even there, see unlinked.

// The longest texts that are shown, in characters.
const (
	maxValue   = 200
	maxMessage = 600
	maxName    = 64 // in the verdict
	maxCommand = 500
	maxEscape  = 10 // characters of an escape
)

// visible returns a text on one line of at most that many characters. Every character that is invisible, moves others or
// changes the direction of the text is an escape, such as \u202e.
func visible(text string, most int) string {
	var b strings.Builder
	n, letter := 0, false // a mark may only follow a letter
	for i, r := range text {
		shown := string(r)
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"):
			shown = fmt.Sprintf(`\x%02x`, text[i])
		case r == '\n' || r == '\r' || r == '\t':
			shown = strings.Trim(strconv.QuoteRune(r), "'")
		case unicode.IsPrint(r) && (letter || !unicode.IsMark(r)) && leftToRight(r) && !strings.ContainsRune(blanks, r):
		case r > 0xffff:
			shown = fmt.Sprintf(`\U%08x`, r)
		default:
			shown = fmt.Sprintf(`\u%04x`, r)
		}
		if n += utf8.RuneCountInString(shown); n > most {
			return b.String() + "…"
		}
		b.WriteString(shown)
		letter = unicode.IsLetter(r)
	}
	return b.String()
}

// blanks are letters and symbols that look like nothing.
const blanks = "\u115f\u1160\u2800\u3164\uffa0"

// leftToRight reports whether a character leaves the order of those around it as it is.
func leftToRight(r rune) bool {
	properties, _ := bidi.LookupRune(r)
	switch properties.Class() {
	case bidi.R, bidi.AL, bidi.AN:
		return false
	}
	return true
}

// shorten cuts a text to a number of characters.
func shorten(text string, most int) string {
	n := 0
	for i := range text {
		if n++; n > most {
			return text[:i] + "…"
		}
	}
	return text
}

// unlinked breaks up what a forge or a mail program may expand even in code: mentions and references to issues, which
// notify people, and colours. A zero-width space follows the mark.
func unlinked(text string) string { return mark.ReplaceAllString(text, "$1\u200b$2") }

var mark = regexp.MustCompile(`([@#])([\pL\pN])`)

// code returns a value as a code span.
func code(value string) string { return codeOf(value, maxValue) }

// codeName returns a name as a code span for the verdict.
func codeName(name string) string { return codeOf(name, maxName) }

// codeOf returns a code span of at most that many characters, with a fence that is longer than any run of backticks in it.
func codeOf(value string, most int) string {
	text := unlinked(visible(value, most))
	if strings.Trim(text, " ") == "" {
		return "`\"" + text + "\"`"
	}
	fence := strings.Repeat("`", longestRun(text)+1)
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") || strings.HasPrefix(text, " ") || strings.HasSuffix(text, " ") {
		text = " " + text + " " // CommonMark strips one space on both sides
	}
	return fence + text + fence
}

// codeHTML returns a value as code for the inside of an HTML element, where Markdown has no meaning.
func codeHTML(value string) string {
	return "<code>" + html.EscapeString(unlinked(visible(value, maxValue))) + "</code>"
}

func longestRun(text string) int {
	longest, run := 0, 0
	for _, r := range text {
		if run++; r != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// prose returns a message with everything that isn't a plain word as code. Parts in quotes or backticks are code as a
// whole, without the quotes.
func prose(text string, asCode func(string) string) string {
	var words []string
	for rest := strings.TrimSpace(shorten(text, maxMessage)); rest != ""; rest = strings.TrimLeftFunc(rest, unicode.IsSpace) {
		var word string
		word, rest = nextWord(rest)
		words = append(words, plainOrCode(word, len(words) == 0, asCode))
	}
	return strings.Join(words, " ")
}

const quotes = "\"`"

// nextWord cuts the first word off a text. A quoted part is one word, with what follows the quote up to the next space.
func nextWord(text string) (word, rest string) {
	end := 0
	if opening := strings.IndexFunc(text, func(r rune) bool { return r != '(' }); opening >= 0 && strings.IndexByte(quotes, text[opening]) >= 0 {
		if closing := strings.IndexByte(text[opening+1:], text[opening]); closing >= 0 {
			end = opening + 1 + closing + 1
		}
	}
	if space := strings.IndexFunc(text[end:], unicode.IsSpace); space >= 0 {
		return text[:end+space], text[end+space:]
	}
	return text, ""
}

// plainOrCode returns a word as it is if it is plain, with the punctuation around it, and as code otherwise.
func plainOrCode(word string, first bool, asCode func(string) string) string {
	core := strings.TrimLeft(word, "(")
	before := word[:len(word)-len(core)]
	core = strings.TrimRight(core, ".,;:?)")
	after := word[len(before)+len(core):]
	if !first && plainWord.MatchString(core) && !reference.MatchString(core) && leftToRightWord(core) {
		return before + core + after
	}
	if first && before == "" && startWord.MatchString(core) && !reference.MatchString(core) {
		return core + after
	}
	if last := len(core) - 1; last > 1 && strings.IndexByte(quotes, core[0]) >= 0 && core[last] == core[0] {
		core = core[1:last]
	}
	switch {
	case core == "":
		return asCode(word)
	case first:
		return asCode(before+core) + after
	}
	return before + asCode(core) + after
}

var (
	// plainWord has no meaning in the Markdown of any forge, and neither has startWord at the beginning of a line.
	plainWord = regexp.MustCompile(`^(?:\p{L}+(?:['’-]\p{L}+)*['’]?|[0-9]+|–|—|→|…)$`)
	startWord = regexp.MustCompile(`^[A-Za-z]+(?:['’-][A-Za-z]+)*$`)
	// reference is a word that a forge may link: the start of a commit's hash.
	reference = regexp.MustCompile(`^[0-9a-fA-F]{7,}$`)
)

func leftToRightWord(word string) bool {
	return visible(word, len(word)) == word
}

// link returns a code span that links to a place; only the code span if there is no usable address.
func link(text, address string) string {
	if safe := safeAddress(address); safe != "" {
		return "[" + code(text) + "](" + safe + ")"
	}
	return code(text)
}

// safeAddress returns an address in a form that can't end a Markdown link; empty if it isn't one of HTTP.
func safeAddress(address string) string {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "https" && parsed.Scheme != "http" || parsed.Host == "" || len(address) > maxAddress {
		return ""
	}
	var b strings.Builder
	for _, c := range []byte(address) {
		if strings.IndexByte(addressBytes, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

const (
	maxAddress   = 2000
	addressBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._/:?#=&%+,@"
)

// block returns a text of several lines as a fenced block, where no forge expands anything, so that commands can be
// copied from it.
func block(text string) string {
	lines := strings.Split(strings.ReplaceAll(strings.TrimRight(text, "\n"), "\r\n", "\n"), "\n")
	for i, line := range lines {
		parts := strings.Split(line, "\t")
		for p := range parts {
			parts[p] = visible(parts[p], len(parts[p])*maxEscape)
		}
		lines[i] = strings.Join(parts, "\t")
	}
	joined := strings.Join(lines, "\n")
	fence := strings.Repeat("`", max(3, longestRun(joined)+1))
	return fence + "\n" + joined + "\n" + fence + "\n"
}
