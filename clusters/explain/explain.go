// Package explain finds out where each field of a cluster's entry comes from: the cluster file, a patch or another part
// of a kustomization, a default, or the audit config.
//
// It finds origins by rebuilding. The sealed cluster file goes through the kustomizations above it one step at a
// time, and a field belongs to the last step that changed it. Anything that depends on other resources (replacements,
// vars) can't be followed like that, and is reported as unknown. The package needs no key: secrets stay handles, and
// the caller masks what it prints.
package explain

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Kind is the kind of a value's origin.
type Kind string

// The kinds of origins.
const (
	FromFile          Kind = "file"             // the cluster file, or the audit config manifest that contains the entry
	FromPatch         Kind = "patch"            // a patch of a kustomization
	FromKustomization Kind = "kustomization"    // another part of a kustomization, such as a prefix
	FromOperator      Kind = "operator-default" // the default in the operator's CRD
	FromMuster        Kind = "muster-default"   // Muster's default
	FromAuditConfig   Kind = "inherited"        // inherited from the audit config
	FromUnknown       Kind = "unknown"          // somewhere in the kustomizations
)

// Origin is a place that a value comes from.
type Origin struct {
	Kind Kind `json:"kind"`
	// Path and Line are the place in the repository; empty if there is none.
	Path string `json:"path,omitempty"`
	Line int    `json:"line,omitempty"`
	// Detail is more specific, such as "patches[0] for kind ExternalCluster".
	Detail string `json:"detail,omitempty"`
}

// Field is one field of an entry.
type Field struct {
	// Path is dotted, as in the MondooAuditConfig: "filtering.namespaces.exclude".
	Path string `json:"path"`
	// Value is a string, a boolean, a list, or an empty mapping; nil for an inherited value that isn't known. It may be
	// a handle.
	Value  any    `json:"value,omitempty"`
	Origin Origin `json:"origin"`
	// Overrides are the origins of the values that it had before, in order.
	Overrides []Origin `json:"overrides,omitempty"`
	// Note describes how Muster changed the written value.
	Note string `json:"note,omitempty"`
}

// Secret is a Secret that an entry needs.
type Secret struct {
	Name string `json:"name"`
	// Made is true if Muster makes it from the cluster file. Otherwise it is a manifest of the repository, with Path,
	// or must exist in the management cluster.
	Made bool   `json:"made"`
	Path string `json:"path,omitempty"`
	Keys []Key  `json:"keys"`
	// From is where its content is read from, other than the repository; empty if it isn't.
	From string `json:"from,omitempty"`
	// Renewed is true if Muster replaces its token by new ones.
	Renewed bool `json:"renewed,omitempty"`
}

// Key is one key of a Secret, with the place of its content.
type Key struct {
	Name   string  `json:"name"`
	Origin *Origin `json:"origin,omitempty"`
}

// Explanation is everything known about a cluster without looking at a management cluster.
type Explanation struct {
	Fields  []Field  `json:"fields"`
	Secrets []Secret `json:"secrets"`
	// Notes list what could not be followed.
	Notes []string `json:"notes,omitempty"`
}

// Cluster explains one cluster of a fleet. The entry is the one to explain, opened or not; for a quarantined cluster,
// it is the entry that it would have. The audit config may be nil if it isn't known. The error is ctx's.
func Cluster(ctx context.Context, f *fleet.Sealed, c fleet.Cluster, entry mondoo.Entry, auditConfig map[string]any) (Explanation, error) {
	x := &explainer{fleet: f, cluster: c, config: auditConfig}
	if err := x.follow(ctx); err != nil {
		return Explanation{}, err
	}
	leaves := map[string]any{}
	flatten("", entry.Canonical().Map(), leaves)
	for _, path := range slices.Sorted(maps.Keys(leaves)) {
		x.out.Fields = append(x.out.Fields, x.field(path, leaves[path]))
	}
	x.inherited(entry)
	x.secrets(entry)
	return x.out, nil
}

// Entry returns the entry of a cluster, or for a quarantined cluster the one that it would have. It returns false if
// the file is unreadable.
func Entry(c fleet.Cluster) (mondoo.Entry, bool) {
	switch {
	case !c.Quarantined:
		return c.Entry, true
	case c.File != nil && c.AuditConfig != "":
		return compile.Entry(c.File, c.AuditConfig, mondoo.UnknownHash, false), true
	}
	return mondoo.Entry{}, false
}

type explainer struct {
	fleet   *fleet.Sealed
	cluster fleet.Cluster
	config  map[string]any
	trail   *trail
	out     Explanation
}

// follow finds out what happens to the cluster file in the kustomizations.
func (x *explainer) follow(ctx context.Context) error {
	tree := x.fleet.Source
	file := tree.Loaded.Files[x.cluster.Origin.Path]
	switch {
	case file == nil || x.cluster.Origin.Document >= len(file.Documents):
		x.trail = &trail{origins: map[string][]Origin{}}
		return nil
	case x.cluster.File == nil:
		x.trail = manifestTrail(file, x.cluster)
		return nil
	}
	var err error
	if x.trail, err = replay(ctx, x.fleet, x.cluster, file); err != nil {
		return err
	}
	x.out.Notes = append(x.out.Notes, x.trail.notes...)
	return nil
}

// secretFields are the fields of an entry that reference a Secret, with the fields of the cluster file that they may
// come from. The inline fields contain the content of a Secret that Muster makes.
var secretFields = map[string]struct{ inline, refs []string }{
	"kubeconfigSecretRef.name":                     {[]string{"kubeconfig", "kubeconfigFile", "kubeconfigFrom.vault.path", "kubeconfigFrom.secretRef.name"}, []string{"kubeconfigSecretRef.name"}},
	"serviceAccountAuth.credentialsSecretRef.name": {[]string{"serviceAccountAuth.token", "serviceAccountAuth.credentialsFrom.vault.path"}, []string{"serviceAccountAuth.credentialsSecretRef.name"}},
	"vaultAuth.caCertSecretRef.name":               {[]string{"vaultAuth.caCert"}, []string{"vaultAuth.caCertSecretRef.name"}},
	"vaultAuth.targetCACertSecretRef.name":         {[]string{"vaultAuth.targetCACert"}, []string{"vaultAuth.targetCACertSecretRef.name"}},
	"spiffeAuth.trustBundleSecretRef.name":         {[]string{"spiffeAuth.trustBundle"}, []string{"spiffeAuth.trustBundleSecretRef.name"}},
	"privateRegistriesPullSecretRef.name":          {[]string{"privateRegistries.dockerConfigJson", "privateRegistries.from.vault.path"}, []string{"privateRegistries.secretRef.name", "privateRegistriesPullSecretRef.name"}},
}

// operatorDefaults are the fields with a default in the operator's CRD.
var operatorDefaults = []string{"serviceAccountAuth.skipTLSVerify", "vaultAuth.authPath", "vaultAuth.secretsPath", "spiffeAuth.socketPath"}

func (x *explainer) field(path string, value any) Field {
	f := Field{Path: path, Value: value}
	if path == "name" {
		f.from(x.trail.at("metadata.name"))
		return f
	}
	if m, ok := secretFields[path]; ok {
		for _, source := range m.inline {
			if f.from(x.trail.at("spec." + source)) {
				f.Note = "a Secret that Muster makes from spec." + source
				return f
			}
		}
		for _, source := range m.refs {
			if f.from(x.trail.at("spec." + source)) {
				return f
			}
		}
	}
	switch {
	case f.from(x.trail.at("spec." + path)):
		if written, ok := x.trail.value("spec." + path); path == "schedule" && ok && !reflect.DeepEqual(written, value) {
			f.Note = fmt.Sprintf("Muster resolved H in %q", written)
		}
	case path == "schedule":
		f.Origin = Origin{Kind: FromMuster, Detail: "neither the file nor the audit config has a schedule"}
	case slices.Contains(operatorDefaults, path):
		f.Origin = Origin{Kind: FromOperator}
	case path == "filtering.namespaces" && f.from(x.trail.at("spec.filtering")):
		f.Note = "an empty filter: all namespaces"
	default:
		f.Origin = Origin{Kind: FromUnknown, Path: x.cluster.Origin.Path}
	}
	return f
}

// from sets the origins of a field, the last of which counts.
func (f *Field) from(origins []Origin) bool {
	if len(origins) == 0 {
		return false
	}
	f.Origin, f.Overrides = origins[len(origins)-1], origins[:len(origins)-1]
	return true
}

// inherited adds the fields that the entry omits and the operator fills in, from the audit config or by default.
func (x *explainer) inherited(e mondoo.Entry) {
	if e.Schedule == "" {
		x.inherit("schedule", "kubernetesResources", "schedule")
	}
	if !e.ContainerImageScanning {
		x.out.Fields = append(x.out.Fields, Field{Path: "containerImageScanning", Value: false, Origin: Origin{Kind: FromOperator}})
	}
	if e.Filtering == nil {
		x.inherit("filtering", "filtering")
	}
	if e.ContainerImageScanning && e.Repositories == nil {
		x.inherit("repositories", "containers", "repositories")
	}
	slices.SortStableFunc(x.out.Fields, func(a, b Field) int { return strings.Compare(a.Path, b.Path) })
}

func (x *explainer) inherit(path string, field ...string) {
	field = append([]string{"spec"}, field...)
	f := Field{Path: path, Origin: Origin{Kind: FromAuditConfig, Detail: strings.Join(field, ".") + " of the audit config " + x.cluster.AuditConfig}}
	value, _, err := unstructured.NestedFieldNoCopy(x.config, field...)
	switch f.Value = value; {
	case x.config == nil:
		f.Note = "unknown here; use --live to read the management cluster"
	case value == nil || err != nil:
		f.Note = "not set there"
	}
	for _, c := range x.fleet.AuditConfigs {
		if file := x.fleet.Source.Loaded.Files[c.Origin.Path]; c.Name == x.cluster.AuditConfig && c.Object != nil && file != nil {
			f.Origin.Path = c.Origin.Path
			f.Origin.Line, _ = file.Position(c.Origin.Document, field)
		}
	}
	x.out.Fields = append(x.out.Fields, f)
}

// secrets lists the Secrets that the entry names, in the order of its fields.
func (x *explainer) secrets(e mondoo.Entry) {
	for ref := range compile.References(&e) {
		s := Secret{Name: ref.Name}
		i := slices.IndexFunc(x.fleet.Secrets, func(s fleet.SealedSecret) bool {
			// In a sealed fleet, the hash in a name may be unknown.
			return s.Name == ref.Name || s.Cluster != "" && mondoo.IsMade(ref.Name) && mondoo.WithoutHash(s.Name) == mondoo.WithoutHash(ref.Name)
		})
		if i < 0 {
			for _, key := range ref.Keys {
				s.Keys = append(s.Keys, Key{Name: key})
			}
			x.out.Secrets = append(x.out.Secrets, s)
			continue
		}
		sealed := x.fleet.Secrets[i]
		s.Made, s.Path, s.Renewed = sealed.Cluster != "", sealed.Origin.Path, sealed.Renew > 0
		if sealed.From != nil {
			s.From = sealed.From.String()
		}
		for _, key := range slices.Sorted(maps.Keys(sealed.Data)) {
			s.Keys = append(s.Keys, Key{key, x.content(sealed, key)})
		}
		x.out.Secrets = append(x.out.Secrets, s)
	}
}

// content returns the place of a value of a Secret.
func (x *explainer) content(s fleet.SealedSecret, key string) *Origin {
	loaded := x.fleet.Source.Loaded
	if ref, sealed := x.fleet.Source.Ref(s.Data[key].Value); sealed {
		o := &Origin{Kind: FromFile, Path: ref.Path, Detail: "encrypted"}
		if file := loaded.Files[ref.Path]; file != nil {
			o.Line, _ = file.Position(ref.Document, ref.Keys)
		}
		if len(ref.Keys) == 0 {
			o.Line, o.Detail = 0, "encrypted as a whole"
		}
		return o
	}
	o := &Origin{Kind: FromFile, Path: s.Origin.Path}
	file := loaded.Files[s.Origin.Path]
	if s.Cluster == "" {
		o.Detail = "as kustomize builds it"
	}
	for _, use := range s.Uses {
		if use.Key == key && file != nil && s.Cluster != "" {
			o.Line, _ = file.Position(s.Origin.Document, use.Field)
		}
	}
	return o
}

// manifestTrail returns the trail of an entry in an audit config of the repository.
func manifestTrail(file *load.File, c fleet.Cluster) *trail {
	t := &trail{origins: map[string][]Origin{}, notes: []string{"the entry is in an audit config; patches of the audit config are not followed"}}
	at := []string{"spec", "kubernetesResources", "externalClusters"}
	list := file.Documents[c.Origin.Document].Field(at...)
	for i := 0; list != nil && i < len(list.Content); i++ {
		entry := list.Content[i]
		if name := load.Field(entry, "name"); name == nil || name.Value != c.Name {
			continue
		}
		leaves := map[string]any{}
		flatten("", c.Entry.Map(), leaves)
		for path := range leaves {
			parts := strings.Split(path, ".")
			if load.Field(entry, parts...) == nil {
				continue
			}
			o := Origin{Kind: FromFile, Path: file.Path}
			o.Line, _ = file.Position(c.Origin.Document, append(append(slices.Clone(at), fmt.Sprintf("[%d]", i)), parts...))
			if path == "name" {
				path = "metadata.name"
			} else {
				path = "spec." + path
			}
			t.origins[path] = []Origin{o}
		}
	}
	return t
}
