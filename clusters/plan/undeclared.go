package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// RetryNotKept is the interval for retrying a field that was dropped: the operator may have been upgraded.
const RetryNotKept = 24 * time.Hour

// retries reports whether it is time to apply a dropped field again.
func (p *planner) retries(c inventory.Correction) bool {
	return !p.policy.Now.IsZero() && !c.At.IsZero() && p.policy.Now.Sub(c.At) >= RetryNotKept
}

// leaveOut removes optional fields from an audit config that the CRD lacks: with one of them, the API server would
// refuse the whole object. remember records them in the next inventory.
func (p *planner) leaveOut(desired fleet.AuditConfig, object map[string]any, before, after *inventory.Inventory) (remember func()) {
	var paths []string
	var corrected []inventory.Correction
	for _, path := range slices.Sorted(maps.Keys(p.live.Undeclared)) {
		field := strings.Split(path, ".")
		value, found, err := unstructured.NestedFieldNoCopy(object, field...)
		if !found || err != nil || !optional(field) {
			continue
		}
		if unstructured.RemoveNestedField(object, field...); zero(value) {
			continue // the operator behaves the same without it
		}
		c := inventory.Correction{Path: path}
		if before != nil {
			if at := slices.IndexFunc(before.Corrected, func(c inventory.Correction) bool { return c.Path == path }); at >= 0 {
				c = before.Corrected[at]
			}
		}
		if c.Dropped < maxDropped || p.retries(c) {
			c.Dropped, c.Commit, c.At = maxDropped, p.policy.Revision, p.policy.now()
		}
		paths, corrected = append(paths, path), append(corrected, c)
	}
	if len(paths) > 0 {
		p.plan.NotKept = append(p.plan.NotKept, about(KindAuditConfig, "", desired.Name, paths))
		p.notKept("the audit config "+desired.Name, func(field []string) finding.Finding { return p.place(desired.Origin, field) }, paths)
	}
	return func() {
		after.Corrected = slices.DeleteFunc(slices.Clone(after.Corrected), func(c inventory.Correction) bool { return slices.Contains(paths, c.Path) })
		after.Corrected = append(after.Corrected, corrected...)
		slices.SortFunc(after.Corrected, func(a, b inventory.Correction) int { return strings.Compare(a.Path, b.Path) })
	}
}

// optional reports whether an operator may lack a field of an audit config and the field involves no Secret.
func optional(field []string) bool {
	return field[0] == "spec" && !mondoo.Everywhere(field[1:]) && !slices.ContainsFunc(field, namesSecret)
}

// refuseUndeclared holds back a cluster with a field that the CRD lacks. Leaving the field out could change the meaning
// of the entry, such as where to log in.
func (p *planner) refuseUndeclared(c fleet.Cluster) bool {
	for _, path := range slices.Sorted(maps.Keys(p.live.Undeclared)) {
		field, ofEntry := strings.CutPrefix(path, listPath+".")
		if !ofEntry || valueAt(c.Entry.Map(), field) == "" {
			continue
		}
		p.refuse(p.placeOf(&c, append([]string{"spec"}, strings.Split(field, ".")...)), CodeNotKept,
			fmt.Sprintf("the installed operator's CRD lacks the field %s; the cluster stays as it was", field), "upgrade the operator, or remove the field from the file")
		p.plan.NotKept = append(p.plan.NotKept, about(KindCluster, c.AuditConfig, c.Name, []string{field}))
		return true
	}
	return false
}
