package controllers

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/muster-gitops/muster/clusters/plan"
)

// TestLearn holds what is taken for a field that the API server doesn't have, how many are, and for how long.
func TestLearn(t *testing.T) {
	const typed = "failed to create typed patch object (ns/mondoo-client; k8s.mondoo.com/v1alpha2, Kind=MondooAuditConfig): "
	now := testclock.NewFakePassiveClock(time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC))
	for _, row := range []struct {
		reason, message, want string
	}{
		{"one", typed + ".spec.jobOverrides: field not declared in schema", "spec.jobOverrides"},
		{"one of an entry", typed + ".spec.kubernetesResources.externalClusters[12].vaultAuth.vaultNamespace: field not declared in schema", "spec.kubernetesResources.externalClusters.vaultAuth.vaultNamespace"},
		{"several", typed + "errors:\n  .spec.a: field not declared in schema\n  .spec.b: field not declared in schema", "spec.a spec.b"},
		{"beside spec", typed + ".metadata.x: field not declared in schema", ""},
		{"another fault", typed + ".spec.a: expected string, got &value.valueUnstructured{Value:1}", ""},
		{"a value that looks like it", `MondooAuditConfig "x" is invalid: spec.a: Invalid value: ".spec.filtering: field not declared in schema"`, ""},
	} {
		st := &state{}
		err := errors.Join(errors.New("x"), &ApplyError{Kind: plan.KindAuditConfig, Name: "mondoo-client", Err: errors.New(row.message)})
		news := st.learn(err, now.Now())
		if got := strings.Join(slices.Sorted(maps.Keys(st.unknownFields(now))), " "); got != row.want || news != (row.want != "") {
			t.Errorf("%s: %q, news %t", row.reason, got, news)
		}
		if st.learn(err, now.Now()) {
			t.Errorf("%s: it is news twice", row.reason)
		}
	}
	st := &state{}
	for i := range 2 * maxUndeclared {
		st.learn(fmt.Errorf("%s.spec.f%d: field not declared in schema", typed, i), now.Now())
	}
	if n := len(st.unknownFields(now)); n != maxUndeclared {
		t.Errorf("%d fields are remembered", n)
	}
	now.SetTime(now.Now().Add(plan.RetryNotKept))
	if n := len(st.unknownFields(now)); n != 0 {
		t.Errorf("%d fields are remembered after a day", n)
	}
}
