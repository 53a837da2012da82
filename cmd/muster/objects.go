package main

import (
	"encoding/base64"

	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/seal"
)

// values decide how possibly secret content is shown.
type values struct {
	// data shows a value of a Secret below "data".
	data func([]byte) string
	// text shows any other string of an object.
	text func(string) string
}

// valuesFor shows everything, or masks the values of Secrets and whatever else was encrypted. A mask isn't base64, so
// objects that contain one can't be applied by mistake.
func (s *shell) valuesFor(show bool) values {
	if show {
		return values{data: base64.StdEncoding.EncodeToString, text: func(text string) string { return text }}
	}
	return values{
		data: func([]byte) string { return redact.Mask },
		text: func(text string) string {
			if seal.HasHandle(text) {
				return redact.Mask
			}
			return s.redactor.String(text)
		},
	}
}

// objects are the objects that a plan applies, in its order.
func objects(p *plan.Plan, v values) []map[string]any {
	var list []map[string]any
	for _, secret := range p.Secrets {
		list = append(list, v.secret(p.Namespace, secret))
	}
	for _, config := range p.Configs {
		list = append(list, v.mapping(config.Object))
	}
	return list
}

func (v values) secret(namespace string, s plan.SecretWrite) map[string]any {
	metadata := map[string]any{"name": s.Name, "namespace": namespace}
	for field, texts := range map[string]map[string]string{"labels": s.Labels, "annotations": s.Annotations} {
		if len(texts) > 0 {
			m := make(map[string]any, len(texts))
			for key, text := range texts {
				m[key] = text
			}
			metadata[field] = v.shown(m)
		}
	}
	data := make(map[string]any, len(s.Data))
	for key, value := range s.Data {
		data[key] = v.data([]byte(value))
	}
	object := map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": s.Type, "data": data}
	if s.Immutable {
		object["immutable"] = true
	}
	return object
}

// mapping is shown for an object.
func (v values) mapping(object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for key, item := range object {
		out[key] = v.shown(item)
	}
	return out
}

// shown copies a value of an object, and replaces each string with what may be shown of it.
func (v values) shown(value any) any {
	switch value := value.(type) {
	case string:
		return v.text(value)
	case map[string]any:
		return v.mapping(value)
	case []map[string]any:
		out := make([]any, len(value))
		for i, item := range value {
			out[i] = v.shown(item)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			out[i] = v.shown(item)
		}
		return out
	default:
		return value
	}
}
