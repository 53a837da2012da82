package open

import "testing"

// Know limits how many texts the redactor may learn during a test.
func Know(t *testing.T, most int64) {
	t.Helper()
	before := maxKnown
	maxKnown = most
	t.Cleanup(func() { maxKnown = before })
}
