package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/robfig/cron/v3"
)

const dayOfMonth = "day of month"

// field is one of the five fields, with the range of H in it.
type field struct {
	name     string
	index    int
	min, max int
	words    []string // three letters each; the first is the word for min
}

// fields are in the order of a schedule. H in the day of month excludes 29 to 31, which some months don't have.
var fields = [5]field{
	{name: "minute", index: 0, min: 0, max: 59},
	{name: "hour", index: 1, min: 0, max: 23},
	{name: dayOfMonth, index: 2, min: 1, max: 28},
	{name: "month", index: 3, min: 1, max: 12, words: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{name: "day of week", index: 4, min: 0, max: 6, words: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// hashed matches H, H/step, H(low-high) and H(low-high)/step.
var hashed = regexp.MustCompile(`^H(?:\(([0-9A-Za-z]+)-([0-9A-Za-z]+)\))?(?:/([0-9]+))?$`)

// resolve replaces each H in a comma-separated field. It passes every item to Kubernetes' parser separately, so that errors name
// the item.
func (f field) resolve(text, seed string) (string, error) {
	items := strings.Split(text, ",")
	for i, item := range items {
		// The cron library skips empty items, and reads a field of only commas as "never".
		if item == "" {
			return "", &Error{Field: f.name, Item: text, Reason: BadValue, Fix: "remove the extra comma"}
		}
		if strings.HasPrefix(item, "H") {
			value, err := f.spread(item, f.hash(seed, i))
			if err != nil {
				return "", err
			}
			items[i] = value
			continue
		}
		if !f.accepts(item) {
			return "", &Error{Field: f.name, Item: item, Reason: BadValue, Fix: fmt.Sprintf("write %s, *, a range a-b, a step */n, or H", f.bounds())}
		}
	}
	return strings.Join(items, ","), nil
}

// accepts reports whether the parser that Kubernetes uses accepts an item.
func (f field) accepts(item string) bool {
	all := []string{"*", "*", "*", "*", "*"}
	all[f.index] = item
	_, err := cron.ParseStandard(strings.Join(all, " "))
	return err == nil
}

// bounds returns the range of single values, for messages.
func (f field) bounds() string {
	high := f.max
	if f.name == dayOfMonth {
		high = 31
	}
	return fmt.Sprintf("%d to %d", f.min, high)
}

// spread converts a form of H to a value, or a range with a step.
func (f field) spread(item string, hash uint64) (string, error) {
	match := hashed.FindStringSubmatch(item)
	if match == nil {
		return "", &Error{Field: f.name, Item: item, Reason: BadHash, Fix: fmt.Sprintf("write H, H/n, H(%d-%d) or H(%[1]d-%d)/n", f.min, f.max)}
	}
	low, high := f.min, f.max
	if match[1] != "" {
		var okLow, okHigh bool
		low, okLow = f.value(match[1])
		high, okHigh = f.value(match[2])
		if !okLow || !okHigh || low > high {
			return "", &Error{Field: f.name, Item: item, Reason: OutOfRange, Fix: fmt.Sprintf("write a range within %d-%d, the smaller number first", f.min, f.max)}
		}
	}
	size := high - low + 1
	if match[3] == "" {
		return strconv.Itoa(low + offset(hash, size)), nil
	}
	step, err := strconv.Atoi(match[3])
	if err != nil || step < 1 || step > size {
		return "", &Error{Field: f.name, Item: item, Reason: BadStep, Fix: fmt.Sprintf("write a step from 1 to %d", size)}
	}
	// With a step, the start is one of the first step values. So the field may match once less, but gaps are never twice as
	// long.
	return fmt.Sprintf("%d-%d/%d", low+offset(hash, step), high, step), nil
}

// value parses a number or a three-letter word within the range of H.
func (f field) value(text string) (int, bool) {
	for i, word := range f.words {
		if strings.EqualFold(text, word) {
			return f.min + i, true
		}
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= f.min && n <= f.max
}

// hash never changes: it is SHA-256 over the seed, the field's name and, for lists, the index of the item. So the minute and
// hour of H H * * * are independent. Zero bytes separate the parts.
func (f field) hash(seed string, item int) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", seed, f.name, item))
	return binary.BigEndian.Uint64(sum[:8])
}

// offset maps a hash to 0…size-1. The bias of the remainder is below 2^-58 for the sizes in cron.
func offset(hash uint64, size int) int {
	return int(hash % uint64(size)) //nolint:gosec // size is 1 to 60
}
