// Package schedule resolves the cron schedules of cluster files.
//
// A schedule has the syntax of a Kubernetes CronJob: five fields, or a word such as @daily. H can replace a number. It is a
// number that is stable for one cluster, independent of every other cluster, and evenly distributed over the fleet. Without it,
// N clusters with the same schedule start N scan Pods in the same minute.
//
//	H            one value of the field: H * * * * is once an hour
//	H/15         every 15th, from a hashed start: H/15 * * * * is four times an hour
//	H(9-17)      one value of the range
//	H(0-29)/10   every 10th of the range, from a hashed start
//
// H works in every field and in lists. In the day of month it ranges over 1–28, the days that every month has. [Resolve]
// replaces it. The package has no clock and schedules nothing.
package schedule

import (
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Default is the schedule if neither the cluster nor its audit config has one: hourly, like the operator's default, but spread
// over the hour. It must be written into the entry, because the operator only fills in its default when local scanning is on.
// Without it, the entry's CronJob would be refused.
const Default = "H * * * *"

// maxLength refuses expressions that were not written by hand. The longest sensible list, every minute of an hour, has 169
// characters.
const maxLength = 512

// Seed returns the seed of H for one cluster of one audit config. Neither name can contain a slash.
func Seed(auditConfig, cluster string) string { return auditConfig + "/" + cluster }

// Resolve replaces every H in the expression with its value for the seed, and returns a schedule that Kubernetes accepts in a
// CronJob. The same expression and seed return the same schedule, in every process and version. An expression without H is
// unchanged except for blanks. The error is an [*Error].
func Resolve(expr, seed string) (string, error) {
	if len(expr) > maxLength {
		return "", &Error{Reason: TooLong, Fix: "write a step, such as */5, instead of a list"}
	}
	parts := strings.Fields(expr)
	if len(parts) == 0 {
		return "", &Error{Reason: Empty, Fix: `write five fields, such as "H * * * *", or leave the schedule out`}
	}
	// Kubernetes refuses every schedule that contains TZ, and robfig/cron panics on "TZ=" without a blank after it.
	if strings.Contains(expr, "TZ") {
		return "", &Error{Item: parts[0], Reason: TimeZone, Fix: "remove the time zone; schedules run in the time zone of the kube-controller-manager, usually UTC"}
	}
	if strings.HasPrefix(parts[0], "@") {
		return word(parts)
	}
	if len(parts) != len(fields) {
		return "", &Error{Reason: FieldCount, Fix: "write minute, hour, day of month, month and day of week, such as \"H * * * *\""}
	}
	resolved := make([]string, len(parts))
	for i, part := range parts {
		value, err := fields[i].resolve(part, seed)
		if err != nil {
			return "", err
		}
		resolved[i] = value
	}
	result := strings.Join(resolved, " ")
	if err := fires(result, strings.Contains(parts[3], "H")); err != nil {
		return "", err
	}
	return result, nil
}

// word checks a schedule that is a word. It accepts what robfig/cron accepts, unless it runs more often than once a minute.
func word(parts []string) (string, error) {
	result := strings.Join(parts, " ")
	schedule, err := cron.ParseStandard(result)
	if err != nil {
		return "", &Error{Item: parts[0], Reason: UnknownWord, Fix: "write one of @hourly, @daily, @weekly, @monthly, @yearly, or five fields"}
	}
	if every, ok := schedule.(cron.ConstantDelaySchedule); ok && every.Delay < time.Minute {
		return "", &Error{Item: parts[0], Reason: TooOften, Fix: "write a minute or more"}
	}
	return result, nil
}

// fires reports whether the schedule ever runs. robfig/cron looks five years ahead, so the search starts at a leap year to find
// 29 February. The result must not depend on a hashed month, or the same line would work for one cluster and not for the next.
// So with a hashed month, the days must be ones that every month has.
func fires(expr string, monthHashed bool) error {
	parsed, err := cron.ParseStandard(expr)
	if err != nil {
		return &Error{Reason: Refused, Fix: `write five fields, such as "H * * * *"`}
	}
	if spec, ok := parsed.(*cron.SpecSchedule); ok && monthHashed && spec.Dow&anyDay != 0 && spec.Dom&everyMonth == 0 {
		return &Error{Field: dayOfMonth, Reason: ShortMonth, Fix: "choose a day up to 28, or name the months"}
	}
	if parsed.Next(time.Date(2023, time.December, 31, 23, 59, 59, 0, time.UTC)).IsZero() {
		return &Error{Field: dayOfMonth, Reason: NeverFires, Fix: "choose a day that the month has"}
	}
	return nil
}

// Bits of robfig/cron's fields: the days 1 to 28, and the mark for an unrestricted field. If the day of week is restricted,
// either day fires.
const (
	everyMonth uint64 = 1<<29 - 2
	anyDay     uint64 = 1 << 63
)
