package controllers

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/redact"
)

// TestMaskLongTexts: of a text as long as a file, the beginning is kept, without secrets, whole or not.
func TestMaskLongTexts(t *testing.T) {
	const secret = "a-secret-of-many-characters"
	redactor := &redact.Redactor{}
	redactor.Add(secret)
	straddling := strings.Repeat("x", maxShown-10) + secret
	findings := []finding.Finding{{Message: secret + strings.Repeat("x", 1<<20), Path: strings.Repeat("é", 1<<20), Fix: straddling, Cluster: "a " + secret}}
	mask(redactor, findings)
	f := findings[0]
	for name, text := range map[string]string{"message": f.Message, "path": f.Path, "fix": f.Fix, "cluster": f.Cluster} {
		if strings.Contains(text, secret[:8]) || len(text) > maxShown {
			t.Errorf("%s: %d bytes, with the secret: %t", name, len(text), strings.Contains(text, secret[:8]))
		}
	}
	if !strings.HasPrefix(f.Message, redact.Mask) || f.Cluster != "a "+redact.Mask {
		t.Errorf("%.20q, %q", f.Message, f.Cluster)
	}
}
