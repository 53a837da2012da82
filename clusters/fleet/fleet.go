// Package fleet defines what a path of a repository compiles to: audit configs, Secrets, and one record per cluster.
//
// A fleet has two forms. Sealed has handles in place of secrets; it can be linted and printed, but not applied. Opened
// has the secrets; only it can be planned and applied. The package holds values and decides nothing.
package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/muster-gitops/muster/clusters/credential"
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
	// AnnotationMadeFor is "auditConfig/cluster", on a Secret that Muster made from the credentials in a cluster's
	// file. Nothing may reference such a Secret, and no manifest may change it.
	AnnotationMadeFor = "muster.dev/made-for"
	// AnnotationRenewed is on a Secret whose token was renewed. It proves to whoever knows the token in Git that Muster wrote this one,
	// and reveals nothing of either. See package renew.
	AnnotationRenewed = "muster.dev/renewed-from"
	// AnnotationReads changes on an audit config when a Secret changes that the operator reads without watching it: any
	// change of the audit config makes the operator read it again.
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
	// Object is the audit config from Git, without its list of clusters. If it is nil, the audit config exists in the
	// management cluster, and Muster owns only the list.
	Object map[string]any
	Origin Origin
}

// Cluster is the record of one remote cluster.
type Cluster struct {
	Name        string
	AuditConfig string
	Origin      Origin
	// Quarantined is true if an error keeps the cluster out of the change. Entry must not be used then.
	Quarantined bool
	Entry       mondoo.Entry
	// Schedule is the schedule as written, with H; empty if the cluster has none. The entry has it resolved.
	Schedule string
	// Secrets are the names of the Secrets that Muster makes for the cluster. They end in the hash from compile.Bound.
	// In a sealed fleet, that may be mondoo.UnknownHash.
	Secrets []string
	// Hash changes when the entry or one of the Secrets does. It doesn't depend on decrypted values, and is the same in
	// every process.
	Hash string
	// Handles are the handles in the cluster file, if the entry or the names of its Secrets depend on encrypted values.
	Handles []string
	// File is the cluster file; nil for an entry in an audit config of the repository.
	File *v1alpha1.ExternalCluster
	// Expires is when the first of the cluster's credentials expires. It is zero if no expiry is known, and in a sealed fleet.
	Expires time.Time
	// Terms are how long its credentials work, as far as known, in the order in which they end. Of a token that is renewed, it is there
	// while the token can't be renewed.
	Terms []credential.Term
}

// Ends adds how long credentials of the cluster work. It leaves other copies of the cluster as they are.
func (c *Cluster) Ends(terms ...credential.Term) {
	c.Terms = slices.SortedFunc(slices.Values(slices.Concat(c.Terms, terms)), credential.Term.Compare)
	if len(c.Terms) > 0 && (c.Expires.IsZero() || c.Terms[0].Until.Before(c.Expires)) {
		c.Expires = c.Terms[0].Until
	}
}

// WarnBefore is how long before their end its credentials are reported; zero for the usual time.
func (c *Cluster) WarnBefore() time.Duration {
	if c.File == nil {
		return 0
	}
	return c.File.WarnBefore()
}

// Use is what a cluster uses a Secret for, which decides how its content is checked.
type Use struct {
	// Key is the data key, such as "kubeconfig". Field is the field of the cluster file that contains the value or
	// names the Secret.
	Key   string
	Field []string
	// WarnBefore is that of the cluster.
	WarnBefore time.Duration
}

// Text is a value of a sealed Secret: a handle, or a value that isn't secret.
type Text struct {
	Value string
	// Base64 is true if the opened value is base64, as in the data of a Secret manifest.
	Base64 bool
}

// SealedSecret is a Secret with handles in place of secrets.
type SealedSecret struct {
	Name   string
	Type   string
	Labels map[string]string
	// Annotations are the manifest's, without those that Muster adds.
	Annotations map[string]string
	// Immutable makes the API server refuse changes of the data.
	Immutable bool
	Data      map[string]Text
	// Cluster and AuditConfig are the cluster that the Secret was made for; empty for a manifest of the repository.
	Cluster, AuditConfig string
	// Generated is true if a kustomization's generator made it.
	Generated bool
	// Renew is the lifetime of the tokens that replace the one in it; zero for none.
	Renew       time.Duration
	Uses        []Use
	Origin      Origin
	Quarantined bool
	Hash        string
	// From is where its values come from, if that isn't the repository. Data is empty then.
	From *Source
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
	// Whole is why the tree was built as a whole; empty if it wasn't.
	Whole string
	// Generated are plain values that generators read from encrypted files.
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
	// Expires is when the first of its credentials expires; zero if no expiry is known. Terms are how long each of them works.
	// A token that is renewed counts in neither.
	Expires time.Time
	Terms   []credential.Term
	// WarnBefore is how long before their end they are reported; zero for the usual time. Of several clusters, the longest counts.
	WarnBefore time.Duration
	// Changes is when findings about it change by themselves, because of what expires; zero for never.
	Changes time.Time
	// Renew is the lifetime of the tokens that replace the one in it; zero for none.
	Renew time.Duration
	// Supplied is true if its values come from elsewhere and change without a commit. Version changes with them.
	Supplied bool
	Version  string
	// Destination is its kubeconfig's, from credential.Facts.
	Destination string
	// From and Uses are those of the sealed Secret.
	From *Source
	Uses []Use
}

// Due reports whether findings about the Secret may have changed by themselves since it was opened.
func (s *Secret) Due(now time.Time) bool { return !s.Changes.IsZero() && !now.Before(s.Changes) }

// Opened is a fleet with its secrets.
type Opened struct {
	finding.Report
	Namespace    string
	Sync         string
	AuditConfigs []AuditConfig
	Secrets      []Secret
	Clusters     []Cluster
	Whole        string
	// Provisional is true if files could not be opened for a reason outside the repository and the keys, such as a key
	// service that refuses: opening the same fleet again may succeed. Retry is true if it may succeed soon, because a
	// service doesn't answer at the moment.
	Provisional, Retry bool
	// Changes is when findings change by themselves, because of what expires; zero for never.
	Changes time.Time
	// Source is the tree that the fleet was read from; nil if positions aren't needed.
	Source *seal.Tree `json:"-"`
}

// Due reports whether findings may have changed by themselves since the fleet was opened.
func (f *Opened) Due(now time.Time) bool { return !f.Changes.IsZero() && !now.Before(f.Changes) }

// Unopened returns the fleet in the form of an opened one, with texts in place of all values of Secrets. It can be compared
// with another, and printed, but not applied.
func (f *Sealed) Unopened(text func(Text) string) *Opened {
	opened := &Opened{Report: f.Report.Clone(), Namespace: f.Namespace, Sync: f.Sync,
		AuditConfigs: f.AuditConfigs, Clusters: f.Clusters, Whole: f.Whole, Source: f.Source}
	for _, from := range f.Secrets {
		to := Secret{Name: from.Name, Type: from.Type, Labels: from.Labels, Annotations: from.Annotations, Immutable: from.Immutable,
			Data: make(map[string]string, len(from.Data)), Cluster: from.Cluster, AuditConfig: from.AuditConfig, Origin: from.Origin,
			Quarantined: from.Quarantined, Hash: from.Hash, Renew: from.Renew, From: from.From, Uses: from.Uses, Supplied: from.From != nil}
		for key, value := range from.Data {
			to.Data[key] = text(value)
		}
		opened.Secrets = append(opened.Secrets, to)
	}
	return opened
}

// Digest is a text for Unopened that changes with the value. The digest of an encrypted value is that of its ciphertext, so
// it also changes when the value is encrypted again.
func (f *Sealed) Digest(value Text) string {
	if f.Source != nil {
		if ref, sealed := f.Source.Ref(value.Value); sealed {
			return "sealed:" + ref.Digest
		}
	}
	sum := sha256.Sum256([]byte(value.Value))
	return "plain:" + hex.EncodeToString(sum[:])
}

// Position returns the place of a field in an origin's file, like load.File.Position; zeros if it isn't known.
func (f *Opened) Position(origin Origin, field []string) (line, column int) {
	return position(f.Source, origin, field)
}

// Position returns the place of a field, as for Opened.
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

// Entries returns the entries of an audit config's clusters that aren't quarantined, by name.
func (f *Opened) Entries(auditConfig string) []mondoo.Entry { return entries(f.Clusters, auditConfig) }

// Entries returns the entries of an audit config, as for Opened.
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
