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
// FieldManager for everything else. With one name for both, an audit config that was applied as a whole would lose its
// other fields when only its list is applied.
const (
	FieldManager = "muster"
	ListManager  = "muster-clusters"
)

// Author is a field manager that has set drifted fields, according to the API server's managedFields. Clients choose
// their names, so the name is a hint and proves nothing.
type Author struct {
	// Manager is shortened, and has no control characters.
	Manager string `json:"manager"`
	// Operation is Apply or Update, and Subresource is the request's, such as "status"; empty for the object itself.
	Operation   string `json:"operation"`
	Subresource string `json:"subresource,omitempty"`
	// Time is when the manager last changed any field of the object; zero if unknown.
	Time time.Time `json:"time,omitzero"`
	// Fields are the drifted fields that it set; empty if it removed the step's object.
	Fields []string `json:"fields,omitempty"`
}

// Limits for reading managedFields. The API server keeps at most ten entries for updates, one for each applying manager,
// and manager names of 128 bytes.
const (
	maxManagedEntries = 64
	maxManagedBytes   = 4 << 20
	maxManager        = 64
)

// listPath is the path of an audit config's list. The CRD declares it atomic: the manager that changes one entry manages
// all of them.
const listPath = "spec.kubernetesResources.externalClusters"

// authorsOf finds the last manager of each differing field, and groups the fields by manager, the most recent first.
// A field without a manager other than Muster, such as a removed field, gets no author.
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

// owner is a field manager with the paths of its fields.
type owner struct {
	Author
	paths [][]string
	// leaf is true for paths without managed fields below them: a value, or an atomic list or struct.
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
			continue // the author stays unknown
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

// Own reports whether a field manager is Muster.
func Own(manager string) bool { return manager == FieldManager || manager == ListManager }

// names returns the field names at the start of a path. Plans name an element of a list by the path of the list.
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

// has reports whether the owner manages the field, something in it, or an atomic value around it.
func (o *owner) has(field []string) bool {
	for i, path := range o.paths {
		n := min(len(path), len(field))
		if slices.Equal(path[:n], field[:n]) && (len(path) >= len(field) || o.leaf[i]) {
			return true
		}
	}
	return false
}

// managerName makes a name safe to print: invisible characters could change the text around it.
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

// Name is the manager for messages, quoted if it is empty or has unusual characters, with the subresource.
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

// Blame describes what drifted and who changed it: "schedule changed by kubectl-edit at 2026-11-23T03:50:00Z". The
// caller chooses how an author is printed.
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

// attribute records in every drifted step who changed what.
func (f *facts) attribute(steps []Step) {
	configs, lists := map[string][]metav1.ManagedFieldsEntry{}, map[string][]Author{}
	managed := func(name string) []metav1.ManagedFieldsEntry {
		if _, read := configs[name]; !read {
			configs[name] = managedFieldsOf(f.live.AuditConfigs[name])
		}
		return configs[name]
	}
	for i := range steps {
		s := &steps[i]
		if !s.Drift {
			continue
		}
		fields := make([]string, len(s.Fields))
		for i, field := range s.Fields {
			fields[i] = field.Path
		}
		switch s.Kind {
		case KindSecret:
			s.ChangedBy = authorsOf(f.live.Secrets[s.Name].ManagedFields, fields)
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

// managedFieldsOf returns the managedFields of an object decoded from JSON; none if they are absent or unreadable.
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
