package schedule

import "strings"

// Reason is what is wrong with a schedule.
type Reason string

// The reasons for which Resolve refuses a schedule.
const (
	Empty       Reason = "is empty"
	TooLong     Reason = "is longer than 512 characters"
	FieldCount  Reason = "does not have five fields"
	TimeZone    Reason = "names a time zone, which Kubernetes refuses in a schedule"
	UnknownWord Reason = "is no word that Kubernetes knows"
	TooOften    Reason = "runs more than once a minute"
	BadValue    Reason = "is not a value, range or list of this field"
	BadHash     Reason = "is not a form of H"
	OutOfRange  Reason = "is outside what H may take in this field"
	BadStep     Reason = "steps beyond its range"
	ShortMonth  Reason = "is a day that the month which H chooses may lack"
	NeverFires  Reason = "never fires, since no month it names has such a day"
	Refused     Reason = "is refused by the cron parser that Kubernetes uses"
)

// Error says why a schedule can't be used, in which field, and what to write instead. Schedules are not secret, so the
// offending part is repeated, shortened and without control characters.
type Error struct {
	// Field is "minute", "hour", "day of month", "month" or "day of week"; empty when the whole schedule is meant.
	Field string
	// Item is the part of the field that is wrong; may be empty.
	Item string
	// Reason is one of the constants.
	Reason Reason
	// Fix is the way out.
	Fix string
}

// Error is one line, such as `minute: "70" is not a value, range or list of this field`.
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

// printable shortens text to 32 characters and replaces what a terminal, a log or a forge might interpret.
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
