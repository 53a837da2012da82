package plan_test

import (
	"strings"
	"testing"
)

// TestApprovalIsForOneRevision: an approval that was begun at a revision approves nothing at another, however much alike the two are.
func TestApprovalIsForOneRevision(t *testing.T) {
	spec := map[string]any{"spaceId": "x"}
	six := func() *desired { return newFleet().inGit(config, spec).cluster("1", "a", "b", "c", "d", "e", "f") }
	four := func() *desired { return newFleet().inGit(config, spec).cluster("1", "a", "b", "c", "d") }
	for _, row := range []struct{ approved, revision, names string }{
		{"abc", "abc", "a b c d"},
		{"abc-1", "abc", "a b c d e f"},
		{"abc", "abc-1", "a b c d e f"},
		{"abc1", "abc", "a b c d e f"},
		{"abc", "ab", "a b c d e f"},
		{"-", "", "a b c d e f"},
	} {
		w := newWorld()
		w.sync(t, six(), at("before"))
		pol := at(row.approved)
		pol.Approved = w.compute(four(), pol).Approval
		w.apply(t, w.compute(four(), pol), 1) // begun: the inventory knows what was approved
		if w.Inventories[0].Approved == nil {
			t.Fatal("the approval is not noted")
		}
		pol.Revision = row.revision
		given := pol.Approved
		for n := len(row.approved) + 1; n < len(given); n++ { // less of what was begun approves nothing
			pol.Approved = given[:n]
			w.apply(t, w.compute(four(), pol), all)
			want(t, pol.Approved, w.names(t, config), "a b c d e f")
		}
		pol.Approved = given
		w.apply(t, w.compute(four(), pol), all)
		want(t, row.approved+" at "+row.revision, w.names(t, config), row.names)
	}
}

// TestApprovalThatApprovesNothing is answered, and one that fits, or that nothing waits for, is not.
func TestApprovalThatApprovesNothing(t *testing.T) {
	spec := map[string]any{"spaceId": "x"}
	six := func() *desired { return newFleet().inGit(config, spec).cluster("1", "a", "b", "c", "d", "e", "f") }
	four := func() *desired { return newFleet().inGit(config, spec).cluster("1", "a", "b", "c", "d") }
	w := newWorld()
	w.sync(t, six(), at("rev1"))
	right := w.compute(four(), at("rev2")).Approval
	for approved, say := range map[string]string{
		"":                       "",
		right:                    "",
		"rev1" + right[4:]:       "it is for the commit rev1, and the current one is rev2",
		"rev2-0123456789abcdef":  "it is for other removals",
		"rev2":                   "COMMIT-DIGEST",
		"yes":                    "COMMIT-DIGEST",
		right + "0":              "COMMIT-DIGEST",
		strings.Repeat("x", 1e5): "COMMIT-DIGEST",
	} {
		pol := at("rev2")
		pol.Approved = approved
		p := w.compute(four(), pol)
		if (p.Mismatch != "") != (say != "") || !strings.Contains(p.Mismatch, say) || len(p.Mismatch) > 300 {
			t.Errorf("%.50q: %q, want %q", approved, p.Mismatch, say)
		}
		if p.Held != 0 && p.Approval != right {
			t.Errorf("%.50q: %q would approve it", approved, p.Approval)
		}
		if p := w.compute(six(), pol); p.Mismatch != "" {
			t.Errorf("%.50q: a mismatch although nothing waits", approved)
		}
	}
}
