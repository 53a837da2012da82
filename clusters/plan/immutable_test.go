package plan_test

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
)

// TestImmutableSecrets: Kubernetes refuses a change of an immutable Secret at every sync, and whatever comes after it would wait. So the
// change is not tried, and told of.
func TestImmutableSecrets(t *testing.T) {
	manifest := func(version string, immutable bool) *desired {
		d := newFleet().existing(config).secret("s", version)
		d.Secrets[0].Immutable = immutable
		return d
	}
	live := func(version string, immutable bool) plan.LiveSecret {
		return plan.LiveSecret{Type: "Opaque", Immutable: immutable, Data: map[string][]byte{"a": []byte(version)},
			Labels: map[string]string{fleet.LabelSync: "prod"}, Annotations: map[string]string{fleet.AnnotationOrigin: "fleet/s.yaml@c1", plan.AdoptAnnotation: "prod"}}
	}
	for _, row := range []struct {
		reason    string
		live      *plan.LiveSecret
		next      *desired
		write     bool
		immutable bool
		severity  finding.Severity // of secret-immutable; none where there is none
	}{
		{reason: "new", next: manifest("1", true), write: true, immutable: true},
		{reason: "becomes immutable", live: new(live("1", false)), next: manifest("1", true), write: true, immutable: true},
		{reason: "as it is", live: new(live("1", true)), next: manifest("1", true)},
		{reason: "another content", live: new(live("1", true)), next: manifest("2", true), severity: finding.Error},
		{reason: "another content, and no longer immutable", live: new(live("1", true)), next: manifest("2", false), severity: finding.Error},
		{reason: "no longer immutable", live: new(live("1", true)), next: manifest("1", false), severity: finding.Warning},
		{reason: "another content while it still may change", live: new(live("1", false)), next: manifest("2", true), write: true, immutable: true},
	} {
		w := newWorld(config)
		if row.live != nil {
			w.Secrets["s"] = *row.live
		}
		p := plan.Compute(&row.next.Opened, w.Live, plan.Policy{CorrectDrift: true})
		if got := len(p.Secrets) > 0; got != row.write || got && p.Secrets[0].Immutable != row.immutable {
			t.Errorf("%s: writes %+v", row.reason, p.Secrets)
		}
		var severity finding.Severity
		for _, f := range p.Findings {
			if f.Code == plan.CodeImmutable {
				severity = f.Severity
				if err := f.Check(); err != nil || f.Fix == "" || strings.Contains(f.String(), "MASK") {
					t.Errorf("%s: %v: %s", row.reason, err, f)
				}
			}
		}
		if severity != row.severity {
			t.Errorf("%s: severity %v, want %v: %v", row.reason, severity, row.severity, p.Findings)
		}
	}
}

// TestImmutableSecretHoldsItsClusters: an entry that names a Secret which can't change stays as it was, with the Secret.
func TestImmutableSecretHoldsItsClusters(t *testing.T) {
	d := newFleet().existing(config).cluster("1", "e").secret("s", "2").names("e", "s")
	w := newWorld(config)
	w.Secrets["s"] = plan.LiveSecret{Type: "Opaque", Immutable: true, Data: map[string][]byte{"a": []byte("1")},
		Labels: map[string]string{fleet.LabelSync: "prod"}, Annotations: map[string]string{plan.AdoptAnnotation: "prod"}}
	for _, s := range plan.Compute(&d.Opened, w.Live, plan.Policy{CorrectDrift: true}).Steps {
		if s.Kind == plan.KindCluster {
			t.Errorf("the cluster changes: %+v", s)
		}
	}
}
