package author

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Placement is where the Secrets of an imported audit config go.
type Placement string

// The placements. Only with Inline do the clusters get Secrets of another name, so that the operator changes their CronJobs.
const (
	// InGit makes an encrypted manifest of each Secret, with its name. Clusters keep their references.
	InGit Placement = "git"
	// Inline writes the values into the cluster files.
	Inline Placement = "inline"
	// InCluster leaves the Secrets where they are. Clusters keep their references.
	InCluster Placement = "cluster"
)

// Import makes cluster files from what already exists elsewhere. Fill in the first fields, call its methods, and read the rest.
type Import struct {
	Placement Placement
	// Secrets are the live Secrets that entries may name.
	Secrets map[string]LiveSecret
	// Skip reports whether an entry is none of this import's business; nil if each is.
	Skip func(auditConfig, cluster string) bool
	// Now is when credentials are checked for expiry.
	Now time.Time

	Clusters  []*Draft
	Manifests []*Manifest
	// Left are the clusters that get no file.
	Left []Left
	// notes are those of a Secret that was looked at, by its name.
	notes map[string]string
}

// LiveSecret is a Secret of the management cluster.
type LiveSecret struct {
	Type      string
	Data      map[string][]byte
	Immutable bool
	// InGit means that its manifest is in Git already.
	InGit bool
	// Keep is why the Secret can't be managed from Git, such as "Helm manages it"; empty if it can.
	Keep string
}

// Left is a cluster that gets no file.
type Left struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
	Fix    string `json:"fix,omitempty"`
}

func (im *Import) leave(name, reason, fix string) {
	im.Left = append(im.Left, Left{Name: name, Reason: reason, Fix: fix})
}

// AuditConfig imports the entries of a live audit config. What an entry has and a cluster file can't express is in the notes of
// its draft. With several audit configs, each file names its own. The error is a *mondoo.ShapeError.
func (im *Import) AuditConfig(name string, object map[string]any, several bool) error {
	entries, err := mondoo.Entries(object)
	if err != nil {
		return err
	}
	times := map[string]int{}
	for _, entry := range entries {
		times[mondoo.TextAt(entry, "name")]++
	}
	for i, entry := range entries {
		cluster := mondoo.TextAt(entry, "name")
		switch n := times[cluster]; {
		case cluster == "":
			im.leave(fmt.Sprintf("entry %d of %s", i+1, name), "it has no name", "give it one")
		case n > 1:
			im.leave(cluster, fmt.Sprintf("%s has %d entries of this name, and the operator uses only the last", name, n), "remove the others, and import again")
			times[cluster] = -1 // reported
		case n == 1 && (im.Skip == nil || !im.Skip(name, cluster)):
			im.entry(name, cluster, entry, several)
		}
	}
	return nil
}

func (im *Import) entry(auditConfig, cluster string, raw map[string]any, several bool) {
	entry, err := mondoo.ParseEntry(raw)
	if err != nil {
		im.leave(cluster, "a field has another type than in the CRD", "correct the entry in the audit config, and import again")
		return
	}
	d := draftOf(cluster, entry)
	if several {
		d.Cluster.Spec.AuditConfig = auditConfig
	}
	for _, field := range UnknownFields(raw) {
		d.note("Muster does not know the field %s, so it isn't in the file; the live entry keeps it until a change of the file replaces the entry", field)
	}
	for ref := range compile.References(&entry) {
		im.reference(d, entry, ref)
	}
	im.add(d)
}

// add adds a draft, unless it has an error, or a name that another has.
func (im *Import) add(d *Draft) {
	name := d.Cluster.Metadata.Name
	if slices.ContainsFunc(im.Clusters, func(other *Draft) bool { return other.Cluster.Metadata.Name == name }) {
		im.leave(name, "another cluster has the same name, and a folder can't have both", "import it into another folder, or rename one of them there")
		return
	}
	for _, p := range d.Cluster.Validate(nil) {
		if p.Severity == finding.Error {
			im.leave(name, p.Message, p.Fix)
			return
		}
	}
	im.Clusters = append(im.Clusters, d)
}

// draftOf returns the cluster file of an entry, with its references.
func draftOf(name string, entry mondoo.Entry) *Draft {
	spec := entry.Canonical().Map()
	delete(spec, "name")
	d := New(name)
	file, _ := v1alpha1.Decode(map[string]any{"apiVersion": v1alpha1.APIVersion, "kind": v1alpha1.Kind,
		"metadata": map[string]any{"name": name}, "spec": spec}, nil) // Validate finds what is wrong
	d.Cluster.Spec = file.Spec
	if sa := d.Cluster.Spec.ServiceAccountAuth; sa != nil && !sa.SkipsTLS() {
		sa.SkipTLSVerify = nil
	}
	if ref := d.Cluster.Spec.PrivateRegistriesPullSecretRef; ref != nil {
		d.Cluster.Spec.PrivateRegistries = &v1alpha1.PrivateRegistries{SecretRef: ref}
		d.Cluster.Spec.PrivateRegistriesPullSecretRef = nil
	}
	return d
}

// UnknownFields are the fields of a live entry that a cluster file can't express, as dotted paths.
func UnknownFields(entry map[string]any) []string {
	spec := map[string]any{}
	for key, value := range entry {
		if key != "name" {
			spec[key] = value
		}
	}
	_, problems := v1alpha1.Decode(map[string]any{"apiVersion": v1alpha1.APIVersion, "kind": v1alpha1.Kind,
		"metadata": map[string]any{"name": "x"}, "spec": spec}, nil)
	var fields []string
	for _, p := range problems {
		if p.Code == v1alpha1.CodeUnknownField {
			fields = append(fields, v1alpha1.Problem{Field: p.Field[1:]}.Path())
		}
	}
	slices.Sort(fields)
	return fields
}

// Sort puts everything in the order of names.
func (im *Import) Sort() {
	slices.SortStableFunc(im.Clusters, func(a, b *Draft) int { return cmp.Compare(a.Cluster.Metadata.Name, b.Cluster.Metadata.Name) })
	slices.SortStableFunc(im.Manifests, func(a, b *Manifest) int { return cmp.Compare(a.Metadata.Name, b.Metadata.Name) })
	slices.SortStableFunc(im.Left, func(a, b Left) int { return cmp.Compare(a.Name, b.Name) })
}
