package author

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// FieldChange changes one field of a document.
type FieldChange struct {
	// Field is the field as mapping keys.
	Field []string
	// Value is a string, a bool, a list of strings, or an empty map. Nil removes the field.
	Value any
}

// FieldError means that a field can't be changed in a text.
type FieldError struct {
	Field       []string
	Reason, Fix string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("change %s: %s; %s", strings.Join(e.Field, "."), e.Reason, e.Fix)
}

// SetFields changes fields of one document in a YAML file. Only the lines of these fields change: comments, order, blank lines and
// line endings stay. document counts from 0, and empty documents count. The error is a *FieldError.
func SetFields(text []byte, document int, changes ...FieldChange) ([]byte, error) {
	lines := newLines(text)
	from, to, ok := lines.document(document)
	if !ok {
		return nil, &FieldError{nil, "the file has no such document", "check it with muster lint"}
	}
	for _, c := range changes {
		part, err := setField(lines.list[from:to], c)
		if err != nil {
			return nil, err
		}
		lines.list = slices.Concat(lines.list[:from], part, lines.list[to:])
		to = from + len(part)
	}
	return lines.bytes(), nil
}

// setField changes a field in the lines of a document, and proves that nothing else changes.
func setField(lines []string, c FieldChange) ([]string, error) {
	unsafe := &FieldError{c.Field, "the file is written in a form that Muster can't change there", "edit it with muster edit"}
	var root yaml.Node
	var want map[string]any
	if text := strings.Join(lines, "\n"); yaml.Unmarshal([]byte(text), &root) != nil || root.Decode(&want) != nil || len(root.Content) == 0 {
		return nil, unsafe
	}
	if missing := apply(want, c); missing {
		return nil, &FieldError{c.Field, "the field is not set", "nothing needs to be removed"}
	}
	after, ok := splice(lines, root.Content[0], c)
	var got map[string]any
	if !ok || yaml.Unmarshal([]byte(strings.Join(after, "\n")), &got) != nil || !reflect.DeepEqual(got, want) {
		return nil, unsafe
	}
	return after, nil
}

// apply changes the field in a decoded document. It reports whether a field to remove is missing.
func apply(object map[string]any, c FieldChange) (missing bool) {
	for _, key := range c.Field[:len(c.Field)-1] {
		next, ok := object[key].(map[string]any)
		if !ok {
			if c.Value == nil {
				return true
			}
			next = map[string]any{}
			object[key] = next
		}
		object = next
	}
	last := c.Field[len(c.Field)-1]
	if c.Value == nil {
		_, ok := object[last]
		delete(object, last)
		return !ok
	}
	object[last] = c.Value
	if list, ok := c.Value.([]string); ok {
		items := make([]any, len(list))
		for i, item := range list {
			items[i] = item
		}
		object[last] = items
	}
	return false
}

// splice changes the field in the lines of a document. It writes one entry of the innermost mapping in block style again.
func splice(lines []string, n *yaml.Node, c FieldChange) ([]string, bool) {
	field := c.Field
	for {
		at := index(n, field[0])
		if n.Kind != yaml.MappingNode || n.Style&yaml.FlowStyle != 0 || len(n.Content) == 0 {
			return nil, false
		}
		if at < 0 {
			return insert(lines, n, field, c.Value), true
		}
		key, value := n.Content[at], n.Content[at+1]
		inner := len(field) > 1 && value.Kind == yaml.MappingNode && value.Style&yaml.FlowStyle == 0 && len(value.Content) > 0
		last := c.Value == nil && len(field) == 2 && inner && len(value.Content) == 2 // what would be left is not a mapping
		if inner && !last {
			n, field = value, field[1:]
			continue
		}
		from, to := extent(lines, key, value)
		if len(field) == 1 && c.Value == nil {
			return slices.Concat(lines[:from], lines[to:]), true
		}
		if !change(value, field[1:], c.Value) {
			return nil, false
		}
		return slices.Concat(lines[:from], rendered(key, value), lines[to:]), true
	}
}

// insert adds an entry after the last one of a mapping.
func insert(lines []string, n *yaml.Node, field []string, value any) []string {
	_, end := extent(lines, n.Content[len(n.Content)-2], n.Content[len(n.Content)-1])
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: field[0], Column: n.Content[0].Column}
	content := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	change(content, field[1:], value)
	return slices.Concat(lines[:end], rendered(key, content), lines[end:])
}

// change sets or removes a field below a node. It replaces what is not a mapping, and fails for an alias.
func change(n *yaml.Node, field []string, value any) bool {
	if n.Kind == yaml.AliasNode {
		return false
	}
	if len(field) == 0 {
		assign(n, value)
		return true
	}
	if n.Kind != yaml.MappingNode {
		*n = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	at := index(n, field[0])
	switch {
	case value == nil && len(field) == 1 && at >= 0:
		if n.Content = slices.Delete(n.Content, at, at+2); len(n.Content) == 0 {
			n.Style |= yaml.FlowStyle
		}
		return true
	case at < 0:
		if len(n.Content) == 0 {
			n.Style = 0
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: field[0]}, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"})
		at = len(n.Content) - 2
	}
	return change(n.Content[at+1], field[1:], value)
}

// assign replaces a value. A text keeps its quotes, and a value its comment on the line.
func assign(n *yaml.Node, value any) {
	quotes, comment := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle), n.LineComment
	var made yaml.Node
	if made.Encode(value) != nil {
		panic("author: a value of another type") // FieldChange.Value lists the types
	}
	if text, ok := value.(string); ok {
		made.SetString(text)
		if quotes != 0 && !strings.Contains(text, "\n") {
			made.Style = quotes
		}
	}
	if reflect.ValueOf(value).Kind() != reflect.Bool && reflect.ValueOf(value).Len() == 0 && made.Kind != yaml.ScalarNode {
		made.Style = yaml.FlowStyle
	}
	*n = made
	n.LineComment = comment
}

func index(n *yaml.Node, key string) int {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// extent returns the lines of an entry of a mapping in block style, without the comments before and after it.
func extent(lines []string, key, value *yaml.Node) (from, to int) {
	from = key.Line - 1
	to = from + 1
	indent := key.Column - 1
	for i := to; i < len(lines); i++ {
		text := strings.TrimLeft(lines[i], " ")
		deep := len(lines[i]) - len(text)
		item := value.Kind == yaml.SequenceNode && deep == indent && (text == "-" || strings.HasPrefix(text, "- "))
		switch {
		case text == "" || deep <= indent && strings.HasPrefix(text, "#"):
		case deep > indent || item:
			to = i + 1
		default:
			return from, to
		}
	}
	return from, to
}

// rendered writes an entry at the column of its key.
func rendered(key, value *yaml.Node) []string {
	indent := strings.Repeat(" ", key.Column-1)
	entry := yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: key.Tag, Value: key.Value, Style: key.Style}, value}}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if encoder.Encode(&entry) != nil || encoder.Close() != nil {
		return nil // what is missing then is noticed
	}
	var list []string
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			line = indent + line
		}
		list = append(list, line)
	}
	return list
}

// RemoveDocument returns a YAML file without one of its documents. The others keep every character. The error is io.EOF if no
// other document has content.
func RemoveDocument(text []byte, document int) ([]byte, error) {
	lines := newLines(text)
	from, to, ok := lines.document(document)
	if !ok {
		return nil, errors.New("the file has no such document")
	}
	if from > 0 { // with the separator before it
		from--
	} else if to < len(lines.list) {
		to++
	}
	end := lines.list[to:]
	if last := len(lines.list) - 1; len(end) == 0 && lines.list[last] == "" {
		end = lines.list[last:] // the newline at the end of the file
	}
	lines.list = slices.Concat(lines.list[:from], end)
	rest := lines.bytes()
	var other yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(rest)); ; {
		switch err := decoder.Decode(&other); {
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		case err != nil:
			return nil, errors.New("it is not YAML")
		case len(other.Content) > 0 && other.Content[0].Tag != "!!null":
			return rest, nil
		}
	}
}

// RemoveItem returns a YAML file without an item of a list at the top. The list goes with its last item. It returns false if the
// list does not have the item.
func RemoveItem(text []byte, list, item string) ([]byte, bool) {
	lines := newLines(text)
	var root yaml.Node
	if yaml.Unmarshal([]byte(strings.Join(lines.list, "\n")), &root) != nil || len(root.Content) == 0 {
		return nil, false
	}
	at := index(root.Content[0], list)
	if at < 0 {
		return nil, false
	}
	items := root.Content[0].Content[at+1]
	found := slices.IndexFunc(items.Content, func(n *yaml.Node) bool { return n.Value == item })
	if found < 0 {
		return nil, false
	}
	var rest []string
	for i, n := range items.Content {
		if i != found {
			rest = append(rest, n.Value)
		}
	}
	if len(rest) > 0 && items.Style&yaml.FlowStyle == 0 {
		line := items.Content[found].Line - 1
		lines.list = slices.Delete(lines.list, line, line+1)
		return lines.bytes(), true
	}
	change := FieldChange{Field: []string{list}, Value: rest}
	if len(rest) == 0 {
		change.Value = nil
	}
	after, err := SetFields(text, 0, change)
	return after, err == nil
}

// lines are a text by line.
type lines struct {
	list []string
	// crlf is true if every line ends as on Windows.
	crlf bool
}

func newLines(text []byte) *lines {
	all := strings.Count(string(text), "\n")
	l := &lines{crlf: all > 0 && strings.Count(string(text), "\r\n") == all}
	if l.crlf {
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	}
	l.list = strings.Split(string(text), "\n")
	return l
}

func (l *lines) bytes() []byte {
	end := map[bool]string{true: "\r\n", false: "\n"}[l.crlf]
	return []byte(strings.Join(l.list, end))
}

// document returns the lines of a document, without separators. A "---" at the start of a line is always one.
func (l *lines) document(number int) (from, to int, ok bool) {
	empty := func(part []string) bool {
		return !slices.ContainsFunc(part, func(line string) bool {
			return strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "%")
		})
	}
	count := -1
	for i := 0; i <= len(l.list); i++ {
		if i < len(l.list) && l.list[i] != "---" && !strings.HasPrefix(l.list[i], "--- ") {
			continue
		}
		if first := count < 0 && i < len(l.list); !first || !empty(l.list[from:i]) { // comments before the first separator are no document
			count++
		}
		if count == number {
			return from, i, true
		}
		from = i + 1
	}
	return 0, 0, false
}
