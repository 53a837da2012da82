package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/build"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Codes of names that the operator would use twice.
const (
	CodeScanName     finding.Code = "scan-name"     // two scans have one CronJob, or share another object
	CodeOperatorName finding.Code = "operator-name" // a Secret has a name that the operator gives to its own
)

// scanOf is whose scan an object of the operator's serves. Cluster is that of the fleet; nil for an entry that is not in Git, and for the
// scan of the management cluster itself.
type scanOf struct {
	cluster *fleet.Cluster
	text    string
}

// operatorNames refuses clusters for which the operator would use an object that serves another scan, of another audit config: it
// reconciles that audit config no further. None of the clusters is changed then, as the new one can't be told from the old.
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
		return // within one, names differ as those of its clusters do
	}
	owners := make(map[string]scanOf, 4*len(c.fleet.Clusters))
	for _, name := range slices.Sorted(maps.Keys(auditConfigs)) {
		if scansItself(auditConfigs[name]) {
			owners[mondoo.LocalScanName(name)] = scanOf{text: "the scan of the management cluster itself, by the audit config " + name}
		}
		for _, entry := range c.entriesElsewhere(name) {
			c.claim(owners, name, entry, scanOf{text: "the cluster " + entry + " of the audit config " + name})
		}
	}
	for i := range c.fleet.Clusters {
		if cl := &c.fleet.Clusters[i]; !cl.Quarantined && cl.AuditConfig != "" {
			c.claim(owners, cl.AuditConfig, cl.Name, scanOf{cl, "the cluster " + cl.Name + " of the audit config " + cl.AuditConfig})
		}
	}
}

// refuseCutNames refuses clusters for which the operator cuts a name with dots. The cut may end at a dot, before the dash of the hash, and
// Kubernetes refuses such a name.
func (c *compiler) refuseCutNames() {
	for i := range c.fleet.Clusters {
		cl := &c.fleet.Clusters[i]
		name, cut := mondoo.ScanName(cl.AuditConfig, cl.Name)
		if cl.Quarantined || !cut || !strings.Contains(cl.AuditConfig, ".") {
			continue
		}
		cl.Quarantined = true
		c.reject(build.Resource{Path: cl.Origin.Path, Document: cl.Origin.Document}, cl.Name, []string{"metadata", "name"}, CodeScanName,
			fmt.Sprintf("the operator cuts the CronJob's name %s to 52 characters, and Kubernetes may refuse what is left: the audit config's name has a dot", name),
			"shorten the cluster's name, or give the audit config a name without dots")
	}
}

// claim notes the names that the operator makes for an entry, and refuses those of which another scan has one.
func (c *compiler) claim(owners map[string]scanOf, auditConfig, cluster string, by scanOf) {
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

func (c *compiler) refuseName(scan, other scanOf, name string) {
	cl := scan.cluster
	if cl == nil || cl.Quarantined {
		return
	}
	cl.Quarantined = true
	c.reject(build.Resource{Path: cl.Origin.Path, Document: cl.Origin.Document}, cl.Name, []string{"metadata", "name"}, CodeScanName,
		fmt.Sprintf("the operator names an object %s for this cluster of the audit config %s and for %s: it stops at the second, and no later cluster of that audit config is scanned", name, cl.AuditConfig, other.text),
		"give one of the two another name; until then neither is changed")
}

// entriesElsewhere are the entries of an audit config that isn't this fleet's.
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

// scansItself reports whether an audit config asks for a scan of the cluster that it is in.
func scansItself(auditConfig map[string]any) bool {
	return valueAt(auditConfig, "spec", "kubernetesResources", "enable") == true
}

// refuseOperatorSecrets refuses manifests of Secrets that the operator would overwrite or delete, and Muster put back, for ever.
func (c *compiler) refuseOperatorSecrets(auditConfigs map[string]map[string]any) {
	for i := range c.fleet.Secrets {
		s := &c.fleet.Secrets[i]
		if s.Cluster != "" {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(auditConfigs)) {
			if mondoo.IsOperatorSecret(name, s.Name) {
				c.quarantineSecret(build.Resource{Path: s.Origin.Path, Document: s.Origin.Document}, s, []string{"metadata", "name"}, CodeOperatorName,
					fmt.Sprintf("%s is a name of the operator's own for the audit config %s: it overwrites or deletes the Secret", s.Name, name), "give the Secret another name")
				break
			}
		}
	}
}
