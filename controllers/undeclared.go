package controllers

import (
	"regexp"
	"time"

	"k8s.io/utils/clock"

	"github.com/muster-gitops/muster/clusters/plan"
)

// The API server rejects a whole audit config because of a field that is not in its CRD, and names one field at a time:
// ".spec.jobOverrides: field not declared in schema".
var (
	undeclared = regexp.MustCompile(`(?m)(?:\): |^\s+)\.(spec\.\S+): field not declared in schema$`)
	indexes    = regexp.MustCompile(`\[[^\]]*\]`)
)

// maxUndeclared is how many fields are remembered. Versions of the operator differ by a handful.
const maxUndeclared = 32

// learn remembers the fields that the API server doesn't know, and reports whether one of them is new.
func (st *state) learn(err error, now time.Time) (added bool) {
	for _, found := range undeclared.FindAllStringSubmatch(err.Error(), -1) {
		path := indexes.ReplaceAllString(found[1], "")
		if _, known := st.undeclared[path]; known || len(st.undeclared) >= maxUndeclared {
			continue
		}
		if st.undeclared == nil {
			st.undeclared = map[string]time.Time{}
		}
		st.undeclared[path], added = now, true
	}
	return added
}

// unknownFields returns the fields that the API server did not know when they were last applied. Each is tried again once a day.
func (st *state) unknownFields(clock clock.PassiveClock) map[string]bool {
	fields := map[string]bool{}
	for path, at := range st.undeclared {
		if clock.Since(at) >= plan.RetryNotKept {
			delete(st.undeclared, path)
			continue
		}
		fields[path] = true
	}
	return fields
}
