package plan_test

import (
	"testing"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/plan"
)

// TestWhatKustomizeLeavesOut: a cluster that a patch deletes goes as one whose file is deleted, though the file is there, and within the
// same budget.
func TestWhatKustomizeLeavesOut(t *testing.T) {
	spec := map[string]any{"spaceId": "x"}
	for _, row := range []struct {
		reason  string
		present []string
		dropped []string
		names   string
		held    int
	}{
		{"its file holds nothing", []string{"fleet/d.yaml"}, nil, "a b c d", 1},
		{"a patch deletes it", []string{"fleet/d.yaml"}, []string{"fleet/d.yaml"}, "a b c", 0},
		{"patches delete most", []string{"fleet/b.yaml", "fleet/c.yaml", "fleet/d.yaml"}, []string{"fleet/b.yaml", "fleet/c.yaml", "fleet/d.yaml"}, "a b c d", 3},
	} {
		t.Run(row.reason, func(t *testing.T) {
			w := newWorld()
			w.sync(t, newFleet().inGit(config, spec).cluster("1", "a", "b", "c", "d"), at("first"))
			next := newFleet().inGit(config, spec).cluster("1", "a")
			if len(row.present) == 1 {
				next = newFleet().inGit(config, spec).cluster("1", "a", "b", "c")
			}
			next.present(row.present...)
			for _, file := range row.dropped {
				next.Drop(file)
			}
			p := w.sync(t, next, at("second"))
			if got := w.names(t, config); got != row.names || p.Held != row.held {
				t.Errorf("clusters %s, %d held: %s", got, p.Held, describe(p))
			}
		})
	}
}

// TestOtherKindsAreNoClusters: a file of another kind is an error, and no cluster that can't be used.
func TestOtherKindsAreNoClusters(t *testing.T) {
	d := newFleet().cluster("1", "a").present("fleet/cm.yaml", "fleet/meant.yaml", "fleet/broken.yaml", "fleet/both.yaml")
	for _, f := range []finding.Finding{{Code: compile.CodeKind, Path: "fleet/cm.yaml"}, {Code: compile.CodeKind, Path: "fleet/meant.yaml", Cluster: "meant"},
		{Code: "yaml", Path: "fleet/broken.yaml"}, {Code: compile.CodeKind, Path: "fleet/both.yaml"}, {Code: "yaml", Path: "fleet/both.yaml"}} {
		d.Reject(f)
	}
	if n := plan.Unread(&d.Opened); n != 3 {
		t.Errorf("%d files count as clusters that can't be used", n)
	}
}
