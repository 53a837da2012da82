package main

import (
	"io/fs"
	"slices"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// environments are the folders that the AuditSyncs in a repository read, by the repository's root.
type environments map[string][]string

// of are those of one repository. An AuditSync's path may be a folder of another repository; such a path doesn't count.
func (e environments) of(r *repository) []string {
	folders, known := e[r.root]
	if known {
		return folders
	}
	isFolder := func(name string) bool {
		info, err := fs.Stat(r.fs, name)
		return err == nil && info.IsDir()
	}
	for _, m := range auditSyncsIn(r.fs) {
		tops := m.tops()
		if at := slices.IndexFunc(tops, isFolder); at >= 0 {
			folders = append(folders, tops[at])
		}
	}
	slices.Sort(folders)
	e[r.root] = slices.Compact(folders)
	return e[r.root]
}

// below are the environments below a folder that is in no environment itself. If there are any, the folder isn't a tree.
func (e environments) below(t *target) []string {
	folders := e.of(t.repository)
	if e.enclosing(t) != "" {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(folders), func(folder string) bool { return !within(folder, t.path) })
}

// enclosing is the innermost environment that contains a folder, or "".
func (e environments) enclosing(t *target) string {
	innermost := ""
	for _, folder := range e.of(t.repository) {
		if within(t.path, folder) && len(folder) >= len(innermost) {
			innermost = folder
		}
	}
	return innermost
}

// unreadClusters reports the clusters in a folder that no AuditSync of its repository reads.
func (e environments) unreadClusters(t *target, read map[string]bool) []finding.Finding {
	var findings []finding.Finding
	folders := e.below(t)
	manifestsIn(t.fs, t.path, v1alpha1.Kind, func(name string, data []byte) {
		if read[name] || slices.ContainsFunc(folders, func(folder string) bool { return within(name, folder) }) {
			return
		}
		for _, err := range documents(data, v1alpha1.Kind) {
			if err == nil {
				findings = append(findings, finding.Finding{Code: load.CodeUnused, Severity: finding.Info, Path: name,
					Message: "no AuditSync in this repository reads this cluster; their paths are " + firstFew(folders),
					Fix:     "move it to one of these paths; or pass its folder as an argument to check it"})
				return
			}
		}
	})
	return findings
}
