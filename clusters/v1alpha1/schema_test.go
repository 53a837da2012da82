package v1alpha1_test

import (
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestSchemaAgrees compares the editor's schema with the Go checks: both accept and refuse the same files, except for the
// samples marked onlyGo. A schema has no warnings.
func TestSchemaAgrees(t *testing.T) {
	schema := compile(t)
	for reason, text := range good {
		if err := schema.Validate(jsonValue(t, text)); err != nil {
			t.Errorf("%s: the schema refuses what Go takes: %v", reason, err)
		}
	}
	for reason, sample := range bad {
		err := schema.Validate(jsonValue(t, sample.text))
		_, problems := check(t, sample.text)
		switch refused := errorsIn(problems) > 0; {
		case refused && !sample.onlyGo && err == nil:
			t.Errorf("%s: the schema takes what Go refuses", reason)
		case !refused && err != nil:
			t.Errorf("%s: the schema refuses what Go takes with a warning: %v", reason, err)
		case refused && sample.onlyGo && err != nil:
			t.Errorf("%s: the schema refuses it too; the sample says it can't", reason)
		}
	}
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("../../config/schema/externalcluster.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("externalcluster.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("externalcluster.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func jsonValue(t *testing.T, text string) any {
	t.Helper()
	return any(object(t, text))
}
