package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestCommittedSchemaIsCurrent fails when the CRD changed without go generate.
func TestCommittedSchemaIsCurrent(t *testing.T) {
	crd, err := os.ReadFile("../../../../config/crd/muster.dev_auditsyncs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := generate(crd)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../../config/schema/auditsync.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("config/schema/auditsync.json is stale: run make generate")
	}
}

func TestGenerate(t *testing.T) {
	const crd = `
spec:
  group: example.com
  names: {kind: Thing}
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        type: object
        x-kubernetes-validations: [{rule: "true"}]
        properties:
          apiVersion: {type: string}
          metadata: {type: object}
          status: {type: object}
          spec:
            type: object
            properties:
              x-kubernetes-name: {type: string, description: "two\nlines"}
              list: {type: array, x-kubernetes-list-type: set, items: {type: object, x-kubernetes-map-type: atomic, properties: {a: {type: string}}}}
              labels: {type: object, additionalProperties: {type: string}}
`
	text, err := generate([]byte(crd))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		AdditionalProperties any
		Required             []string
		Properties           map[string]struct {
			Const                string
			AdditionalProperties any
			Properties           map[string]struct {
				Description          string
				AdditionalProperties any
				Items                struct{ AdditionalProperties any }
			}
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	spec := got.Properties["spec"]
	if got.Properties["apiVersion"].Const != "example.com/v1" || got.Properties["kind"].Const != "Thing" || len(got.Required) != 4 {
		t.Errorf("the kind isn't fixed: %s", text)
	}
	if got.AdditionalProperties != false || spec.AdditionalProperties != false || spec.Properties["list"].Items.AdditionalProperties != false {
		t.Errorf("unknown fields are accepted: %s", text)
	}
	if got.Properties["metadata"].AdditionalProperties != nil || spec.Properties["labels"].AdditionalProperties == false {
		t.Errorf("fields that Kubernetes accepts are refused: %s", text)
	}
	if _, has := got.Properties["status"]; has {
		t.Error("the status is in the schema")
	}
	if spec.Properties["x-kubernetes-name"].Description != "two lines" || strings.Count(string(text), "x-kubernetes") != 1 {
		t.Errorf("what is Kubernetes' own is in the schema, or a field is lost: %s", text)
	}
}

func TestBadCRD(t *testing.T) {
	for reason, crd := range map[string]string{
		"not YAML": "a: [", "no version": "spec: {}", "two versions": "spec: {versions: [{name: v1}, {name: v2}]}", "no schema": "spec: {versions: [{name: v1}]}",
	} {
		if _, err := generate([]byte(crd)); err == nil {
			t.Errorf("%s: no error", reason)
		}
	}
	if run([]string{"a"}) == nil || run([]string{"missing", "x"}) == nil {
		t.Error("run succeeded without a CRD")
	}
}
