package controllers

import (
	"regexp"
	"time"

	"k8s.io/utils/clock"

	"github.com/muster-gitops/muster/clusters/plan"
)

// The API server refuses the whole of an audit config for a field that its CRD doesn't have, and names one field at a time: ".spec.jobOverrides:
// field not declared in schema".
var (
	undeclared = regexp.MustCompile(`(?m)(?:\): |^\s+)\.(spec\.\S+): field not declared in schema$`)
	indexes    = regexp.MustCompile(`\[[^\]]*\]`)
)

// maxUndeclared is how many fields are remembered. There are a handful between versions of the operator.
const maxUndeclared = 32

// learn notes the fields that the API server doesn't have, and reports whether one of them is new.
func (st *state) learn(err error, now time.Time) (news bool) {
	for _, found := range undeclared.FindAllStringSubmatch(err.Error(), -1) {
		path := indexes.ReplaceAllString(found[1], "")
		if _, known := st.undeclared[path]; known || len(st.undeclared) >= maxUndeclared {
			continue
		}
		if st.undeclared == nil {
			st.undeclared = map[string]time.Time{}
		}
		st.undeclared[path], news = now, true
	}
	return news
}

// unknownFields are those that the API server didn't have when they were last applied, which is tried once a day.
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
