package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// leaveOut removes optional fields from an audit config that the CRD lacks: with one of them, the API server would
// refuse the whole object. It returns their corrections, given those before.
func (f *facts) leaveOut(object map[string]any, before []inventory.Correction) []inventory.Correction {
	var left []inventory.Correction
	for _, path := range slices.Sorted(maps.Keys(f.live.Undeclared)) {
		field := strings.Split(path, ".")
		value, found, err := unstructured.NestedFieldNoCopy(object, field...)
		if !found || err != nil || !optional(field) {
			continue
		}
		if unstructured.RemoveNestedField(object, field...); zero(value) {
			continue // the operator behaves the same without it
		}
		c := correctionOf(before, path)
		if c.Dropped < maxDropped || f.policy.retries(c) {
			c.Dropped, c.Commit, c.At = maxDropped, f.policy.Revision, f.policy.now()
		}
		left = append(left, c)
	}
	return left
}

// optional reports whether an operator may lack a field of an audit config and the field involves no Secret.
func optional(field []string) bool {
	return field[0] == "spec" && !mondoo.Everywhere(field[1:]) && !slices.ContainsFunc(field, namesSecret)
}

// refuseUndeclared holds back a cluster with a field that the CRD lacks. Leaving the field out could change the meaning
// of the entry, such as where to log in.
func (a *admitted) refuseUndeclared(c *fleet.Cluster) bool {
	for _, path := range slices.Sorted(maps.Keys(a.live.Undeclared)) {
		field, ofEntry := strings.CutPrefix(path, listPath+".")
		if !ofEntry || valueAt(c.Entry.Map(), field) == "" {
			continue
		}
		a.told.refuse(a.placeOf(c, append([]string{"spec"}, strings.Split(field, ".")...)), CodeNotKept,
			fmt.Sprintf("the installed operator's CRD lacks the field %s; the cluster stays as it was", field), "upgrade the operator, or remove the field from the file")
		a.told.notKept = append(a.told.notKept, about(KindCluster, c.AuditConfig, c.Name, []string{field}))
		return true
	}
	return false
}
