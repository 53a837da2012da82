package gitlab

import "regexp"

// GitLab executes lines of a comment that begin with a slash, such as /merge, in the name of its author. Comments quote files
// that anyone may have written, so these lines get a backslash, which Markdown doesn't show. It is taken away again when a
// comment is read, so that a caller finds what it wrote.
var (
	slashed = regexp.MustCompile(`(?m)^([^\S\n]*)(\\*/)`)
	escaped = regexp.MustCompile(`(?m)^([^\S\n]*)\\(\\*/)`)
)

func withEscapes(body string) string { return slashed.ReplaceAllString(body, `$1\$2`) }

func withoutEscapes(body string) string { return escaped.ReplaceAllString(body, `$1$2`) }
