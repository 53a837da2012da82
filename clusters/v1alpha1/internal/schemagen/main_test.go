package main

import (
	"bytes"
	"os"
	"testing"
)

// TestCommittedSchemaIsCurrent fails when the types or their comments changed without go generate.
func TestCommittedSchemaIsCurrent(t *testing.T) {
	t.Chdir("../..")
	want, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../config/schema/externalcluster.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("config/schema/externalcluster.json is stale: run go generate ./clusters/v1alpha1")
	}
}

func TestRunWantsOneFile(t *testing.T) {
	for _, args := range [][]string{nil, {"a", "b"}} {
		if run(args) == nil {
			t.Errorf("run(%q) succeeded", args)
		}
	}
}
