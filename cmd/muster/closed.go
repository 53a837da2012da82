package main

import (
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// nameAsApplied renames the Secrets of a fleet that was not decrypted to their names in the management cluster, since only
// keys can tell the hash in a name. A Secret with no name there yet keeps mondoo.UnknownHash.
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

// appliedHash is the hash in the names of the Secrets that the live entry of a cluster refers to. It is empty when the hash
// is known already, or when there is no such Secret.
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
