package seal

import (
	"encoding/json"
	"regexp"
	"strings"
)

// Format is a format of SOPS files.
type Format string

// The formats that sops writes. Binary is a JSON file whose only value, "data", is the content of a file in any format.
const (
	YAML   Format = "yaml"
	JSON   Format = "json"
	Binary Format = "binary"
	Dotenv Format = "dotenv"
	INI    Format = "ini"
)

// IsEncrypted reports whether the content of a file is encrypted with SOPS, in any of its formats.
func IsEncrypted(data string) bool { return FormatOf(data) != "" }

// FormatOf returns the format of an encrypted file, or "" for one that isn't encrypted. It looks at the content rather than the
// name, because a kubeconfig may have any name.
func FormatOf(data string) Format {
	trimmed := strings.TrimSpace(data)
	switch {
	case strings.HasPrefix(trimmed, "{") && strings.Contains(trimmed, `"sops"`) && json.Valid([]byte(trimmed)):
		if isBinary(trimmed) {
			return Binary
		}
		return JSON
	case sopsField.MatchString(data):
		return YAML
	case hasLine(data, "[sops]"):
		return INI
	case isDotenv(data):
		return Dotenv
	default:
		return ""
	}
}

// sopsField matches the field with sops' metadata in a YAML document: at the start of a line, or in a document in braces.
var sopsField = regexp.MustCompile(`(?m)^(["']?)sops["']?[ \t]*:|\A\s*\{(?s:.*)[{,\s]["']?sops["']?[ \t]*:`)

// isBinary reports whether a JSON object has no fields but sops' own and a text in "data".
func isBinary(object string) bool {
	decoder := json.NewDecoder(strings.NewReader(object))
	decoder.Token() //nolint:errcheck // it is the brace of a valid object
	for decoder.More() {
		var value json.RawMessage
		key, err := decoder.Token()
		if err != nil || decoder.Decode(&value) != nil || key != "sops" && (key != "data" || value[0] != '"') {
			return false
		}
	}
	return true
}

func isDotenv(data string) bool { return hasLine(data, "sops_mac=") }

func hasLine(data, prefix string) bool {
	for line := range strings.Lines(data) {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}
