package wire

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/gitsync/forge"
)

// maxMessage keeps a forge's message short enough for a condition.
const maxMessage = 300

// messageOf finds the message of an error. The forges use {"message": …}, GitLab also {"error": …}, with text or lists by
// field as the value; GitHub also has "errors" with the actual reason. The markup of a web page would be useless.
func messageOf(contentType string, body []byte) string {
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		if !strings.HasPrefix(contentType, "text/plain") {
			return ""
		}
		return forge.Truncate(forge.Line(string(body)), maxMessage)
	}
	var words []string
	for _, key := range []string{"message", "error", "error_description", "errors"} {
		if text := flat(fields[key], 0); text != "" && !slices.Contains(words, text) {
			words = append(words, text)
		}
	}
	return forge.Truncate(forge.Line(strings.Join(words, ": ")), maxMessage)
}

// flat formats lists and objects as text, up to a few levels deep, because GitLab answers {"description": ["is too long"]}.
func flat(value any, depth int) string {
	if depth > 4 {
		return ""
	}
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		var parts []string
		for _, element := range v[:min(len(v), 10)] {
			parts = append(parts, flat(element, depth+1))
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		if message, ok := v["message"].(string); ok {
			return message // GitHub's: resource, code and field add nothing to it
		}
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, key+" "+flat(v[key], depth+1))
		}
		return strings.Join(parts[:min(len(parts), 10)], ", ")
	default:
		return fmt.Sprint(v)
	}
}
