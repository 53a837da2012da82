package load

import (
	"crypto/rand"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The YAML library looks at each character of a value several times, and an encrypted kubeconfig is one value with thousands of
// them. So short marks replace encrypted values while a file is parsed. A file can't contain a mark, because marks contain a
// random number.

// encryptedPrefix starts every value that sops has encrypted, and mark every replacement of one.
const encryptedPrefix = "ENC[AES256_GCM,"

var mark = encryptedPrefix + rand.Text() + ":"

// longValue is the length from which a replacement saves time.
const longValue = 256

// shorten replaces long encrypted values with marks, if they are where sops writes them: after a key or dash, up to the end of
// the line. Lines and columns don't change.
func shorten(data string) (short string, values []string) {
	var out strings.Builder
	rest := data
	for {
		i := strings.Index(rest, encryptedPrefix)
		if i < 0 {
			break
		}
		value, _, _ := strings.Cut(rest[i:], "\n")
		value = strings.TrimRight(value, "\r")
		out.WriteString(rest[:i])
		if len(value) >= longValue && value[len(value)-1] == ']' && isValue(rest[:i]) && plain(value) {
			out.WriteString(mark)
			out.WriteString(strconv.Itoa(len(values)))
			out.WriteByte(']')
			values = append(values, value)
		} else {
			out.WriteString(value)
		}
		rest = rest[i+len(value):]
	}
	if len(values) == 0 {
		return data, nil
	}
	out.WriteString(rest)
	return out.String(), values
}

// isValue reports whether the text after before is the value of a mapping or list.
func isValue(before string) bool {
	return strings.HasSuffix(before, ": ") || strings.HasSuffix(before, "- ")
}

// plain reports whether a text only has characters that sops writes in an encrypted value.
func plain(value string) bool {
	for i := range len(value) {
		if !written[value[i]] {
			return false
		}
	}
	return true
}

var written = func() (table [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=,:_[]") {
		table[c] = true
	}
	return table
}()

// lengthen replaces the marks with their values. It leaves comments, which are never read.
func lengthen(n *yaml.Node, values []string) {
	if len(values) == 0 {
		return
	}
	if strings.Contains(n.Value, mark) {
		n.Value = unmarked(n.Value, values)
	}
	for _, child := range n.Content {
		lengthen(child, values)
	}
}

func unmarked(text string, values []string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, mark)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		number, after, _ := strings.Cut(rest, "]")
		if i, err := strconv.Atoi(number); err == nil && i < len(values) {
			if before == "" && after == "" && out.Len() == 0 {
				return values[i]
			}
			out.WriteString(values[i])
		}
		text = after
	}
}
