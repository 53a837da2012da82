package merge

import (
	"slices"
	"strings"
)

// MergeLines merges three texts.
func MergeLines(base, ours, theirs string) bool {
	split := func(s string) []string { return slices.Collect(strings.Lines(s)) }
	_, ok := mergeLines(split(base), split(ours), split(theirs))
	return ok
}
