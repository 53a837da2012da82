package schedule

import "strings"

// Reason is the problem of a schedule.
type Reason string

// The reasons why Resolve refuses a schedule.
const (
	Empty       Reason = "is empty"
	TooLong     Reason = "is longer than 512 characters"
	FieldCount  Reason = "does not have five fields"
	TimeZone    Reason = "names a time zone, which Kubernetes refuses in a schedule"
	UnknownWord Reason = "is not a word that Kubernetes knows"
	TooOften    Reason = "runs more than once a minute"
	BadValue    Reason = "is not a value, range or list of this field"
	BadHash     Reason = "is not a form of H"
	OutOfRange  Reason = "is outside the range of H in this field"
	BadStep     Reason = "steps beyond its range"
	ShortMonth  Reason = "is a day that the month chosen by H may not have"
	NeverFires  Reason = "never fires, because none of its months has this day"
	Refused     Reason = "is refused by the cron parser that Kubernetes uses"
)

// Error describes why a schedule can't be used, which field is wrong, and what to write instead. Schedules are not secret, so it
// includes the offending part, shortened and without control characters.
type Error struct {
	// Field is "minute", "hour", "day of month", "month" or "day of week". It is empty for the whole schedule.
	Field string
	// Item is the wrong part of the field. It may be empty.
	Item string
	// Reason is one of the constants.
	Reason Reason
	// Fix is how to fix it.
	Fix string
}

// Error returns one line, such as `minute: "70" is not a value, range or list of this field`.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	if e.Item != "" {
		b.WriteString(`"` + printable(e.Item) + `" `)
	} else {
		b.WriteString("the schedule ")
	}
	b.WriteString(string(e.Reason))
	return b.String()
}

// printable shortens text to 32 characters and replaces characters that a terminal, a log or a forge might interpret.
func printable(s string) string {
	const limit = 32
	var b strings.Builder
	for i, r := range []rune(s) {
		if i == limit {
			b.WriteString("…")
			break
		}
		if r < ' ' || r > '~' || r == '"' {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
