package controllers

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-gitops/muster/clusters/redact"
)

// TestAdvisories: an API server or an admission webhook that repeats what it refuses tells no secret (CVE-2025-23216).
func TestAdvisories(t *testing.T) {
	const canary = "CANARY-of-a-token"
	st := &state{redactor: &redact.Redactor{}}
	st.redactor.Add(canary)
	kind := schema.GroupKind{Kind: "Secret"}
	for name, err := range map[string]error{
		"invalid":   apierrors.NewInvalid(kind, "eu", field.ErrorList{field.Invalid(field.NewPath("data"), map[string]string{"token": canary}, "is refused")}),
		"forbidden": apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "eu", &ApplyError{Kind: "Secret", Name: "eu", Err: apierrors.NewBadRequest("token: " + canary)}),
		"internal":  apierrors.NewInternalError(apierrors.NewBadRequest(`admission webhook "x" denied {"token":"` + canary + `"}`)),
	} {
		failure := classifyApply(&ApplyError{Kind: "Secret", Name: "eu", Err: err}, st)
		if strings.Contains(failure.Message, "CANARY") || !strings.Contains(failure.Message, redact.Mask) {
			t.Errorf("%s: %s", name, failure.Message)
		}
	}
}
