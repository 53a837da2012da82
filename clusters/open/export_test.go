package open

import "testing"

// Know has the redactor know no more than so many texts, for the time of a test.
func Know(t *testing.T, most int64) {
	t.Helper()
	before := maxKnown
	maxKnown = most
	t.Cleanup(func() { maxKnown = before })
}
