package encrypt_test

import (
	"encoding/hex"
	"regexp"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/unseal"
)

// flat is a file without its indentation, which is that of .sops.yaml.
func flat(text string) string { return regexp.MustCompile(`(?m)^ +`).ReplaceAllString(text, "") }

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// open opens a file as the pipeline does.
func open(t *testing.T, sealed []byte, ring *keys.Ring) string {
	t.Helper()
	tree, err := load.Load(t.Context(), fstest.MapFS{"eu.yaml": {Data: sealed}}, ".", load.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	opened, failure := unseal.NewOpener(ring).Open(t.Context(), tree.Files["eu.yaml"])
	if failure != nil {
		t.Fatal(failure)
	}
	text, err := opened.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
