package review

import (
	"fmt"
	"strings"
)

// section is a part of the comment. Each of its strings is complete Markdown, and is written as a whole or not at all.
type section struct {
	// head introduces the items, and tail ends what head has opened.
	head, tail string
	items      []string
}

func (s *section) size() int {
	n := len(s.head) + len(s.tail)
	for _, item := range s.items {
		n += len(item)
	}
	return n
}

// write writes the sections in at most space bytes. If they don't fit, the sections that are longer than their share lose
// their last items, and tell how many. A section for which not even that fits is left out, with those after it.
func write(b *strings.Builder, sections []section, space int, command string) {
	rest := 0
	for i := range sections {
		rest += sections[i].size()
	}
	for i := range sections {
		s := &sections[i]
		rest -= s.size()
		least := leastSize(s, command)
		if least > space {
			return
		}
		before := b.Len()
		s.write(b, max(space/(len(sections)-i), space-rest, least), command)
		space -= b.Len() - before
	}
}

// leastSize is the size of a section without items, or of the whole section if that is smaller.
func leastSize(s *section, command string) int {
	return min(s.size(), len(s.head)+len(more(len(s.items), command))+len(s.tail))
}

func (s *section) write(b *strings.Builder, space int, command string) {
	b.WriteString(s.head)
	space -= len(s.head) + len(s.tail)
	whole := s.size()-len(s.head)-len(s.tail) <= space
	for i, item := range s.items {
		left := len(s.items) - i
		if !whole && len(item)+len(more(left-1, command)) > space {
			b.WriteString(more(left, command))
			break
		}
		b.WriteString(item)
		space -= len(item)
	}
	b.WriteString(s.tail)
}

// more tells that items were left out, and how to see them.
func more(n int, command string) string {
	switch {
	case n == 0:
		return ""
	case command == "":
		return fmt.Sprintf("- … %d more\n", n)
	}
	return fmt.Sprintf("- … %d more; run %s\n", n, codeOf(command, maxCommand))
}

// item is a list item with items below it, in a bounded size.
type item struct {
	strings.Builder
	left int // how many items below it were left out
}

// maxItem bounds a list item, in bytes.
const maxItem = 4 << 10

// below adds an item below this one, if there is room.
func (i *item) below(text string) {
	if i.left > 0 || i.Len()+len(text) > maxItem {
		i.left++
		return
	}
	i.WriteString("  - " + text + "\n")
}

func (i *item) done() string {
	if i.left > 0 {
		fmt.Fprintf(i, "  - … %d more\n", i.left)
	}
	return i.String()
}

// fold is the head of a section that is folded, with a summary of our own words. A blank line after it makes what
// follows Markdown again.
func fold(summary string, open bool) string {
	if open {
		return "<details open><summary>" + summary + "</summary>\n\n"
	}
	return "<details><summary>" + summary + "</summary>\n\n"
}

const foldEnd = "\n</details>\n\n"
