package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/explain"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

// explainUnread explains a cluster whose file can't be read, or that is in no file: its findings, and its live state.
func (e explainer) explainUnread(ctx context.Context, r *rendered, live *state, planned *plan.Plan, sync string, findings []finding.Finding) ([]explained, error) {
	x := explained{Cluster: e.name, Revision: r.revision, Quarantined: true, File: fileOf(e.name, r)}
	x.Findings = e.findingsOf(e.name, x.File, findings)
	if live != nil {
		if config := configOf(e.name, live); config != "" {
			var err error
			x.AuditConfig = config
			if x.Live, err = e.live(ctx, live, planned, config, sync, false); err != nil {
				return nil, err
			}
		}
	}
	if r.opened.Stopped && (x.File != "" || x.Live != nil) {
		x.Findings = append(x.Findings, e.sharedErrors(findings)...)
	}
	if len(x.Findings) > 0 || x.Live != nil {
		return []explained{x}, nil
	}
	return nil, e.missing(r, live, findings)
}

// fileOf is the file of a cluster, even if kustomize can't build it.
func fileOf(name string, r *rendered) string {
	for file, f := range r.sealed.Source.Loaded.Files {
		if slices.ContainsFunc(f.Documents, func(d *load.Document) bool { return d.IsCluster() && d.Name == name }) {
			return file
		}
	}
	return ""
}

// configOf is the live audit config that has a cluster in its list.
func configOf(name string, live *state) string {
	for _, config := range slices.Sorted(maps.Keys(live.AuditConfigs)) {
		if slices.Contains(entryNames(live.AuditConfigs[config]), name) {
			return config
		}
	}
	return ""
}

// entryNames are the clusters of a live audit config. There are none when its list isn't a list; the plan reports that.
func entryNames(auditConfig map[string]any) []string {
	entries, err := mondoo.Entries(auditConfig)
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		name, _ := entry["name"].(string)
		names = append(names, name)
	}
	return names
}

// sharedErrors are the errors that belong to no single cluster, and so may keep Muster from reading any of them.
func (e explainer) sharedErrors(findings []finding.Finding) []finding.Finding {
	var list []finding.Finding
	for _, f := range finding.Sorted(findings) {
		if f.Severity == finding.Error && f.Cluster == "" {
			list = append(list, e.masked(f))
		}
	}
	return list
}

// missingError reports that no cluster has the name, with the findings that may be the cause.
type missingError struct {
	text     string
	findings []finding.Finding
}

func (e *missingError) Error() string { return e.text }

// missing looks for similar names in files, findings and the management cluster.
func (e explainer) missing(r *rendered, live *state, findings []finding.Finding) error {
	var known []string
	for _, c := range r.opened.Clusters {
		known = append(known, c.Name)
	}
	for _, f := range findings {
		if f.Cluster != "" {
			known = append(known, f.Cluster)
		}
	}
	for _, f := range r.sealed.Source.Loaded.Files {
		for _, d := range f.Documents {
			if d.IsCluster() {
				known = append(known, d.Name)
			}
		}
	}
	if live != nil {
		for _, object := range live.AuditConfigs {
			known = append(known, entryNames(object)...)
		}
	}
	text := fmt.Sprintf("no cluster %q in %s", e.name, e.fromWorkingDir(e.path))
	near := explain.Near(e.name, known)
	switch {
	case len(near) > 0:
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	case !r.opened.Stopped:
		text += ", which has " + plural(len(r.opened.Clusters), "cluster") + "; muster tree lists them"
	}
	return &missingError{text, e.sharedErrors(findings)}
}
