package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Codes of names that the operator also uses.
const (
	CodeScanName     finding.Code = "scan-name"     // two scans share a CronJob or another object
	CodeOperatorName finding.Code = "operator-name" // a Secret has the name of one of the operator's
)

// scanOwner is the owner of a scan's objects. cluster is the fleet's; nil for an entry that isn't in Git and for the
// scan of the management cluster itself.
type scanOwner struct {
	cluster *fleet.Cluster
	text    string
}

// operatorNames refuses clusters for which the operator would use an object that belongs to another audit config's
// scan: it would stop processing the audit config there. Neither of the clusters changes then, because the new one
// can't be told from the old.
func (c *compiler) operatorNames() {
	auditConfigs := map[string]map[string]any{}
	maps.Copy(auditConfigs, c.opts.Existing)
	for name, config := range c.configs {
		auditConfigs[name] = config.Object
	}
	if c.opts.AuditConfig != "" && auditConfigs[c.opts.AuditConfig] == nil {
		auditConfigs[c.opts.AuditConfig] = nil
	}
	c.refuseOperatorSecrets(auditConfigs)
	c.refuseCutNames()
	if len(auditConfigs) < 2 {
		return // within one audit config, different clusters have different names
	}
	owners := make(map[string]scanOwner, 4*len(c.fleet.Clusters))
	for _, name := range slices.Sorted(maps.Keys(auditConfigs)) {
		if scansItself(auditConfigs[name]) {
			owners[mondoo.LocalScanName(name)] = scanOwner{text: "the scan of the management cluster itself, by the audit config " + name}
		}
		for _, entry := range c.entriesElsewhere(name) {
			c.claim(owners, name, entry, scanOwner{text: "the cluster " + entry + " of the audit config " + name})
		}
	}
	for i := range c.fleet.Clusters {
		if cl := &c.fleet.Clusters[i]; !cl.Quarantined && cl.AuditConfig != "" {
			c.claim(owners, cl.AuditConfig, cl.Name, scanOwner{cl, "the cluster " + cl.Name + " of the audit config " + cl.AuditConfig})
		}
	}
}

// refuseCutNames refuses clusters with a CronJob name that the operator cuts and whose audit config's name has a dot.
// The cut may end at a dot before the hash's dash, and Kubernetes refuses such a name.
func (c *compiler) refuseCutNames() {
	for i := range c.fleet.Clusters {
		cl := &c.fleet.Clusters[i]
		name, cut := mondoo.ScanName(cl.AuditConfig, cl.Name)
		if cl.Quarantined || !cut || !strings.Contains(cl.AuditConfig, ".") {
			continue
		}
		cl.Quarantined = true
		c.reject(kustomize.Resource{Path: cl.Origin.Path, Document: cl.Origin.Document}, cl.Name, []string{"metadata", "name"}, CodeScanName,
			fmt.Sprintf("the operator cuts the CronJob's name %s to 52 characters, and Kubernetes may refuse the result, because the audit config's name has a dot", name),
			"shorten the cluster's name, or give the audit config a name without dots")
	}
}

// claim records the names that the operator derives for an entry, and refuses both scans if another one has a name
// already.
func (c *compiler) claim(owners map[string]scanOwner, auditConfig, cluster string, by scanOwner) {
	names := mondoo.DerivedNames(auditConfig, cluster)
	if scan, hashed := mondoo.ScanName(auditConfig, cluster); !hashed {
		names = append([]string{scan}, names...)
	}
	for _, name := range names {
		other, taken := owners[name]
		if !taken {
			owners[name] = by
			continue
		}
		c.refuseName(by, other, name)
		c.refuseName(other, by, name)
		return
	}
}

func (c *compiler) refuseName(scan, other scanOwner, name string) {
	cl := scan.cluster
	if cl == nil || cl.Quarantined {
		return
	}
	cl.Quarantined = true
	c.reject(kustomize.Resource{Path: cl.Origin.Path, Document: cl.Origin.Document}, cl.Name, []string{"metadata", "name"}, CodeScanName,
		fmt.Sprintf("the operator would name an object %s both for this cluster of the audit config %s and for %s; it stops at the second, and scans no later cluster of that audit config", name, cl.AuditConfig, other.text),
		"rename one of the two; until then, neither is changed")
}

// entriesElsewhere returns the names in the list of an audit config that isn't this fleet's.
func (c *compiler) entriesElsewhere(auditConfig string) []string {
	if c.configs[auditConfig] != nil || auditConfig == c.opts.AuditConfig {
		return nil
	}
	entries, err := mondoo.Entries(c.opts.Existing[auditConfig])
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		names = append(names, textAt(entry, "name"))
	}
	return names
}

// scansItself reports whether an audit config requests a scan of the management cluster.
func scansItself(auditConfig map[string]any) bool {
	return valueAt(auditConfig, "spec", "kubernetesResources", "enable") == true
}

// refuseOperatorSecrets refuses Secret manifests that the operator would overwrite or delete, and that Muster would
// restore every time.
func (c *compiler) refuseOperatorSecrets(auditConfigs map[string]map[string]any) {
	for i := range c.fleet.Secrets {
		s := &c.fleet.Secrets[i]
		if s.Cluster != "" {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(auditConfigs)) {
			if mondoo.IsOperatorSecret(name, s.Name) {
				c.quarantineSecret(kustomize.Resource{Path: s.Origin.Path, Document: s.Origin.Document}, s, []string{"metadata", "name"}, CodeOperatorName,
					fmt.Sprintf("the operator uses the name %s for its own Secret of the audit config %s, and would overwrite or delete this one", s.Name, name), "give the Secret another name")
				break
			}
		}
	}
}
