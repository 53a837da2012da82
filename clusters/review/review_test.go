package review_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/review"
)

func at(expr string) func(*fleet.Cluster) {
	return func(c *fleet.Cluster) { c.Schedule, c.Entry.Schedule = expr, expr }
}

var march, june = time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC)

// TestChanges: a pull request is only told what it does itself, whatever the base still has to do.
func TestChanges(t *testing.T) {
	two := func() *tree { return newTree("eu", "us") }
	for _, row := range []struct {
		reason                 string
		applied, before, after *tree
		live                   func(*world)
		want                   string
		pending                int
	}{
		{reason: "nothing", applied: two(), before: two(), after: two()},
		{reason: "drift is corrected anyway", applied: two().edit("eu", at("1 * * * *")), before: two().edit("eu", at("1 * * * *")), after: two().edit("eu", at("1 * * * *")),
			live: drifted("eu"), pending: 1},
		{reason: "a change of the base is not applied yet", applied: two(), before: two().edit("eu", at("1 * * * *")), after: two().edit("eu", at("1 * * * *")), pending: 1},
		{reason: "the same field is changed again", applied: two(), before: two().edit("eu", at("1 * * * *")), after: two().edit("eu", at("2 * * * *")),
			want: "change cluster eu schedule:1 * * * *→2 * * * *"},
		{reason: "another field is changed too", applied: two().edit("eu", at("1 * * * *")), before: two().edit("eu", at("2 * * * *")), after: two().edit("eu", func(c *fleet.Cluster) {
			at("2 * * * *")(c)
			c.Entry.ContainerImageScanning = true
		}), want: "change cluster eu containerImageScanning:→true"},
		{reason: "a change of the base is taken back", applied: two().edit("eu", at("1 * * * *")), before: two().edit("eu", at("2 * * * *")), after: two().edit("eu", at("1 * * * *")),
			want: "change cluster eu schedule:2 * * * *→1 * * * * (the live object has these values already)"},
		{reason: "drift becomes what is wanted", applied: two().edit("eu", at("1 * * * *")), before: two().edit("eu", at("1 * * * *")), after: two().edit("eu", at("9 9 9 9 *")),
			live: drifted("eu"), want: "change cluster eu schedule:1 * * * *→9 9 9 9 * (the live object has these values already)"},
		{reason: "a cluster that the base adds is changed before it is applied", applied: newTree("eu"), before: two().edit("us", at("1 * * * *")), after: two().edit("us", at("2 * * * *")),
			want: "add cluster us schedule:1 * * * *→2 * * * *", pending: 1},
		{reason: "a cluster that the base adds is removed before it is applied", applied: newTree("eu"), before: two(), after: newTree("eu"),
			want: "remove cluster us [remove kubeconfig] (the base adds it, and that is not applied yet)"},
		{reason: "a cluster that the base removes is in Git again", applied: two(), before: newTree("eu"), after: two(),
			want: "add cluster us schedule:→H [add kubeconfig] (the base removes it, and that is not applied yet)"},
		{reason: "a credential is changed again", applied: two(), before: two().renew("eu", "2", march), after: two().renew("eu", "3", march), want: "change cluster eu [change kubeconfig]"},
		{reason: "a credential of the base is not applied yet", applied: two(), before: two().renew("eu", "2", march), after: two().renew("eu", "2", march), pending: 1},
		{reason: "a file is encrypted anew", applied: two(), before: two(), after: reencrypted(two())},
		{reason: "a held removal waits already", applied: newTree("a", "b", "c", "d"), before: newTree("a"), after: newTree("a"),
			want: "held cluster b (over the removal budget) standing\nheld cluster c (over the removal budget) standing\nheld cluster d (over the removal budget) standing"},
		{reason: "one of the held removals ends", applied: newTree("a", "b", "c", "d"), before: newTree("a"), after: newTree("a", "b"),
			want: "add cluster b schedule:→H (its removal is held, and that ends)\nheld cluster c (over the removal budget) standing\nheld cluster d (over the removal budget) standing"},
		{reason: "a removal of the base becomes one of too many", applied: newTree("a", "b", "c", "d"), before: newTree("a", "b", "c"), after: newTree("a"),
			want: "held cluster b (over the removal budget)\nheld cluster c (over the removal budget)\nheld cluster d (over the removal budget)"},
		{reason: "an error keeps what the base would change", applied: two(), before: two().edit("eu", at("1 * * * *")), after: two().breakFile("eu", 1, "broken")},
		{reason: "an error stops everything", applied: two(), before: two().edit("eu", at("1 * * * *")), after: stopped(two())},
		{reason: "a broken base is mended", applied: two(), before: stopped(two()), after: two().edit("eu", at("1 * * * *")), want: "change cluster eu schedule:H→1 * * * *"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			w := newWorld(config).apply(t, row.applied)
			if row.live != nil {
				row.live(w)
			}
			r := review.New(w.input(row.before, row.after))
			got := strings.Join(describe(r), "\n")
			for _, c := range newTree("eu", "us", "b").Clusters {
				got = strings.ReplaceAll(got, c.Entry.Schedule, "H")
			}
			if got != row.want || r.Pending != row.pending {
				t.Errorf("got, %d pending:\n%s\nwant, %d pending:\n%s", r.Pending, got, row.pending, row.want)
			}
		})
	}
}

// drifted changes a live entry.
func drifted(name string) func(*world) {
	return func(w *world) {
		entries, err := mondoo.Entries(w.AuditConfigs[config])
		if err != nil {
			panic(err)
		}
		for _, entry := range entries {
			if entry["name"] == name {
				entry["schedule"] = "9 9 9 9 *"
			}
		}
	}
}

func reencrypted(d *tree) *tree {
	for i := range d.Secrets {
		d.Secrets[i].Hash = "reencrypted"
		d.edit(d.Secrets[i].Cluster, func(*fleet.Cluster) {})
	}
	return d
}

func stopped(d *tree) *tree {
	d.Stop(finding.Finding{Code: "kustomize", Path: folder + "/kustomization.yaml", Line: 1, Message: "not YAML"})
	return d
}

// TestFindings: what a commit doesn't cause is told apart from what it does, though lines shift.
func TestFindings(t *testing.T) {
	f := func(severity finding.Severity, line int, message string) finding.Finding {
		return finding.Finding{Code: "test", Severity: severity, Path: "eu.yaml", Line: line, Message: message, Fix: "fix"}
	}
	accepted := f(finding.Warning, 1, "m")
	accepted.Accepted = "known"
	other := f(finding.Error, 1, "m")
	other.Path = "us.yaml"
	for _, row := range []struct {
		reason              string
		before, after       []finding.Finding
		added, mended, left int
		addedAt             int
	}{
		{reason: "the same", before: []finding.Finding{f(finding.Error, 1, "m")}, after: []finding.Finding{f(finding.Error, 1, "m")}, left: 1},
		{reason: "its line shifts", before: []finding.Finding{f(finding.Error, 1, "m")}, after: []finding.Finding{f(finding.Error, 9, "m")}, left: 1},
		{reason: "the line in its message shifts", before: []finding.Finding{f(finding.Error, 1, "first set in line 3, and eu.yaml:3:5")}, after: []finding.Finding{f(finding.Error, 1, "first set in line 13, and eu.yaml:13:5")}, left: 1},
		{reason: "another number in its message", before: []finding.Finding{f(finding.Error, 1, "3 clusters")}, after: []finding.Finding{f(finding.Error, 1, "4 clusters")}, added: 1, mended: 1, addedAt: 1},
		{reason: "another file", before: []finding.Finding{f(finding.Error, 1, "m")}, after: []finding.Finding{other}, added: 1, mended: 1, addedAt: 1},
		{reason: "a warning becomes an error", before: []finding.Finding{f(finding.Warning, 1, "m")}, after: []finding.Finding{f(finding.Error, 1, "m")}, added: 1, mended: 1, addedAt: 1},
		{reason: "a warning is accepted", before: []finding.Finding{f(finding.Warning, 1, "m")}, after: []finding.Finding{accepted}, added: 1, mended: 1, addedAt: 1},
		{reason: "a second one before the first", before: []finding.Finding{f(finding.Error, 5, "m")}, after: []finding.Finding{f(finding.Error, 2, "m"), f(finding.Error, 5, "m")}, added: 1, left: 1, addedAt: 2},
		{reason: "one of two is mended", before: []finding.Finding{f(finding.Error, 2, "m"), f(finding.Error, 5, "m")}, after: []finding.Finding{f(finding.Error, 4, "m")}, mended: 1, left: 1},
		{reason: "held removals have their own list", before: nil, after: []finding.Finding{{Code: plan.CodeHeld, Severity: finding.Warning, Message: "3 removals wait"}}},
	} {
		t.Run(row.reason, func(t *testing.T) {
			r := review.New(review.Input{Before: &plan.Plan{Report: finding.Report{Findings: row.before}}, After: &plan.Plan{Report: finding.Report{Findings: row.after}}})
			if len(r.New) != row.added || len(r.Mended) != row.mended || len(r.Standing) != row.left {
				t.Errorf("%d new, %d mended, %d standing", len(r.New), len(r.Mended), len(r.Standing))
			}
			if row.addedAt > 0 && r.New[0].Line != row.addedAt {
				t.Errorf("the new one is in line %d", r.New[0].Line)
			}
		})
	}
}

// TestStatus: red is only what the merge would break.
func TestStatus(t *testing.T) {
	for _, row := range []struct {
		reason string
		in     review.Input
		ok     bool
		text   string
	}{
		{"nothing", synced(t, newTree("eu"), newTree("eu")), true, "changes no cluster"},
		{"a warning alone", synced(t, newTree("eu"), newTree("eu").warn("test", "eu", 1, "m", "f")), true, "changes no cluster; 1 warning"},
		{"adds and changes", synced(t, newTree("eu", "us"), newTree("eu", "us", "ap").edit("eu", hourly).edit("us", hourly).warn("test", "eu", 1, "m", "f")), true, "adds 1 cluster (ap), changes 2 (eu, us); 1 warning"},
		{"a new error", synced(t, newTree("eu", "us"), newTree("eu", "us").breakFile("eu", 4, "broken")), false, "1 new error: clusters/production/eu.yaml:4: broken"},
		{"the base has the error", synced(t, newTree("eu", "us").breakFile("eu", 4, "broken"), newTree("eu", "us").breakFile("eu", 5, "broken").edit("us", hourly)), true,
			"changes 1 cluster (us); 1 error was there before"},
		{"the base is stopped, and stays so", synced(t, stopped(newTree("eu")), stopped(newTree("eu", "us"))), true,
			"the base is broken, and this doesn't change that: clusters/production/kustomization.yaml:1: not YAML"},
		{"an error that stops everything comes first", synced(t, newTree("eu"), stopped(newTree("eu").breakFile("eu", 4, "broken"))), false,
			"2 new errors: clusters/production/kustomization.yaml:1: not YAML"},
		{"a conflict", review.Input{Conflicts: []review.Conflict{{Path: "b"}, {Path: "a\nb"}}}, false, `can't be merged: conflict in a\nb and 1 other file`},
		{"no plan at all", review.Input{}, true, "changes no cluster"},
	} {
		if ok, text := review.New(row.in).Status(); ok != row.ok || text != row.text {
			t.Errorf("%s: %v, %q; want %v, %q", row.reason, ok, text, row.ok, row.text)
		}
	}
}

// TestSpaceAndLoad: told only when there is little space, and when the peak shifts much.
func TestSpaceAndLoad(t *testing.T) {
	before := names("cluster", 40)
	after := newTree(before...)
	for _, name := range before[:12] {
		after.edit(name, hourly)
	}
	r := review.New(synced(t, newTree(before...), after))
	if r.Load.After.Clusters < 12 || !r.Load.Shifts() || !r.Load.After.Hourly || r.Load.After.Minute != 0 {
		t.Errorf("the load is %+v", r.Load)
	}
	if r = review.New(synced(t, newTree(before...), newTree(before...).add("one"))); r.Load.Shifts() || len(r.Space) > 0 {
		t.Errorf("one cluster more: %+v, %+v", r.Load, r.Space)
	}
	broken := newTree(before...)
	for _, name := range before[:30] {
		broken.breakFile(name, 1, "broken")
	}
	if r = review.New(synced(t, newTree(before...), broken)); r.Load.Before != r.Load.After {
		t.Errorf("broken clusters keep their schedules: %+v", r.Load)
	}
	in := synced(t, newTree("eu"), newTree("eu", "us"))
	for _, size := range []struct{ bytes, told int }{{plan.MaxObject * 3 / 4, 0}, {plan.MaxObject*3/4 + 1, 1}} {
		in.After.Configs[0].Size = size.bytes
		if r = review.New(in); len(r.Space) != size.told {
			t.Errorf("%d bytes: %+v", size.bytes, r.Space)
		}
	}
}

// TestPlanKnowsSizes: the size of what a plan writes is the one that its limit is for.
func TestPlanKnowsSizes(t *testing.T) {
	in := synced(t, newTree("eu"), newTree("eu", "us"))
	data, err := marshal(in.After.Configs[0].Object)
	if err != nil {
		t.Fatal(err)
	}
	if got := in.After.Configs[0].Size; got != len(data)-1 {
		t.Errorf("%d bytes; its JSON has %d", got, len(data)-1)
	}
}

// TestAnnotations: only what is new, at a line of a file.
func TestAnnotations(t *testing.T) {
	after := newTree("eu", "us").breakFile("eu", 4, "broken\n@admin").warn("known", "us", 0, "m", "f")
	after.Add(finding.Finding{Code: "fleet", Severity: finding.Warning, Message: "no file"})
	in := synced(t, newTree("eu", "us").warn("old", "us", 3, "m", "f"), after.warn("old", "us", 4, "m", "f"))
	want := []string{"clusters/production/eu.yaml 4 error eu: unknown-field", "clusters/production/us.yaml 1 warning us: known"}
	var got []string
	for _, a := range review.New(in).Annotations() {
		got = append(got, fmt.Sprintf("%s %d %s %s", a.Path, a.Line, a.Severity, a.Title))
		if strings.ContainsAny(a.Message, "\n\r") || a.EndLine != a.Line {
			t.Errorf("%+v", a)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestMarker: a comment is found by exactly its first line.
func TestMarker(t *testing.T) {
	marker := review.Marker("a/b--c-->")
	if strings.Contains(strings.TrimSuffix(strings.TrimPrefix(marker, "<!--"), "-->"), "--") {
		t.Errorf("%s has two dashes", marker)
	}
	for body, want := range map[string]bool{marker: true, marker + "\n\nx": true, marker + "\r\nx": true, "\n" + marker: false, " " + marker: false, marker + "x": false, "x\n" + marker: false, "": false} {
		if review.Marked(body, marker) != want {
			t.Errorf("%q: %v", body, !want)
		}
	}
	if review.Marked("", "") || review.Marker("a--b") == review.Marker("a-%2Db") {
		t.Error("markers are mixed up")
	}
}

// TestOnlyReads: New leaves its input as it is, masked or not.
func TestOnlyReads(t *testing.T) {
	moved := newTree("eu-central-1", "eu-west-1", "us-east-1", "us-west-2").edit("us-east-1", hourly).renew("eu-west-1", "2", june).addTo(config, "analytics", "fedcba9876543210", "2")
	for _, known := range []bool{true, false} {
		in := synced(t, newTree(fleetOfSix...), moved)
		if !known {
			in.BeforeFleet = nil
		}
		before := string(toJSON(t, []any{in.Before, in.After, in.BeforeFleet, in.AfterFleet}))
		in.Mask = func(string) string { return "masked" }
		review.New(in)
		if string(toJSON(t, []any{in.Before, in.After, in.BeforeFleet, in.AfterFleet})) != before {
			t.Error("the input has changed")
		}
	}
}

// BenchmarkReview is a pull request that changes every one of 1,000 clusters: the Review and its comment.
func BenchmarkReview(b *testing.B) {
	list := names("cluster", 1000)
	after := newTree(list...)
	for i := range after.Clusters {
		c := &after.Clusters[i]
		hourly(c)
		c.Hash = "changed"
	}
	in := synced(b, newTree(list...), after)
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			review.New(in)
		}
	})
	r, o := review.New(in), options()
	b.Run("markdown", func(b *testing.B) {
		for b.Loop() {
			r.Markdown(o)
		}
	})
	unchanged := synced(b, newTree(list...), newTree(list...).edit(list[0], hourly))
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			review.New(unchanged).Markdown(o)
		}
	})
}
