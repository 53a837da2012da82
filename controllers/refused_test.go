package controllers_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestRefusedClaimsNothing has an AuditSync whose audit config another one drives, one whose audit config is misspelt, and one that is
// suspended before it has done anything.
func TestRefusedClaimsNothing(t *testing.T) {
	w := newWorld(t)
	w.push(map[string]string{"other/eu.yaml": w.tokenCluster("eu", ""), "other/us.yaml": w.tokenCluster("us", "")})
	twoClusters(w, nil)
	for _, row := range []struct {
		name, ready, code, message string
		change                     func(*v1alpha1.AuditSyncSpec)
	}{
		{"second", "Refused", "audit-config-owned", "belongs to the AuditSync production", func(*v1alpha1.AuditSyncSpec) {}},
		{"third", "Refused", "audit-config-missing", "there is no MondooAuditConfig mondoo-clent", func(s *v1alpha1.AuditSyncSpec) {
			s.Path, s.AuditConfig = "./other", "mondoo-clent"
		}},
		{"fourth", "Suspended", "", "spec.suspend is true", func(s *v1alpha1.AuditSyncSpec) { s.Suspend = true }},
	} {
		t.Run(row.name, func(t *testing.T) {
			sync := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: row.name}, Spec: *w.sync().Spec.DeepCopy()}
			row.change(&sync.Spec)
			must(t, w.admin.Create(t.Context(), sync))
			w.eventually("an answer", func() bool {
				must(t, w.admin.Get(t.Context(), client.ObjectKeyFromObject(sync), sync))
				return condition(sync.Status, v1alpha1.ConditionReady).Reason == row.ready
			})
			s := sync.Status
			if ready := condition(s, v1alpha1.ConditionReady); ready.Status == metav1.ConditionTrue || !strings.Contains(ready.Message, row.message) {
				t.Errorf("Ready %+v", ready)
			}
			for _, kind := range []string{v1alpha1.ConditionInSync, v1alpha1.ConditionScanned, v1alpha1.ConditionApplied} {
				if c := condition(s, kind); c.Status == metav1.ConditionTrue {
					t.Errorf("%s %+v", kind, c)
				}
			}
			if s.LastAppliedRevision != "" || s.Clusters != nil && s.Clusters.Applied != 0 {
				t.Errorf("applied %q %+v", s.LastAppliedRevision, s.Clusters)
			}
			if row.code != "" && (len(s.Problems) == 0 || s.Problems[0].Code != row.code) {
				t.Errorf("problems %+v", s.Problems)
			}
		})
	}
}
