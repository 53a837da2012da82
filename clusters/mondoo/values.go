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

// What the operator and Kubernetes allow of an audit config's values, as seen with the operator v13.3.0.
const (
	// maxLabel is the longest value of a label; the operator labels what it makes with the audit config's name.
	maxLabel = 63
	// maxAnnotation is the longest key and the longest value of spec.annotations, in characters.
	maxAnnotation = 256
)

// values finds values of the right type with which the operator doesn't work.
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
	in.bad = append(in.bad, FieldError{Field: field, Problem: what, Fix: fix})
}

// annotations are those of the assets. With one that is bad, the operator passes over the whole audit config.
func (in *inspection) annotations(v any) {
	annotations, ok := v.(map[string]any)
	if !ok {
		return
	}
	const skips = ", and the operator passes over the whole audit config"
	long := func(text string) bool { return utf8.RuneCountInString(text) > maxAnnotation }
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		field := []string{"spec", "annotations", key}
		value, isText := annotations[key].(string)
		switch {
		case key == "" || strings.Contains(key, "="):
			in.problem(field, "has a key that is empty or has a ="+skips, "give it another key")
		case long(key):
			in.problem(field, fmt.Sprintf("has a key of more than %d characters", maxAnnotation)+skips, "shorten it")
		case isText && value == "":
			in.problem(field, "is empty"+skips, "give it a value, or take it out")
		case isText && long(value):
			in.problem(field, fmt.Sprintf("is longer than %d characters", maxAnnotation)+skips, "shorten it")
		}
	}
}

// registryIdentity is the workload identity for registries, which needs the block of its provider.
func (in *inspection) registryIdentity(v any) {
	identity, ok := v.(map[string]any)
	if !ok || empty(identity) {
		return
	}
	field := []string{"spec", "containers", "workloadIdentity"}
	provider, isText := identity["provider"].(string)
	switch {
	case !isText || !slices.Contains([]string{"gke", "eks", "aks"}, provider):
		in.problem(at(field, "provider"), "is not gke, eks or aks", "write one of them")
	case empty(identity[provider]):
		in.problem(at(field, provider), "is missing, and the operator ends in a panic at the first cluster with a workload identity that scans images", "give the block "+provider)
	}
}

// resources are those of a container. The API server refuses Pods that request more than their limit.
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

// amount reads a quantity of a resource.
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

// SameValue reports whether two values of a field of an audit config are the same to the operator, though it writes them in another
// form: 90m as 1h30m0s, 1000m as 1. The field is a path from the object's root on.
func SameValue(field []string, a, b any) bool {
	if len(field) == 0 || field[0] != "spec" {
		return false
	}
	n := specFields
	for _, part := range field[1:] {
		part, _, _ = strings.Cut(part, "[")
		below, known := n.fields[part]
		if !known {
			below = node{kind: n.rest} // a name with dots goes on, and finds nothing either
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
