package load

import (
	"crypto/rand"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The YAML library looks at each character of a value several times, and an encrypted kubeconfig is one value of thousands of
// them, in which nothing is YAML. So while a file is parsed, short marks stand for its encrypted values. Nobody can write
// a mark into a file: it is made with a random number.

// encryptedPrefix starts every value that sops has encrypted, and mark every stand-in for one.
const encryptedPrefix = "ENC[AES256_GCM,"

var mark = encryptedPrefix + rand.Text() + ":"

// longValue is the length from which a stand-in pays.
const longValue = 256

// shorten puts marks in the place of long encrypted values, as far as they stand as sops writes them: behind a key or dash, up to the end
// of the line. Lines and columns stay what they are.
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

// isValue says whether what follows some text is the value of a mapping or list.
func isValue(before string) bool {
	return strings.HasSuffix(before, ": ") || strings.HasSuffix(before, "- ")
}

// plain says whether a text holds nothing but what sops writes in an encrypted value.
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

// lengthen puts the values back in the place of their marks. Comments keep theirs; they are looked at by nobody.
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
