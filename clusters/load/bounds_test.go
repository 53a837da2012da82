package load_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
)

// TestIgnoreFileIsBounded: every pattern is matched with every path, so that both together can't be large.
func TestIgnoreFileIsBounded(t *testing.T) {
	const cluster = "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: eu}\nspec: {kubeconfigSecretRef: {name: eu}}\n"
	lines := func(n int, pattern string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, pattern+"\n", i)
		}
		return b.String()
	}
	for _, row := range []struct {
		reason  string
		ignore  string
		files   int
		stopped bool
	}{
		{"a long list", lines(999, "old-%d.yaml"), 100, false},
		{"some patterns over many files", lines(40, "build-%d/"), 20_000, false},
		{"50,000 patterns", lines(50_000, "old-%d.yaml"), 1, true},
		{"1,001 patterns", lines(1001, "%d"), 1, true},
		{"a pattern of a megabyte", strings.Repeat("*a", 1<<19), 1, true},
		{"a thousand patterns over many files", lines(1000, "*a*b*c*d*e*f*g*h*%d"), 40_000, true},
	} {
		fsys := fstest.MapFS{load.IgnoreFile: {Data: []byte(row.ignore)}, "eu.yaml": {Data: []byte(cluster)}}
		for i := range row.files {
			fsys[fmt.Sprintf("notes/%d/%s.txt", i%100, strings.Repeat("abcdefgh", 10)+fmt.Sprint(i))] = &fstest.MapFile{}
		}
		started := time.Now()
		tree, err := load.Load(t.Context(), fsys, ".", load.Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v", row.reason, time.Since(started).Round(time.Millisecond))
		if tree.Stopped != row.stopped || row.stopped && !hasCode(tree.Findings, load.CodeSize) {
			t.Errorf("%s: stopped %t, %v", row.reason, tree.Stopped, tree.Findings)
		}
	}
}

func hasCode(findings []finding.Finding, code finding.Code) bool {
	for _, f := range findings {
		if f.Code == code {
			return true
		}
	}
	return false
}
