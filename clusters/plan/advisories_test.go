package plan_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
)

// TestAdvisories repeats the attacks of advisories on other controllers. SECURITY.md lists them.
func TestAdvisories(t *testing.T) {
	t.Run("CVE-2026-42880 and CVE-2026-45737", annotationsOfSecrets)
	t.Run("CVE-2026-40886", malformedAnnotations)
}

// annotationsOfSecrets: what kubectl and people leave in the annotations of a Secret is in no plan that changes or removes it.
func annotationsOfSecrets(t *testing.T) {
	const canary = "CANARY"
	w := newWorld(config)
	w.sync(t, newFleet().existing(config).cluster("1", "a").secret("creds", "1"), at("1"))
	for name, live := range w.Secrets {
		live.Annotations = maps.Clone(live.Annotations)
		live.Annotations["kubectl.kubernetes.io/last-applied-configuration"] = `{"stringData":{"password":"` + canary + `"}}`
		live.Annotations["example.com/password"] = canary
		live.Data = map[string][]byte{"a": []byte(canary), canary: []byte("x")}
		w.Secrets[name] = live
	}
	for name, d := range map[string]*desired{
		"changed": newFleet().existing(config).cluster("2", "a").secret("creds", "2"),
		"removed": newFleet().existing(config).cluster("1", "b"),
	} {
		p := w.compute(d, at("2"))
		if p.Empty() {
			t.Errorf("%s: the plan is empty", name)
		}
		for _, step := range p.Steps {
			for _, field := range step.Fields {
				if strings.Contains(field.From+field.To, canary) || strings.Contains(field.Path, "password") || strings.Contains(field.Path, "last-applied") {
					t.Errorf("%s: %s %s: %+v", name, step.Kind, step.Name, field)
				}
			}
		}
		if text := fmt.Sprint(p.Findings); strings.Contains(text, canary) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// malformedAnnotations: whoever may write one object of the namespace must not be able to stop the controller.
func malformedAnnotations(t *testing.T) {
	d := func() *desired { return newFleet().existing(config).cluster("1", "a").secret("creds", "1") }
	for _, value := range []string{"", "@", "@@", "/", "//", "\x00", "\xff\xfe", "a/", "/a", "-", "1-", "null", "{", strings.Repeat("/", 1<<16)} {
		for _, key := range []string{fleet.AnnotationOrigin, fleet.AnnotationMadeFor, plan.AdoptAnnotation} {
			w := newWorld(config)
			w.sync(t, d(), at("1"))
			for name, live := range w.Secrets {
				live.Annotations = maps.Clone(live.Annotations)
				live.Annotations[key] = value
				w.Secrets[name] = live
			}
			p := at("1")
			p.Approved = value
			w.apply(t, w.compute(d(), p), all)
			if names := w.names(t, config); names != "a" {
				t.Errorf("%s: %.20q leaves the clusters %q", key, value, names)
			}
		}
	}
}
