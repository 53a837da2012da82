package kustomize

import (
	"log"
	"testing"
)

// TestExit: no input makes kustomize end the process.
func TestExit(t *testing.T) {
	defer log.SetOutput(log.Writer())
	log.SetOutput(Log)
	log.Print("this isn't fatal")
	r := repository{"fleet/kustomization.yaml": "resources: [s.yaml]\nsecretGenerator: [{name: s, behavior: merge, literals: [a=b]}]\n",
		"fleet/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {'': eA==}\n"}
	result := r.build(t, "fleet", nil, unitSize)
	if len(result.Findings) != 1 || result.Findings[0].Message != "kustomize can't build it: "+errPanic.Error() {
		t.Errorf("%v", result.Findings)
	}
}
