package plan

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// The field managers under which Muster applies: ListManager for the list of clusters of an audit config by itself,
// FieldManager for everything else. With one name for both, an audit config that was applied as a whole would lose every
// other field as soon as its list alone is applied.
const (
	FieldManager = "muster"
	ListManager  = "muster-clusters"
)

// Author is a field manager that has set fields which drifted, as the API server's managedFields tell it. The name is what
// the client has called itself: a hint for people, and no proof of anything.
type Author struct {
	// Manager is cut and without control characters.
	Manager string `json:"manager"`
	// Operation is Apply or Update, and Subresource what the request was for, such as "status"; empty for the object itself.
	Operation   string `json:"operation"`
	Subresource string `json:"subresource,omitempty"`
	// Time is when the manager last changed any of its fields of the object; zero when the API server doesn't say.
	Time time.Time `json:"time,omitzero"`
	// Fields are the drifted fields that it set; empty when it removed what the step is about.
	Fields []string `json:"fields,omitempty"`
}

// What bounds the reading of managedFields. The API server keeps at most ten entries of updates, one a manager that applies,
// and manager names of 128 bytes.
const (
	maxManagedEntries = 64
	maxManagedBytes   = 4 << 20
	maxManager        = 64
)

// listPath is where the audit config's list stands. The CRD has it as an atomic list: whoever changes an entry is the manager
// of all of them.
const listPath = "spec.kubernetesResources.externalClusters"

// authorsOf finds for each of the differing fields who has set it last, and groups the fields by whom: the most recent first.
// Nobody is named for a field that has no other manager than Muster, such as one that was taken out.
func authorsOf(managed []metav1.ManagedFieldsEntry, fields []string) []Author {
	owners := ownersOf(managed)
	var authors []Author
	for _, field := range fields {
		path := strings.Split(field, ".")
		last := -1
		for i := range owners {
			if owners[i].has(path) && (last < 0 || owners[i].Time.After(owners[last].Time)) {
				last = i
			}
		}
		if last >= 0 {
			owners[last].Fields = append(owners[last].Fields, field)
		}
	}
	for _, o := range owners {
		if len(o.Fields) > 0 {
			authors = append(authors, o.Author)
		}
	}
	slices.SortStableFunc(authors, func(a, b Author) int {
		return cmp.Or(b.Time.Compare(a.Time), strings.Compare(a.Manager, b.Manager))
	})
	return authors
}

// owner is a field manager with the fields that it manages, as paths of names.
type owner struct {
	Author
	paths [][]string
	// leaf says of each path that nothing below it is managed by itself: a value, or a list or struct that is one piece.
	leaf []bool
}

func ownersOf(managed []metav1.ManagedFieldsEntry) []owner {
	var owners []owner
	left := maxManagedBytes
	for _, entry := range managed[:min(len(managed), maxManagedEntries)] {
		if Own(entry.Manager) || entry.FieldsV1 == nil {
			continue
		}
		fields := entry.FieldsV1.GetRawBytes()
		if left -= len(fields); left < 0 {
			break
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(bytes.NewReader(fields)); err != nil {
			continue // who it was isn't known then
		}
		o := owner{Author: Author{Manager: managerName(entry.Manager), Operation: string(entry.Operation), Subresource: managerName(entry.Subresource)}}
		if entry.Time != nil {
			o.Time = entry.Time.UTC()
		}
		leaves := set.Leaves()
		set.Iterate(func(path fieldpath.Path) {
			o.paths, o.leaf = append(o.paths, names(path)), append(o.leaf, leaves.Has(path))
		})
		owners = append(owners, o)
	}
	return owners
}

// Own says whether a field manager is Muster.
func Own(manager string) bool { return manager == FieldManager || manager == ListManager }

// names are the field names at the start of a path. What stands in a list is in the plan's words the list.
func names(path fieldpath.Path) []string {
	var list []string
	for _, element := range path {
		if element.FieldName == nil {
			break
		}
		list = append(list, strings.Split(*element.FieldName, ".")...)
	}
	return list
}

// has says whether the owner manages the field, something in it, or the one piece that it stands in.
func (o *owner) has(field []string) bool {
	for i, path := range o.paths {
		n := min(len(path), len(field))
		if slices.Equal(path[:n], field[:n]) && (len(path) >= len(field) || o.leaf[i]) {
			return true
		}
	}
	return false
}

// managerName makes a name fit to be shown: what is no visible character could change what stands around it.
func managerName(name string) string {
	var b strings.Builder
	n := 0
	for _, r := range name {
		if n++; n > maxManager {
			b.WriteString("…")
			break
		}
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// String is "kubectl-edit at 2026-11-23T03:50:00Z". It doesn't change as time goes by, so conditions may hold it.
func (a Author) String() string {
	if a.Time.IsZero() {
		return a.Name()
	}
	return a.Name() + " at " + a.Time.UTC().Format(time.RFC3339)
}

// Name is the manager in words: in quotes where it could be taken for something else, and with what the request was for.
func (a Author) Name() string {
	name := a.Manager
	plain := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_./:@", r)
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		name = strconv.Quote(name)
	}
	if a.Subresource != "" {
		name += " (" + a.Subresource + ")"
	}
	return name
}

// Blame says what of a step has drifted and who did it: "schedule changed by kubectl-edit at 2026-11-23T03:50:00Z". The
// words for an author are the caller's.
func (s Step) Blame(who func(Author) string) string {
	by := func(text string, authors []Author) string {
		if len(authors) == 0 {
			return text
		}
		return text + " by " + who(authors[0])
	}
	switch {
	case s.Action == Add && s.Kind == KindCluster:
		return by("removed", s.ChangedBy)
	case s.Action == Add:
		return "deleted"
	}
	known := map[string]bool{}
	var parts []string
	for i, author := range s.ChangedBy {
		for _, field := range author.Fields {
			known[field] = true
		}
		parts = append(parts, by(some(author.Fields)+" changed", s.ChangedBy[i:]))
	}
	var rest []string
	for _, field := range s.Fields {
		if !known[field.Path] {
			rest = append(rest, field.Path)
		}
	}
	if len(rest) > 0 {
		parts = append(parts, some(rest)+" changed")
	}
	return strings.Join(parts, ", ")
}

// attribute notes for all steps of drift who has changed what.
func (p *planner) attribute() {
	configs, lists := map[string][]metav1.ManagedFieldsEntry{}, map[string][]Author{}
	managed := func(name string) []metav1.ManagedFieldsEntry {
		if _, read := configs[name]; !read {
			configs[name] = managedFieldsOf(p.live.AuditConfigs[name])
		}
		return configs[name]
	}
	for i := range p.plan.Steps {
		s := &p.plan.Steps[i]
		if !s.Drift {
			continue
		}
		fields := make([]string, len(s.Fields))
		for i, f := range s.Fields {
			fields[i] = f.Path
		}
		switch s.Kind {
		case KindSecret:
			s.ChangedBy = authorsOf(p.live.Secrets[s.Name].ManagedFields, fields)
		case KindAuditConfig:
			s.ChangedBy = authorsOf(managed(s.Name), fields)
		case KindCluster:
			if _, read := lists[s.AuditConfig]; !read {
				lists[s.AuditConfig] = authorsOf(managed(s.AuditConfig), []string{listPath})
			}
			for _, author := range lists[s.AuditConfig] {
				author.Fields = fields
				s.ChangedBy = append(s.ChangedBy, author)
			}
		}
	}
}

// managedFieldsOf are the managedFields of an object as JSON gives it; none when there are none, or they can't be read.
func managedFieldsOf(object map[string]any) []metav1.ManagedFieldsEntry {
	value, _, err := unstructured.NestedFieldNoCopy(object, "metadata", "managedFields")
	list, isList := value.([]any)
	if err != nil || !isList {
		return nil
	}
	data, err := json.Marshal(list[:min(len(list), maxManagedEntries)])
	if err != nil {
		return nil
	}
	var managed []metav1.ManagedFieldsEntry
	if err := json.Unmarshal(data, &managed); err != nil {
		return nil
	}
	return managed
}
