package mondoo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Limits of the operator and Kubernetes for an audit config's values, as observed with the operator v13.3.0.
const (
	// maxLabel is the longest label value. The operator labels its objects with the audit config's name.
	maxLabel = 63
	// maxAnnotation is the longest key and the longest value of spec.annotations, in characters.
	maxAnnotation = 256
)

// values finds values of the right type that the operator can't use.
func (in *inspection) values(auditConfig map[string]any) {
	switch name := TextAt(auditConfig, "metadata", "name"); {
	case len(name) > maxLabel:
		in.problem([]string{"metadata", "name"}, fmt.Sprintf("is longer than %d characters, the limit of the operator's label %s", maxLabel, LabelAuditConfig), "shorten it")
	case name != "" && len(validation.IsDNS1123Subdomain(name)) > 0:
		in.problem([]string{"metadata", "name"}, "is not a name that Kubernetes accepts", "use lower-case letters, digits, dashes and dots, with a letter or digit at both ends and beside each dot")
	}
	in.annotations(At(auditConfig, []string{"spec", "annotations"}))
	in.registryIdentity(At(auditConfig, []string{"spec", "containers", "workloadIdentity"}))
	for _, part := range []string{"scanner", "nodes", "containers"} {
		in.resources(auditConfig, []string{"spec", part, "resources"})
	}
}

func (in *inspection) problem(field []string, what, fix string) {
	in.errors = append(in.errors, FieldError{Field: field, Problem: what, Fix: fix})
}

// annotations checks spec.annotations, the annotations of assets. With an invalid one, the operator ignores the whole
// audit config.
func (in *inspection) annotations(v any) {
	annotations, ok := v.(map[string]any)
	if !ok {
		return
	}
	const skips = ", and the operator ignores the whole audit config"
	long := func(text string) bool { return utf8.RuneCountInString(text) > maxAnnotation }
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		field := []string{"spec", "annotations", key}
		value, isText := annotations[key].(string)
		switch {
		case key == "" || strings.Contains(key, "="):
			in.problem(field, "has a key that is empty or contains ="+skips, "give it another key")
		case long(key):
			in.problem(field, fmt.Sprintf("has a key of more than %d characters", maxAnnotation)+skips, "shorten it")
		case isText && value == "":
			in.problem(field, "is empty"+skips, "set a value, or remove it")
		case isText && long(value):
			in.problem(field, fmt.Sprintf("is longer than %d characters", maxAnnotation)+skips, "shorten it")
		}
	}
}

// registryIdentity checks the workload identity for registries, which needs its provider's block.
func (in *inspection) registryIdentity(v any) {
	identity, ok := v.(map[string]any)
	if !ok || empty(identity) {
		return
	}
	field := []string{"spec", "containers", "workloadIdentity"}
	provider, isText := identity["provider"].(string)
	switch {
	case !isText || !slices.Contains([]string{"gke", "eks", "aks"}, provider):
		in.problem(at(field, "provider"), "is not gke, eks or aks", "use one of them")
	case empty(identity[provider]):
		in.problem(at(field, provider), "is missing, and the operator panics at the first cluster with a workload identity that scans images", "add the block "+provider)
	}
}

// resources checks a container's resources. The API server refuses Pods that request more than their limit.
func (in *inspection) resources(auditConfig map[string]any, field []string) {
	requests, ok := At(auditConfig, at(field, "requests")).(map[string]any)
	if !ok {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		request, ok := amount(requests[name])
		limit, limited := amount(At(auditConfig, append(slices.Clip(field), "limits", name)))
		if ok && limited && request.Cmp(limit) > 0 {
			in.problem(append(slices.Clip(field), "requests", name), "is more than the limit, and Kubernetes refuses the Pod", "request no more than the limit")
		}
	}
}

// amount parses a quantity of a resource.
func amount(v any) (resource.Quantity, bool) {
	text, isText := v.(string)
	if number(v) {
		text = fmt.Sprint(v)
	} else if !isText {
		return resource.Quantity{}, false
	}
	q, err := resource.ParseQuantity(text)
	return q, err == nil
}

// SameValue reports whether two values of a field of an audit config are the same to the operator, which may write them
// in another form: 90m as 1h30m0s, 1000m as 1. The field is a path from the object's root.
func SameValue(field []string, a, b any) bool {
	if len(field) == 0 || field[0] != "spec" {
		return false
	}
	n := specFields
	for _, part := range field[1:] {
		part, _, _ = strings.Cut(part, "[")
		below, known := n.fields[part]
		if !known {
			below = node{kind: n.rest} // the loop continues for names with dots, and finds nothing
		}
		if n.fields != nil {
			n = below
		}
	}
	switch n.kind {
	case duration:
		return sameDuration(a, b)
	case quantity:
		x, ok := amount(a)
		y, both := amount(b)
		return ok && both && x.Cmp(y) == 0
	}
	return false
}

func sameDuration(a, b any) bool {
	x, ok := a.(string)
	y, both := b.(string)
	d, err := time.ParseDuration(x)
	e, errB := time.ParseDuration(y)
	return ok && both && err == nil && errB == nil && d == e
}
