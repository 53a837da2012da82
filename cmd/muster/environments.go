package main

import (
	"io/fs"
	"slices"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// environments are the folders that the AuditSyncs in a repository read, by the root of the repository.
type environments map[string][]string

// of are those of one repository. The path of an AuditSync may be that of a folder in another repository, and is none here then.
func (e environments) of(r *repository) []string {
	folders, known := e[r.root]
	if known {
		return folders
	}
	there := func(name string) bool {
		info, err := fs.Stat(r.fs, name)
		return err == nil && info.IsDir()
	}
	for _, m := range auditSyncsIn(r.fs) {
		tops := m.tops()
		if at := slices.IndexFunc(tops, there); at >= 0 {
			folders = append(folders, tops[at])
		}
	}
	slices.Sort(folders)
	e[r.root] = slices.Compact(folders)
	return e[r.root]
}

// below are those below a folder that none of them has in it. Where there are any, the folder is no tree by itself.
func (e environments) below(t *target) []string {
	folders := e.of(t.repository)
	if e.around(t) != "" {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(folders), func(folder string) bool { return !within(folder, t.path) })
}

// around is the innermost one that has a folder in it, "" where none has.
func (e environments) around(t *target) string {
	innermost := ""
	for _, folder := range e.of(t.repository) {
		if within(t.path, folder) && len(folder) >= len(innermost) {
			innermost = folder
		}
	}
	return innermost
}

// unread tells of the clusters in a folder that no AuditSync of its repository reads.
func (e environments) unread(t *target, read map[string]bool) []finding.Finding {
	var findings []finding.Finding
	folders := e.below(t)
	manifestsIn(t.fs, t.path, v1alpha1.Kind, func(name string, data []byte) {
		if read[name] || slices.ContainsFunc(folders, func(folder string) bool { return within(name, folder) }) {
			return
		}
		for _, err := range documents(data, v1alpha1.Kind) {
			if err == nil {
				findings = append(findings, finding.Finding{Code: load.CodeUnused, Severity: finding.Info, Path: name,
					Message: "no AuditSync in this repository reads this cluster: their paths here are " + some(folders),
					Fix:     "move it to one of them; or name its folder, and it is checked"})
				return
			}
		}
	})
	return findings
}
