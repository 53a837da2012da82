package forge

import (
	"strings"
	"unicode"
)

const (
	ellipsis = '…'
	joiner   = '\u200d' // joins several emoji into one
	replaced = '�'
)

// Line converts any text to one line: spaces and line breaks become one space, and characters that are invisible or change
// the direction of text are dropped, because descriptions quote files that anyone may have written.
func Line(s string) string {
	s = strings.ToValidUTF8(s, string(replaced))
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// Truncate shortens s to at most limit characters, including the ellipsis. It cuts after a word if there is one in the last
// third, and never within a visible character.
func Truncate(s string, limit int) string {
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	if limit <= 0 {
		return ""
	}
	end := limit - 1
	for end > 0 && joined(runes, end) {
		end--
	}
	if !unicode.IsSpace(runes[end]) {
		for i := end - 1; i >= limit-limit/3 && i > 0; i-- {
			if unicode.IsSpace(runes[i]) {
				end = i
				break
			}
		}
	}
	return strings.TrimRightFunc(string(runes[:end]), func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune(",;:–-(", r)
	}) + string(ellipsis)
}

// joined reports whether the characters before and at i form one visible character: a letter and its marks, an emoji and its
// modifiers, joined emoji, the two letters of a flag.
func joined(runes []rune, i int) bool {
	r := runes[i]
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc), r == joiner, runes[i-1] == joiner:
		return true
	case r >= 0x1F3FB && r <= 0x1F3FF: // skin tones
		return true
	case !flagLetter(r):
		return false
	}
	before := 0
	for before < i && flagLetter(runes[i-1-before]) {
		before++
	}
	return before%2 == 1
}

func flagLetter(r rune) bool { return r >= 0x1F1E6 && r <= 0x1F1FF }

// basicPlane replaces each sequence of characters above U+FFFF by one replacement character.
func basicPlane(s string) string {
	var out strings.Builder
	after := false // after a replacement, where modifiers are dropped too
	for _, r := range s {
		switch {
		case r > 0xFFFF:
			if !after {
				out.WriteRune(replaced)
			}
			after = true
		case after && (r == joiner || unicode.Is(unicode.Variation_Selector, r)):
		default:
			out.WriteRune(r)
			after = false
		}
	}
	return out.String()
}
