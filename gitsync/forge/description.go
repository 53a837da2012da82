package forge

import (
	"strings"
	"unicode"
)

const (
	ellipsis = '…'
	joiner   = '\u200d' // makes one picture of several
	replaced = '�'
)

// Line makes one line of any text: blanks and line breaks become one blank, and what can't be seen or turns the direction
// of what follows is dropped, for descriptions quote files that anybody may have written.
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

// Truncate shortens s to at most limit characters, the ellipsis that says so included. It cuts behind a word where there is
// one in the last third, and never within what is seen as one character.
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

// joined says whether the characters before and at i are seen as one: a letter and its marks, a picture and what varies it,
// pictures that are joined, the two letters of a flag.
func joined(runes []rune, i int) bool {
	r := runes[i]
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc), r == joiner, runes[i-1] == joiner:
		return true
	case r >= 0x1F3FB && r <= 0x1F3FF: // tones of skin
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

// basicPlane puts one replacement character where there were some above U+FFFF.
func basicPlane(s string) string {
	var out strings.Builder
	after := false // behind a replacement, where what belonged to it goes too
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
