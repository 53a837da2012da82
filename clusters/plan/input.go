package plan

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/inventory"
)

// Live is the state of the fleet's namespace in the management cluster.
type Live struct {
	// AuditConfigs are the objects by name, as decoded from JSON.
	AuditConfigs map[string]map[string]any
	Secrets      map[string]LiveSecret
	// EverySecret is true when Secrets holds every Secret of the namespace. Only then is a named Secret reported as
	// missing.
	EverySecret bool
	// Inventories are the inventories of all AuditSyncs.
	Inventories []*inventory.Inventory
	// Reserved maps each Secret that an AuditSync of the namespace itself uses (keys, Git credentials, webhook tokens)
	// to its user, such as "the AuditSync prod". Nothing from a repository may change, remove or read them.
	Reserved map[string]string
	// Undeclared are fields that the CRD of audit configs lacks, as dotted paths from spec on, without indexes.
	Undeclared map[string]bool
	// Syncs are the AuditSyncs that exist. The inventory of any other AuditSync is abandoned and may be taken over.
	Syncs map[string]bool
}

// Version is the version of the live object that a change was planned for. Writes and deletions carry it, so that the
// API server refuses them if the object has changed since. It is zero if there was no object: the write then only
// creates, and fails if an object has appeared in between.
type Version = inventory.Version

// LiveSecret is a Secret in the management cluster.
type LiveSecret struct {
	Version
	Type                string
	Labels, Annotations map[string]string
	Immutable           bool
	Data                map[string][]byte
	// ManagedFields tell who changed it. They are read only for a drifted Secret, and may lack Muster's own.
	ManagedFields []metav1.ManagedFieldsEntry
}

// Renewed returns annotations and data of a live Secret, if it exists. Package renew finds a renewed token in them.
func (l Live) Renewed(secret string) (annotations map[string]string, data map[string][]byte) {
	s := l.Secrets[secret]
	return s.Annotations, s.Data
}

// Foreign decides what happens to entries that come from no file.
type Foreign string

// The policies for foreign entries.
const (
	KeepForeign   Foreign = "Keep"
	RemoveForeign Foreign = "Remove"
)

// Policy is the part of an AuditSync's spec that limits what a plan may do.
type Policy struct {
	// Revision is the commit that the fleet comes from.
	Revision string
	// Prune removes what is no longer in Git.
	Prune bool
	// MaxRemovals is how many clusters and Secrets one plan may remove, as a number or a percentage ("25%"). A
	// percentage always allows at least one.
	MaxRemovals string
	// Approved is the Approval of a plan whose held removals the user has approved.
	Approved string
	Foreign  Foreign
	// CorrectDrift reverts changes to live objects at an unchanged revision.
	CorrectDrift bool
	// Now is recorded in inventories as the time at which clusters changed. A preview leaves it zero, and no time is
	// recorded.
	Now time.Time
	// ScanChanged marks changed clusters as due for a scan, up to MaxScansDue.
	ScanChanged bool
	// Scanned reports whether a scan of a cluster's applied form has succeeded. It is called for clusters whose entries
	// were removed by hand. Nil means that no scan is known.
	Scanned func(auditConfig, cluster string) bool
	// Seen returns the cluster that was found behind the server of a cluster; zero if that isn't known. It may be nil.
	Seen func(auditConfig, cluster string) inventory.Seen
}

// now is Now in the precision of inventories.
func (p Policy) now() time.Time { return p.Now.UTC().Truncate(time.Second) }
