package controllers_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// patchSecret changes a live Secret as somebody whose client calls itself so.
func (w *world) patchSecret(name, manager, patch string) {
	w.Helper()
	must(w.T, w.admin.Patch(w.Context(), w.secret(name), client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner(manager)))
}

// TestDriftNamesItsAuthors changes live objects under several names, and expects to read in the condition, and once drift is
// corrected in the event, who has changed which field and when.
func TestDriftNamesItsAuthors(t *testing.T) {
	w := newWorld(t)
	twoClusters(w, func(s *v1alpha1.AuditSync) { s.Spec.Drift = v1alpha1.DriftReport })
	w.replaceEntries(func(list []map[string]any) []map[string]any {
		list[0]["schedule"] = "1 1 1 1 *"
		return list
	})
	must(t, w.admin.Patch(t.Context(), w.auditConfig("mondoo-client"),
		client.RawPatch(types.MergePatchType, []byte(`{"spec":{"kubernetesResources":{"schedule":"59 23 * * *"}}}`)), client.FieldOwner("helm")))
	w.patchSecret(tokenSecret("eu"), "kubectl-patch", `{"stringData":{"token":"CANARY-drift"}}`)
	must(t, w.admin.Delete(t.Context(), w.secret(tokenSecret("us"))))

	const at = ` at 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`
	want := regexp.MustCompile(`^drift detected, not corrected \(drift: Report\): ` +
		`MondooAuditConfig mondoo-client: spec\.kubernetesResources\.schedule changed by helm` + at +
		`; Secret mondoo-client-eu-service-account-[0-9a-f]{16}: data\.token changed by kubectl-patch` + at +
		`; Secret mondoo-client-us-service-account-[0-9a-f]{16}: deleted` +
		`; mondoo-client: cluster eu: schedule changed by kubectl-edit` + at + `$`)
	reported := func(s *v1alpha1.AuditSync) bool {
		return want.MatchString(condition(s.Status, v1alpha1.ConditionInSync).Message)
	}
	before := condition(w.until("all of the drift", reported).Status, v1alpha1.ConditionInSync)
	// Looked at again, and seen by a controller that knows nothing of before, it is the same condition.
	w.request()
	w.stopController()
	w.startController(nil)
	if after := condition(w.request().Status, v1alpha1.ConditionInSync); after != before {
		t.Errorf("the condition has changed, and the drift has not:\n%+v\n%+v", before, after)
	}

	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Drift = v1alpha1.DriftCorrect })
	w.until("in sync", func(s *v1alpha1.AuditSync) bool {
		return condition(s.Status, v1alpha1.ConditionInSync).Status == metav1.ConditionTrue
	})
	corrected := regexp.MustCompile(strings.Replace(want.String(), `drift detected, not corrected \(drift: Report\)`, "drift corrected", 1))
	w.eventually("the event", func() bool {
		var events eventsv1.EventList
		must(t, w.admin.List(t.Context(), &events, client.InNamespace(w.namespace)))
		return slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool { return e.Reason == "DriftCorrected" && corrected.MatchString(e.Note) })
	})
}

// TestAuthorsAreOnlyNames lets somebody choose names for the field manager that would change what stands around them.
func TestAuthorsAreOnlyNames(t *testing.T) {
	w := newWorld(t)
	twoClusters(w, func(s *v1alpha1.AuditSync) { s.Spec.Drift = v1alpha1.DriftReport })
	for _, test := range []struct{ manager, want string }{
		{"me; cluster us: in sync", `changed by "me; cluster us: in sync" at 20`},
		{gitPassword, `changed by "***"`}, // whatever the redactor knows is masked, wherever it comes up
		{strings.Repeat("long", 32), `changed by "` + strings.Repeat("long", 16) + `…" at 20`},
	} {
		w.patchSecret(tokenSecret("eu"), test.manager, fmt.Sprintf(`{"stringData":{"token":"CANARY-%d"}}`, len(test.manager)))
		w.until(test.want, func(s *v1alpha1.AuditSync) bool {
			message := condition(s.Status, v1alpha1.ConditionInSync).Message
			return strings.Contains(message, test.want) && !strings.Contains(message, gitPassword)
		})
	}
}
