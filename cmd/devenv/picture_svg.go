package main

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode/utf8"
)

// screen is a terminal in the picture.
type screen struct {
	title string
	lines []string
}

// Measures of the picture, in pixels. A character of the usual fonts is at most 0.61 of their size wide.
const (
	columns    = 120
	fontSize   = 13
	lineHeight = 19
	pictureW   = 32 + columns*fontSize*61/100
	padding    = 16
	titleH     = 30
)

// The text stays text, so that it can be read aloud, searched and copied. The colours follow the reader's theme.
const pictureHead = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-labelledby="title about">
<title id="title">Muster at work</title>
<desc id="about">The terminal of make run FORGE=gitea, a pushed commit with its three statuses, and muster status.</desc>
<style>
svg { --page: #ffffff; --text: #1f2328; --bar: #f6f8fa; --line: #d1d9e0; --dim: #59636e; --good: #1a7f37; --bad: #d1242f; --wait: #9a6700 }
@media (prefers-color-scheme: dark) {
svg { --page: #0d1117; --text: #f0f6fc; --bar: #151b23; --line: #3d444d; --dim: #9198a1; --good: #3fb950; --bad: #f85149; --wait: #d29922 }
}
rect { fill: var(--page); stroke: var(--line) }
.bar { fill: var(--bar) }
text { fill: var(--text); font: %[3]dpx ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace; white-space: pre }
.title { font-weight: 600 }
.dim { fill: var(--dim) } .good { fill: var(--good) } .bad { fill: var(--bad) } .wait { fill: var(--wait) }
</style>
`

// drawn is an SVG of the screens, one below the other.
func drawn(screens []screen) string {
	var b strings.Builder
	y := 1
	for _, s := range screens {
		var lines []string
		for _, l := range s.lines {
			lines = append(lines, wrapped(l)...)
		}
		height := titleH + len(lines)*lineHeight + padding
		fmt.Fprintf(&b, "<rect x=\"1\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n", y, pictureW-2, height)
		fmt.Fprintf(&b, "<rect class=\"bar\" x=\"1\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n", y, pictureW-2, titleH)
		fmt.Fprintf(&b, "<text class=\"title\" x=\"%d\" y=\"%d\">%s</text>\n", padding, y+titleH-10, html.EscapeString(s.title))
		for i, l := range lines {
			if l != "" {
				fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" xml:space=\"preserve\">%s</text>\n", padding, y+titleH+(i+1)*lineHeight, painted(l))
			}
		}
		y += height + padding
	}
	return fmt.Sprintf(pictureHead, pictureW, y-padding+1, fontSize) + b.String() + "</svg>\n"
}

// wrapped breaks a line at spaces, and indents the rest to the line's last column, or a bit more than the line.
func wrapped(line string) []string {
	var lines []string
	indent := strings.Repeat(" ", min(columns/3, max(2+len(line)-len(strings.TrimLeft(line, " ")), utf8.RuneCountInString(lastColumn.FindString(line)))))
	for utf8.RuneCountInString(line) > columns {
		runes := []rune(line)
		at := strings.LastIndex(string(runes[:columns]), " ")
		if strings.TrimSpace(line[:max(at, 0)]) == "" {
			break // one long word
		}
		lines, line = append(lines, strings.TrimRight(line[:at], " ")), indent+strings.TrimSpace(line[at:])
	}
	return append(lines, line)
}

// lastColumn is what precedes the last column of a line. Columns are two spaces apart.
var lastColumn = regexp.MustCompile(`^.*\S  +`)

// words have a colour wherever they are.
var words = regexp.MustCompile(`(?P<dim>^\d\d:\d\d:\d\d|^[A-Z]{4,}[A-Z ]*$|^\$)|(?P<bad>\b(?:failure|Failed|OutOfMemory|OOMKilled|quarantined|not ready)\b)|` +
	`(?P<good>\b(?:success|Succeeded|ready)\b)|(?P<wait>\b(?:pending|Running)\b)`)

// painted is a line as the content of a text element.
func painted(line string) string {
	var b strings.Builder
	end := 0
	for _, m := range words.FindAllStringSubmatchIndex(line, -1) {
		for i, class := range words.SubexpNames() {
			if i > 0 && m[2*i] >= 0 {
				fmt.Fprintf(&b, `%s<tspan class="%s">%s</tspan>`, html.EscapeString(line[end:m[0]]), class, html.EscapeString(line[m[0]:m[1]]))
			}
		}
		end = m[1]
	}
	return b.String() + html.EscapeString(line[end:])
}
