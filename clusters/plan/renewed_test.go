package plan_test

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
)

// TestRenewedBesideDrift: a renewed token keeps its proof if drift beside it stays. Without it, the token would be lost at the next start.
func TestRenewedBesideDrift(t *testing.T) {
	const secret = "mondoo-client-a-kubeconfig"
	d, w := newFleet().inGit(config, map[string]any{}).cluster("1", "a"), newWorld()
	i := slices.IndexFunc(d.Secrets, func(s fleet.Secret) bool { return s.Name == secret })
	renewed := func(token string) *plan.Plan {
		d.Secrets[i].Supplied, d.Secrets[i].Data = true, map[string]string{"kubeconfig": token}
		d.Secrets[i].Annotations = map[string]string{fleet.AnnotationRenewed: "proof of " + token}
		return plan.Compute(&d.Opened, w.Live, plan.Policy{Revision: "r", Prune: true})
	}
	w.apply(t, renewed("first"), all)
	delete(w.Secrets[secret].Labels, fleet.LabelSync)
	p := renewed("second")
	if len(p.Drifted()) != 1 || len(p.Secrets) != 1 {
		t.Fatalf("%s", describe(p))
	}
	if got := p.Secrets[0].Annotations[fleet.AnnotationRenewed]; got != "proof of second" || p.Secrets[0].Data["kubeconfig"] != "second" || p.Secrets[0].Labels[fleet.LabelSync] != "" {
		t.Errorf("written with the proof %q: %+v", got, p.Secrets[0])
	}
}

// TestRenewed: a renewed token, with the annotation that proves it, is a change. It is written in full, whatever is done about drift.
// What someone else has written is drift as ever.
func TestRenewed(t *testing.T) {
	const secret, token = "mondoo-client-a-kubeconfig", `{"f:data":{"f:kubeconfig":{}}}`
	for _, test := range []struct {
		reason   string
		managers []string
		supplied bool
		correct  bool
		drift    int
		written  bool
	}{
		{"renewed", []string{manager("muster", "Apply", "01", token)}, true, false, 0, true},
		{"renewed, and drift is corrected", []string{manager("muster", "Apply", "01", token)}, true, true, 0, true},
		{"another manager of other fields", []string{manager("muster", "Apply", "01", token), manager("helm", "Update", "02", `{"f:metadata":{"f:labels":{"f:x":{}}}}`)}, true, false, 0, true},
		{"changed by hand", []string{manager("muster", "Apply", "01", `{}`), manager("kubectl-edit", "Update", "02", token)}, true, false, 1, false},
		{"changed by hand, and drift is corrected", []string{manager("muster", "Apply", "01", `{}`), manager("kubectl-edit", "Update", "02", token)}, true, true, 1, true},
		{"not renewed, so it was changed by hand", []string{manager("muster", "Apply", "01", token)}, false, false, 1, false},
	} {
		d, w := newFleet().inGit(config, map[string]any{}).cluster("1", "a"), newWorld()
		policy := plan.Policy{Revision: "r", Prune: true, CorrectDrift: test.correct}
		w.apply(t, plan.Compute(&d.Opened, w.Live, policy), all)
		live := w.Secrets[secret]
		live.ManagedFields = decode[[]metav1.ManagedFieldsEntry](t, test.managers)
		w.Secrets[secret] = live
		i := slices.IndexFunc(d.Secrets, func(s fleet.Secret) bool { return s.Name == secret })
		d.Secrets[i].Supplied, d.Secrets[i].Data = test.supplied, map[string]string{"kubeconfig": "renewed"}
		d.Secrets[i].Annotations = map[string]string{fleet.AnnotationRenewed: "proof"}

		p := plan.Compute(&d.Opened, w.Live, policy)
		if len(p.Drifted()) != test.drift || len(p.Secrets) == 1 != test.written {
			t.Errorf("%s: %d drifted, %d written\n%s", test.reason, len(p.Drifted()), len(p.Secrets), describe(p))
			continue
		}
		if test.written && (p.Secrets[0].Data["kubeconfig"] != "renewed" || p.Secrets[0].Annotations[fleet.AnnotationRenewed] != "proof") {
			t.Errorf("%s: the token is written without its proof", test.reason)
		}
		if test.drift == 0 && len(p.Before)+len(p.After)+len(p.Configs) > 0 {
			t.Errorf("%s: more than the Secret is written", test.reason)
		}
	}
}
