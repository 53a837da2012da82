package plan_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// supplied has the only Secret of a fleet come from Vault.
func (d *desired) supplied(value string) *desired {
	s := &d.Secrets[0]
	s.From, s.Supplied = &fleet.Source{Vault: v1alpha1.VaultSecret{Address: "https://v", Mount: "kv", Path: "eu"}, Field: "spec.kubeconfigFrom.vault"}, true
	s.Data = map[string]string{}
	if value != "" {
		s.Data["kubeconfig"], s.Version = value, value
	}
	return d
}

// TestSupplied: a value that changes where it comes from is applied whatever the policy for drift is, and is no correction. What
// others have written is drift.
func TestSupplied(t *testing.T) {
	eu := func(value string) *desired { return newFleet().existing(config).cluster("v1", "eu").supplied(value) }
	name := made(config, "eu")
	byHand := []metav1.ManagedFieldsEntry{{Manager: "kubectl-edit", Operation: "Update", FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:kubeconfig":{}}}`)}}
	const changed = " (its value has changed in Vault https://v, kv/eu)"
	for _, row := range []struct {
		reason  string
		live    func(*plan.LiveSecret)
		value   string
		steps   string // in mode Correct
		written string // in mode Report: the value; empty for no write
	}{
		{"nothing has changed", nil, "a", "", ""},
		{"rotated", nil, "b", "change Secret " + name + " data.kubeconfig" + changed, "b"},
		{"changed by hand", func(s *plan.LiveSecret) { s.Data["kubeconfig"], s.ManagedFields = []byte("x"), byHand }, "a", "change Secret " + name + " drift data.kubeconfig", ""},
		{"rotated, and changed by hand", func(s *plan.LiveSecret) { s.Data["kubeconfig"], s.ManagedFields = []byte("x"), byHand }, "b", "change Secret " + name + " drift data.kubeconfig", ""},
		{"removed by hand", func(s *plan.LiveSecret) { delete(s.Data, "kubeconfig") }, "a", "change Secret " + name + " drift data.kubeconfig", ""},
		{"rotated, with another annotation by hand", func(s *plan.LiveSecret) { s.Annotations[fleet.AnnotationMadeFor] = "x" }, "b",
			"change Secret " + name + " data.kubeconfig" + changed + "\nchange Secret " + name + " drift metadata.annotations.muster.dev/made-for", "b"},
		{"unknown", nil, "", "", ""},
		{"unknown, and changed by hand", func(s *plan.LiveSecret) { s.Data["kubeconfig"], s.ManagedFields = []byte("x"), byHand }, "", "", ""},
	} {
		w := newWorld(config)
		w.sync(t, eu("a"), policy())
		if row.live != nil {
			live := w.Secrets[name]
			row.live(&live)
			w.Secrets[name] = live
		}
		report := policy()
		report.CorrectDrift = false
		p := w.compute(eu(row.value), report)
		want(t, row.reason, describe(p), row.steps)
		written := ""
		for _, s := range p.Secrets {
			written = s.Data["kubeconfig"]
			if s.Annotations[fleet.AnnotationMadeFor] != w.Secrets[name].Annotations[fleet.AnnotationMadeFor] {
				t.Errorf("%s: drift is corrected in mode Report", row.reason)
			}
		}
		want(t, row.reason+", written in mode Report", written, row.written)
		if row.value == "" {
			continue
		}
		p = w.sync(t, eu(row.value), policy())
		want(t, row.reason, describe(p), row.steps)
		if len(p.Secrets) > 1 {
			t.Errorf("%s: %d writes", row.reason, len(p.Secrets))
		}
	}
}

// TestUnknown: a Secret whose value isn't known is planned, and not written.
func TestUnknown(t *testing.T) {
	w := newWorld(config)
	p := w.compute(newFleet().existing(config).cluster("v1", "eu").supplied(""), policy())
	want(t, "steps", describe(p), "add Secret "+made(config, "eu")+" (its value comes from Vault https://v, kv/eu, and isn't known here)\nadd cluster eu")
	if len(p.Secrets) > 0 {
		t.Errorf("written: %+v", p.Secrets)
	}
}
