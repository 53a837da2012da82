package plan

import (
	"path"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
)

// ofOtherKinds returns the files whose only errors are objects of kinds that Muster doesn't apply and that weren't
// meant as clusters.
func ofOtherKinds(f *fleet.Opened) map[string]bool {
	other := map[string]bool{}
	for _, at := range f.Findings {
		if at.Severity != finding.Error {
			continue
		}
		onlyKind := at.Code == compile.CodeKind && at.Cluster == ""
		if known, seen := other[at.Path]; !seen || known {
			other[at.Path] = onlyKind
		}
	}
	return other
}

// Unread counts the broken files that the fleet has nothing from. Each of them should have contained a cluster.
func Unread(f *fleet.Opened) int {
	if f.Stopped {
		return 0
	}
	known := map[string]bool{}
	for i := range f.Clusters {
		c := &f.Clusters[i]
		known[c.Origin.Path] = true
		if c.File != nil && c.File.Spec.KubeconfigFile != "" {
			known[path.Join(path.Dir(c.Origin.Path), c.File.Spec.KubeconfigFile)] = true // it counts as a part of its cluster
		}
	}
	for i := range f.Secrets {
		known[f.Secrets[i].Origin.Path] = true
	}
	for i := range f.AuditConfigs {
		known[f.AuditConfigs[i].Origin.Path] = true
	}
	n, other := 0, ofOtherKinds(f)
	for file := range f.Broken {
		if f.Present[file] && !known[file] && !other[file] {
			n++
		}
	}
	return n
}
