package judge_test

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/judge"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestCandidates: only what logs in otherwise after the merge is to be checked, and only with keys.
func TestCandidates(t *testing.T) {
	key := sealtest.NewKey(t)
	base := map[string]string{"f/config.yaml": config, "f/eu.yaml": sealed(t, key, "eu", "CANARY-1"), "f/us.yaml": plain("us", "5 1 * * *")}
	for _, row := range []struct {
		reason string
		merged map[string]string
		trust  review.Trust
		want   string
	}{
		{"a new token", with(base, "f/eu.yaml", sealed(t, key, "eu", "CANARY-2")), review.Full, "eu https://eu.example.com CANARY-2"},
		{"a new cluster", with(base, "f/asia.yaml", sealed(t, key, "asia", "CANARY-3")), review.Full, "asia https://asia.example.com CANARY-3"},
		{"another schedule", with(base, "f/us.yaml", plain("us", "6 1 * * *")), review.Full, ""},
		{"one that can't be checked from here", with(base, "f/asia.yaml", plain("asia", "6 1 * * *")), review.Full, ""},
		{"a removal", with(base, "f/eu.yaml", ""), review.Full, ""},
		{"without keys", with(base, "f/eu.yaml", sealed(t, key, "eu", "CANARY-2")), review.Keyless, ""},
	} {
		opener := &counting{Opener: key.Opener(t)}
		r, err := new(judge.Judge).Review(t.Context(), request(base, row.merged, row.trust, opener, &redact.Redactor{}))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range r.Candidates(now) {
			got = append(got, c.Cluster+" "+c.Target.Server+" "+c.Target.Token)
			if c.Path != "f/"+c.Cluster+".yaml" || c.AuditConfig != "mondoo-client" {
				t.Errorf("%s: %+v", row.reason, c.Path)
			}
		}
		if text := strings.Join(got, ", "); text != row.want {
			t.Errorf("%s: %q, want %q", row.reason, text, row.want)
		}
	}
	var none *judge.Result
	if none.Candidates(now) != nil {
		t.Error("candidates of a pull request that changes nothing here")
	}
}

// TestChecked: a credential that doesn't work is a warning or, if it must work, keeps the pull request from being ready.
func TestChecked(t *testing.T) {
	failed := func(cause preflight.Cause) preflight.Result {
		return preflight.Result{Checks: []preflight.Check{{Name: preflight.Login, State: preflight.Failed, Cause: cause, Message: "it fails", Fix: "mend it"}}}
	}
	for _, row := range []struct {
		reason   string
		found    preflight.Result
		required bool
		ok       bool
		text     string
		leftOut  int
	}{
		{"it works", preflight.Result{}, true, true, "adds 1 cluster (asia)", 0},
		{"it can't be checked from here", preflight.Result{NotChecked: "from here"}, true, true, "adds 1 cluster (asia)", 0},
		{"it must work", failed(preflight.TokenExpired), true, false, "1 new error: f/asia.yaml:1: the credential fails the preflight: login: it fails (token-expired); otherwise adds 1 cluster (asia)", 1},
		{"it should work", failed(preflight.TokenExpired), false, true, "adds 1 cluster (asia); 1 warning", 0},
		{"its rights are partial", failed(preflight.RightsPartial), true, true, "adds 1 cluster (asia); 1 warning", 0},
	} {
		r := &judge.Result{Review: &review.Review{Changes: []review.Change{{Action: "add", Kind: "cluster", Name: "asia"}}}}
		r.Checked(judge.Candidate{Cluster: "asia", Path: "f/asia.yaml"}, row.found, row.required)
		if ok, text := r.Status(); ok != row.ok || text != row.text || len(r.LeftOut) != row.leftOut {
			t.Errorf("%s: %t %q, left out %v", row.reason, ok, text, r.LeftOut)
		}
		for _, f := range r.New {
			if err := f.Check(); err != nil {
				t.Errorf("%s: %v", row.reason, err)
			}
		}
	}
}
