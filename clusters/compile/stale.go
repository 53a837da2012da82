package compile

import (
	"slices"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/seal"
)

// stale quarantines everything from files that were changed without sops since an earlier version. It needs no key.
func (c *compiler) stale() {
	if c.opts.Before == nil {
		return
	}
	for _, name := range c.tree.Loaded.Paths() {
		file := c.tree.Loaded.Files[name]
		if !file.IsEncrypted() || c.fleet.Broken[name] {
			continue
		}
		before, ok := c.opts.Before(name, file.Data)
		if !ok {
			continue
		}
		if bad := seal.Stale(file, before); bad != nil {
			owners := c.quarantine(name)
			if len(owners) == 1 {
				bad.Cluster = owners[0]
			}
			if c.fleet.Reject(*bad); owners == nil || slices.ContainsFunc(c.fleet.AuditConfigs, func(a fleet.AuditConfig) bool { return a.Origin.Path == name }) {
				c.fleet.Stop(*bad) // a patch or an audit config, which many clusters share
			}
		}
	}
}

// quarantine quarantines the clusters and Secrets of a file, and returns their names.
func (c *compiler) quarantine(file string) (names []string) {
	for i := range c.fleet.Clusters {
		if cl := &c.fleet.Clusters[i]; cl.Origin.Path == file {
			cl.Quarantined = true
			names = append(names, cl.Name)
		}
	}
	c.fleet.Secrets = slices.DeleteFunc(c.fleet.Secrets, func(s fleet.SealedSecret) bool { return s.Cluster != "" && s.Origin.Path == file })
	for i := range c.fleet.Secrets {
		if s := &c.fleet.Secrets[i]; s.Origin.Path == file {
			s.Quarantined = true
			names = append(names, "")
		}
	}
	return names
}
