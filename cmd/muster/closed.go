package main

import (
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// nameAsApplied gives the Secrets of a fleet that stayed closed the names that the management cluster has for them, since only keys
// can tell the hash in a name. What has no name there yet keeps mondoo.UnknownHash.
func nameAsApplied(opened *fleet.Opened, configs map[string]map[string]any) {
	opened.Clusters, opened.Secrets = slices.Clone(opened.Clusters), slices.Clone(opened.Secrets)
	hashes := map[string]string{} // by the name with the unknown hash
	for i := range opened.Clusters {
		c := &opened.Clusters[i]
		hash := appliedHash(*c, configs[c.AuditConfig])
		if hash == "" {
			continue
		}
		for _, name := range c.Secrets {
			hashes[name] = hash
		}
		*c = compile.Named(*c, c.File, hash)
	}
	for i := range opened.Secrets {
		if s := &opened.Secrets[i]; hashes[s.Name] != "" {
			s.Name = mondoo.WithHash(s.Name, hashes[s.Name])
		}
	}
}

// appliedHash is the hash in the names of the Secrets that the live entry of a cluster has. Empty: the hash is known, or there is none.
func appliedHash(c fleet.Cluster, config map[string]any) string {
	if len(c.Secrets) == 0 || !strings.HasSuffix(c.Secrets[0], "-"+mondoo.UnknownHash) {
		return ""
	}
	entries, err := mondoo.Entries(config)
	if err != nil {
		return "" // the live object has no list
	}
	at := slices.IndexFunc(entries, func(entry map[string]any) bool { return entry["name"] == c.Name })
	if at < 0 {
		return ""
	}
	live, err := mondoo.ParseEntry(entries[at])
	if err != nil {
		return ""
	}
	for ref := range compile.References(&live) {
		if mondoo.IsMade(ref.Name) && slices.Contains(c.Secrets, mondoo.WithHash(ref.Name, mondoo.UnknownHash)) {
			return strings.TrimPrefix(ref.Name, mondoo.WithHash(ref.Name, ""))
		}
	}
	return ""
}
