package forge

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTruncate(t *testing.T) {
	family, flag, thumb := "👩‍👩‍👧", "🇩🇪", "👍🏽"
	for _, tt := range []struct {
		reason, in string
		limit      int
		want       string
	}{
		{"fits", "applied", 7, "applied"},
		{"fits in characters, not in bytes", "日本語", 3, "日本語"},
		{"nothing fits", "applied", 0, ""},
		{"only the ellipsis fits", "applied", 1, "…"},
		{"behind a word", "twelve clusters applied", 18, "twelve clusters…"},
		{"exactly behind a word", "twelve clusters applied", 16, "twelve clusters…"},
		{"no word ends near", "twelve clusters", 10, "twelve cl…"},
		{"one long word", strings.Repeat("x", 30), 10, "xxxxxxxxx…"},
		{"no comma before the ellipsis", "a cluster, and another", 12, "a cluster…"},
		{"a letter keeps its marks", "xxxxxe\u0301\u0302yyy", 8, "xxxxx…"},
		{"a picture of three stays whole or goes", "xx" + family + "yyyy", 6, "xx…"},
		{"and stays when it fits", "xx" + family + "yyyy", 8, "xx" + family + "…"},
		{"a tone stays with its hand", "xxx" + thumb + "yyy", 5, "xxx…"},
		{"a flag stays whole", "xx" + flag + flag + "yyy", 6, "xx" + flag + "…"},
	} {
		if got := Truncate(tt.in, tt.limit); got != tt.want {
			t.Errorf("%s: Truncate(%q, %d) = %q, want %q", tt.reason, tt.in, tt.limit, got, tt.want)
		}
	}
}

func TestFit(t *testing.T) {
	all, basic := Limits{Description: 140, TargetURL: 20}, Limits{Description: 140, TargetURL: 20, BasicPlane: true}
	for _, tt := range []struct {
		reason, in string
		limits     Limits
		want       string
	}{
		{"lines become one", " a\r\n\tb\n\nc ", all, "a b c"},
		{"no control characters", "a\x00b\x1b[31mc", all, "ab[31mc"},
		{"no turning of the direction", "user\u202e\u2066gpj.exe", all, "usergpj.exe"},
		{"not UTF-8", "a\xff\xfeb", all, "a�b"},
		{"emoji stay", "🚀 go", all, "🚀 go"},
		{"or go", "🚀 go 👩‍👩‍👧 x", basic, "� go � x"},
		{"letters of other scripts stay", "日本語 ok ✓", basic, "日本語 ok ✓"},
	} {
		if got := tt.limits.Fit(Status{Description: tt.in}).Description; got != tt.want {
			t.Errorf("%s: %q becomes %q, want %q", tt.reason, tt.in, got, tt.want)
		}
	}
	for link, want := range map[string]string{"https://a.example/xy": "https://a.example/xy", "https://a.example/xyz": ""} {
		if got := all.Fit(Status{TargetURL: link}).TargetURL; got != want {
			t.Errorf("the link %q becomes %q, want %q", link, got, want)
		}
	}
}

func FuzzFit(f *testing.F) {
	for _, seed := range []string{"", "twelve clusters applied", "👩‍👩‍👧👍🏽🇩🇪🇩", "e\u0301\u0301", "\xff\u202e", strings.Repeat("日", 200)} {
		f.Add(seed, 140, true)
		f.Add(seed, 3, false)
	}
	f.Fuzz(func(t *testing.T, in string, limit int, basic bool) {
		limit = max(0, min(limit, 1000))
		l := Limits{Description: limit, TargetURL: limit, BasicPlane: basic}
		once := l.Fit(Status{Description: in})
		if n := utf8.RuneCountInString(once.Description); n > limit || !utf8.ValidString(once.Description) {
			t.Errorf("%q becomes %q, %d characters of %d", in, once.Description, n, limit)
		}
		// What is shown must be what would be set again, or it would be set for ever.
		if again := l.Fit(once); again != once {
			t.Errorf("%q becomes %q, and that becomes %q", in, once.Description, again.Description)
		}
		if basic && strings.ContainsFunc(once.Description, func(r rune) bool { return r > 0xFFFF }) {
			t.Errorf("%q is refused", once.Description)
		}
	})
}
