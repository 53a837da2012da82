// Package fleet is what a path of a repository compiles to: audit configs, Secrets, and one record per cluster.
//
// There are two forms. Sealed still has handles where secrets belong; it can be linted and shown, and not applied. Opened
// has the secrets; it is the only form that can be planned and applied. The package holds values and decides nothing.
package fleet

import (
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Labels and annotations on what Muster applies.
const (
	// LabelSync names the AuditSync that an object belongs to.
	LabelSync = "muster.dev/sync"
	// AnnotationOrigin is "path@commit": the file that an object comes from, and the commit that last changed it.
	AnnotationOrigin = "muster.dev/origin"
	// AnnotationMadeFor is "auditConfig/cluster", on a Secret that Muster made from the credentials in a cluster's file. No
	// reference may name such a Secret, and no manifest may change it.
	AnnotationMadeFor = "muster.dev/made-for"
	// AnnotationReads changes on an audit config when a Secret has changed that the operator reads and doesn't watch: any change
	// of the audit config has the operator look again.
	AnnotationReads = "muster.dev/secrets-read"
)

// Origin is the place in Git that something comes from.
type Origin struct {
	Path     string `json:"path"`
	Document int    `json:"-"`
}

// AuditConfig is one MondooAuditConfig of the fleet.
type AuditConfig struct {
	Name string
	// Object is the audit config as Git has it, without its list of clusters. Nil: it exists in the management cluster, and
	// Muster owns the list alone.
	Object map[string]any
	Origin Origin
}

// Cluster is the record of one remote cluster.
type Cluster struct {
	Name        string
	AuditConfig string
	Origin      Origin
	// Quarantined says that an error finding keeps the cluster out of the change. Entry is then not to be used.
	Quarantined bool
	Entry       mondoo.Entry
	// Schedule is the schedule as it was written, with H; empty where the cluster has none of its own. The entry has it
	// resolved.
	Schedule string
	// Secrets are the names of the Secrets that Muster makes for the cluster. They end in a hash of what compile.Bound tells; while
	// the fleet is sealed, it may be mondoo.UnknownHash.
	Secrets []string
	// Hash changes when the entry or one of the Secrets does. It is made without any decrypted value, and is equal over
	// processes.
	Hash string
	// Handles are those in the cluster file, where the entry or the names of its Secrets depend on what is encrypted.
	Handles []string
	// File is the cluster file; nil for an entry that stands in an audit config of the repository.
	File *v1alpha1.ExternalCluster
	// Expires is the earliest end of what the Secrets of the repository hold for the cluster; zero when none has an end that can
	// be told, and while the fleet is sealed.
	Expires time.Time
}

// Use says what a Secret of a cluster is for, which decides how its content is checked.
type Use struct {
	// Key is the data key, such as "kubeconfig", and Field the field of the cluster file that it stands in or that names
	// the Secret.
	Key   string
	Field []string
}

// Text is a value of a sealed Secret: a handle, or text that isn't secret.
type Text struct {
	Value string
	// Base64 says that the value, once opened, is base64 (the data of a Secret manifest).
	Base64 bool
}

// SealedSecret is a Secret without its secrets.
type SealedSecret struct {
	Name   string
	Type   string
	Labels map[string]string
	// Annotations are those of the manifest. What Muster adds is not among them.
	Annotations map[string]string
	// Immutable says that the API server is to refuse changes of the data.
	Immutable bool
	Data      map[string]Text
	// Cluster and AuditConfig name whom the Secret was made for; empty for a manifest of the repository.
	Cluster, AuditConfig string
	// Generated says that a generator of a kustomization made it.
	Generated   bool
	Uses        []Use
	Origin      Origin
	Quarantined bool
	Hash        string
}

// Sealed is a compiled fleet whose secrets are still handles.
type Sealed struct {
	finding.Report
	Namespace string
	// Sync is the name of the AuditSync, the value of LabelSync; empty when there is none.
	Sync         string
	AuditConfigs []AuditConfig
	Secrets      []SealedSecret
	Clusters     []Cluster
	// Whole says why the tree was built in one piece; empty when it was not.
	Whole string
	// Generated are plain values that generators took from encrypted files.
	Generated []string
	// Source is the tree that the handles belong to.
	Source *seal.Tree
}

// Secret is a Secret as it will be applied.
type Secret struct {
	Name                 string
	Type                 string
	Labels               map[string]string
	Annotations          map[string]string
	Immutable            bool
	Data                 map[string]string
	Cluster, AuditConfig string
	Origin               Origin
	Quarantined          bool
	Hash                 string
	// Expires is the earliest end of the credentials in it; zero when none has an end that can be told.
	Expires time.Time
	// Destination is that of the kubeconfig in it, as credential.Facts has it.
	Destination string
}

// Opened is a fleet with its secrets.
type Opened struct {
	finding.Report
	Namespace    string
	Sync         string
	AuditConfigs []AuditConfig
	Secrets      []Secret
	Clusters     []Cluster
	Whole        string
	// Provisional says that files could not be opened for a reason outside of the repository and the keys, such as a key service
	// that refuses: opening the same fleet again may give more. Retry says that it may soon: a service doesn't answer for now.
	Provisional, Retry bool
	// Source is the tree that the fleet was read from; nil where nobody needs to know.
	Source *seal.Tree `json:"-"`
}

// Position returns where a field of what an origin names stands in its file, as load.File.Position does; zeros where that isn't
// known.
func (f *Opened) Position(origin Origin, field []string) (line, column int) {
	return position(f.Source, origin, field)
}

// Position is that of a field, as for Opened.
func (f *Sealed) Position(origin Origin, field []string) (line, column int) {
	return position(f.Source, origin, field)
}

func position(source *seal.Tree, origin Origin, field []string) (line, column int) {
	if source == nil || source.Loaded == nil {
		return 0, 0
	}
	file := source.Loaded.Files[origin.Path]
	if file == nil {
		return 0, 0
	}
	return file.Position(origin.Document, field)
}

// Entries are the entries of an audit config: those of its clusters that aren't quarantined, by name.
func (f *Opened) Entries(auditConfig string) []mondoo.Entry { return entries(f.Clusters, auditConfig) }

// Entries are the entries of an audit config, as for Opened.
func (f *Sealed) Entries(auditConfig string) []mondoo.Entry { return entries(f.Clusters, auditConfig) }

func entries(clusters []Cluster, auditConfig string) []mondoo.Entry {
	var list []mondoo.Entry
	for _, c := range clusters {
		if c.AuditConfig == auditConfig && !c.Quarantined {
			list = append(list, c.Entry)
		}
	}
	return list
}

// Quarantined counts the clusters that are kept out of the change.
func Quarantined(clusters []Cluster) int {
	n := 0
	for _, c := range clusters {
		if c.Quarantined {
			n++
		}
	}
	return n
}
