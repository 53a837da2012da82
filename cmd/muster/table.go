package main

import (
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// bold marks headings.
const bold colour = "1"

// cell is text in a table. An empty colour means none.
type cell struct {
	text   string
	colour colour
}

// table is rows of cells. The last cell of a row may be of any length.
type table [][]cell

// write writes the table with aligned columns. A row that is too wide for the terminal keeps its first columns; everything
// after them is wrapped onto separate lines, because wrapped columns are hard to read.
func (t table) write(b *strings.Builder, paint func(colour, string) string, indent string, keep, width int) {
	widths := widthsOf(t)
	stacked := width > 0 && t.longest(widths)+len(indent) > width
	for _, row := range t {
		b.WriteString(indent)
		for i, c := range row {
			if c.text == "" && i == len(row)-1 {
				break
			}
			if stacked && i >= keep {
				for _, line := range wrapped(c.text, width-len(indent)-4) {
					b.WriteString("\n" + indent + "    " + painted(paint, cell{line, c.colour}))
				}
				continue
			}
			if stacked && i > 0 {
				c.text = cut(c.text, max(8, width-len(indent)-widths[0]-2))
			}
			b.WriteString(painted(paint, c))
			if pad := widths[min(i, len(widths)-1)] - utf8.RuneCountInString(c.text); i < len(row)-1 && row[i+1].text != "" && (!stacked || i+1 < keep) {
				b.WriteString(strings.Repeat(" ", max(pad, 0)+2))
			}
		}
		b.WriteString("\n")
	}
}

// widthsOf are the widths of the columns. The last column of a row doesn't count.
func widthsOf(t table) []int {
	var widths []int
	for _, row := range t {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if i < len(row)-1 {
				widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
			}
		}
	}
	return widths
}

// longest is the length of the longest row.
func (t table) longest(widths []int) int {
	longest := 0
	for _, row := range t {
		n := 0
		for i, c := range row {
			if i < len(row)-1 {
				n += widths[i] + 2
				continue
			}
			n += utf8.RuneCountInString(c.text)
		}
		longest = max(longest, n)
	}
	return longest
}

func painted(paint func(colour, string) string, c cell) string {
	if c.colour == "" || c.text == "" {
		return c.text
	}
	return paint(c.colour, c.text)
}

// widthOf is the width of a terminal, or 0 for everything else.
func widthOf(w io.Writer) int {
	f := osFile(w)
	if f == nil {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// cut shortens text for display.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}
