package review

import (
	"net/url"
	"strings"
)

// Marker returns the first line of the comment for an AuditSync, which its UID or namespace/name identifies. Readers
// don't see it: it is an HTML comment. Different AuditSyncs have different markers.
func Marker(auditSync string) string {
	// An HTML comment must not contain two dashes in a row, and PathEscape escapes every angle bracket.
	return "<!-- muster:review " + strings.ReplaceAll(url.PathEscape(auditSync), "--", "-%2D") + " -->"
}

// Marked reports whether a comment's first line is exactly the marker. Anyone can write it, so a caller also compares
// the author.
func Marked(body, marker string) bool {
	first, _, _ := strings.Cut(body, "\n")
	return marker != "" && strings.TrimSuffix(first, "\r") == marker
}

// Unchecked returns the comment for a pull request that can't be checked, with the reason as a sentence without its dot.
func Unchecked(marker, reason string) string {
	return marker + "\n**Muster can't check this pull request:** " + prose(reason, code) + ".\n"
}

// Gone returns the comment for a pull request that no longer concerns the AuditSync, with the reason as part of a
// sentence, such as "the pull request no longer changes clusters/production".
func Gone(marker, reason string) string {
	return marker + "\n**Muster has nothing to review here:** " + prose(reason, code) + ".\n"
}
