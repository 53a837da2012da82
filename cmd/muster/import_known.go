package main

import (
	"context"
	"io/fs"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// inGit is what the folder has already.
type inGit struct {
	clusters map[[2]string]bool
	secrets  map[string]bool
	configs  map[string]bool
	// tree is the folder; nil if there is none.
	tree *load.Tree
	// manifests are the files of a folder without a kustomization, relative to it.
	manifests []string
	skipped   int
	// differ are clusters that differ from their live entries.
	differ []difference
}

// difference is how a cluster in Git differs from its live entry.
type difference struct {
	Cluster string   `json:"cluster"`
	Path    string   `json:"path"`
	Fields  []string `json:"fields"`
}

// has reports whether a cluster is in Git.
func (g *inGit) has(auditConfig, cluster string) bool {
	return g.clusters[[2]string{auditConfig, cluster}]
}

// skip is has, and counts.
func (g *inGit) skip(auditConfig, cluster string) bool {
	if !g.has(auditConfig, cluster) {
		return false
	}
	g.skipped++
	return true
}

// inGit reads the folder. With keys, it also compares clusters with their live entries.
func (im *importer) inGit(ctx context.Context) (*inGit, error) {
	g := &inGit{clusters: map[[2]string]bool{}, secrets: map[string]bool{}, configs: map[string]bool{}}
	if _, err := fs.Stat(im.fs, im.path); err != nil {
		return g, nil //nolint:nilerr // a new folder
	}
	r, err := im.render(ctx, im.target, im.opts, openerFor(im.ring))
	if err != nil {
		return nil, err
	}
	g.tree = r.sealed.Source.Loaded
	if k := g.tree.Kustomizations[im.path]; k != nil && k.File == nil {
		for i := range k.Resources {
			g.manifests = append(g.manifests, strings.TrimPrefix(k.Ref(i), "./"))
		}
	}
	for i := range r.opened.Clusters {
		c := &r.opened.Clusters[i]
		g.clusters[[2]string{c.AuditConfig, c.Name}] = true
		if im.live != nil && len(r.closed) == 0 && !c.Quarantined {
			g.compare(c, im.live.AuditConfigs[c.AuditConfig])
		}
	}
	for _, s := range r.opened.Secrets {
		g.secrets[s.Name] = g.secrets[s.Name] || s.Cluster == ""
	}
	for _, c := range r.opened.AuditConfigs {
		g.configs[c.Name] = c.Object != nil
	}
	return g, nil
}

// compare records how a cluster differs from its live entry. A Secret that Muster makes has another name.
func (g *inGit) compare(c *fleet.Cluster, auditConfig map[string]any) {
	raw := liveEntry(auditConfig, c.Name)
	live, err := mondoo.ParseEntry(raw)
	if raw == nil || err != nil {
		return // --check reports it
	}
	fields := slices.DeleteFunc(mondoo.Diff(live, c.Entry), func(field string) bool { return len(c.Secrets) > 0 && strings.HasSuffix(field, "SecretRef.name") })
	if len(fields) > 0 {
		g.differ = append(g.differ, difference{c.Name, c.Origin.Path, fields})
	}
}

func liveEntry(auditConfig map[string]any, name string) (found map[string]any) {
	entries, _ := mondoo.Entries(auditConfig) // without a list there is none
	for _, entry := range entries {
		if mondoo.TextAt(entry, "name") == name {
			found = entry // the operator uses the last
		}
	}
	return found
}
