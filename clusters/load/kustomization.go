package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Kustomization is a kustomization of the tree.
type Kustomization struct {
	Dir string
	// File is the kustomization.yaml. It is nil for the substitute of a missing kustomization.yaml.
	File *File
	// Spec is the content as kustomize reads it, without resources. Deprecated fields are moved to their replacements, and every
	// local reference has the form "./x" or "../x".
	Spec types.Kustomization
	// Resources are the usable files and folders as paths from the root of the repository, including cluster files that the
	// kustomization does not list.
	Resources []string

	// listed is how many of Spec's resources come from "resources"; those after them come from "bases". strategic is how many of
	// Spec's patches come from "patchesStrategicMerge"; those after them come from "patches".
	listed, strategic int
	// empty reports that the file has no field with a value. kustomize refuses that.
	empty bool
}

// Patch returns the field of Spec.Patches[i] in File.
func (k *Kustomization) Patch(i int) []string {
	if i < k.strategic {
		return fieldPath("patchesStrategicMerge", i)
	}
	return fieldPath("patches", i-k.strategic)
}

// Ref returns Resources[i] in a form that kustomize can only read as local.
func (k *Kustomization) Ref(i int) string { return localRef(k.Dir, k.Resources[i]) }

// components returns the folders of the components.
func (k *Kustomization) components() []string {
	dirs := make([]string, len(k.Spec.Components))
	for i, ref := range k.Spec.Components {
		dirs[i] = path.Join(k.Dir, ref)
	}
	return dirs
}

func (k *Kustomization) resource(i int) []string {
	if i < k.listed {
		return fieldPath("resources", i)
	}
	return fieldPath("bases", i-k.listed)
}

// walker follows the references of kustomizations.
type walker struct {
	*Tree
	active map[string]bool // folders on the path from the root to the current one, to detect cycles
}

// kustomizationFile returns the path of the kustomization in dir, or "" if there is none. Two in one folder are an error, as
// they are for kustomize.
func (t *Tree) kustomizationFile(dir string) (string, *finding.Finding) {
	found := ""
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		p := path.Join(dir, name)
		entry, link, err := t.entry(p)
		switch {
		case err != nil || link == "" && entry.IsDir():
			continue
		case link != "" && link != p:
			return p, nil // reading it reports the link
		}
		if found != "" {
			return "", &finding.Finding{Code: CodeKustomization, Path: p,
				Message: fmt.Sprintf("the folder has two kustomizations, %s and %s", path.Base(found), name), Fix: "keep one of them"}
		}
		found = p
	}
	return found, nil
}

// visit reads the kustomization in dir and everything it refers to.
func (w *walker) visit(ctx context.Context, dir, file string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.Kustomizations[dir] != nil {
		return nil
	}
	k := w.parseKustomization(dir, file)
	if k == nil {
		return nil
	}
	w.Kustomizations[dir] = k
	w.noteDeprecated(k)
	w.active[dir] = true
	defer delete(w.active, dir)
	w.refuseUnsupported(k)
	if err := w.resources(ctx, k); err != nil {
		return err
	}
	if err := w.components(ctx, k); err != nil {
		return err
	}
	w.configs(k)
	return nil
}

func (w *walker) parseKustomization(dir, file string) *Kustomization {
	f, problem := w.Read(file)
	if problem == nil {
		problem = w.parse(f)
	}
	if problem != nil {
		w.Stop(*problem)
		return nil
	}
	if problem = checkShaping(f); problem != nil {
		w.Stop(*problem)
		return nil
	}
	k := &Kustomization{Dir: dir, File: f}
	if len(f.Documents) == 0 {
		w.Stop(finding.Finding{Code: CodeKustomization, Path: file, Line: 1, Message: "the kustomization is empty",
			Fix: "list its resources, or delete it to include every YAML file of the folder"})
		return nil
	}
	if err := unmarshal(&k.Spec, []byte(f.Data)); err != nil {
		w.Stop(finding.Finding{Code: CodeKustomization, Path: file, Line: 1,
			Message: "kustomize can't read this kustomization: " + unmarshalCause(err)})
		return nil
	}
	k.listed, k.strategic = len(k.Spec.Resources), len(k.Spec.PatchesStrategicMerge) //nolint:staticcheck // deprecated, and still read
	k.Spec.FixKustomization()
	if !w.validate(k) {
		return nil
	}
	k.Spec.Patches = append(strategicPatches(k.Spec.PatchesStrategicMerge), k.Spec.Patches...) //nolint:staticcheck // deprecated, and still read
	k.Spec.PatchesStrategicMerge = nil                                                         //nolint:staticcheck // see above
	if len(k.Spec.CommonLabels) > 0 {                                                          //nolint:staticcheck // see above
		k.Spec.Labels = append(k.Spec.Labels, types.Label{Pairs: k.Spec.CommonLabels, IncludeSelectors: true}) //nolint:staticcheck // see above
	}
	k.Spec.CommonLabels = nil //nolint:staticcheck // see above
	if i := slices.Index(k.Spec.BuildMetadata, types.ManagedByLabelOption); i >= 0 {
		k.Spec.BuildMetadata = slices.Delete(slices.Clone(k.Spec.BuildMetadata), i, i+1)
		if dir == w.Path { // kustomize only looks at the kustomization that it is run on
			k.Spec.Labels = append(slices.Clip(k.Spec.Labels), types.Label{Pairs: map[string]string{konfig.ManagedbyLabelKey: managedBy()}})
		}
	}
	return k
}

// validate checks a kustomization like kustomize. kustomize reads the first document only, and refuses an empty kustomization.
// The kustomization of the path itself may be empty, because it still includes the cluster files below it.
func (w *walker) validate(k *Kustomization) bool {
	problem := finding.Finding{Code: CodeKustomization, Path: k.File.Path, Line: 1}
	wrong := k.Spec.EnforceFields()
	k.empty = k.Spec.CheckEmpty() != nil
	switch first := k.File.Documents[0]; {
	case first.Index > 0:
		problem.Message, problem.Fix = "the first document is empty, and kustomize reads no others", "remove the empty document and its \"---\""
	case len(wrong) > 0:
		problem.Message, problem.Fix = "kustomize refuses this kustomization: "+strings.Join(wrong, "; "), "correct kind and apiVersion, or remove both"
		field := "apiVersion"
		if strings.HasPrefix(wrong[0], "kind") {
			field = "kind"
		}
		problem.Line, problem.Column = k.File.Position(0, []string{field})
	case k.Dir == w.Path && !validSortOptions(k.Spec.SortOptions):
		problem.Message, problem.Fix = "kustomize refuses these sortOptions", "write order: fifo, or order: legacy, which alone allows legacySortOptions"
		problem.Line, problem.Column = k.File.Position(0, []string{"sortOptions"})
	case k.Dir != w.Path && k.empty:
		problem.Message, problem.Fix = "the kustomization has no content, and kustomize refuses it", "list its resources, or remove the references to it"
	default:
		if len(k.File.Documents) > 1 {
			w.Add(finding.Finding{Code: CodeKustomization, Severity: finding.Warning, Path: k.File.Path, Line: k.File.Documents[1].Line,
				Message: "kustomize only reads the first document of a kustomization; a second one starts here", Fix: "put everything into one document"})
		}
		return true
	}
	w.Stop(problem)
	return false
}

// validSortOptions reports whether kustomize accepts sortOptions. It only looks at those of the path's own kustomization.
func validSortOptions(o *types.SortOptions) bool {
	return o == nil || o.Order == types.LegacySortOrder || o.Order == types.FIFOSortOrder && o.LegacySortOptions == nil
}

// managedBy is the value of the label that managedByLabel adds: kustomize and its version. kustomize itself would use the
// version of the program that it is built into: Muster's version, or "(devel)", which is not a valid label value.
var managedBy = sync.OnceValue(func() string {
	const module = "sigs.k8s.io/kustomize/api"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == module {
				return "kustomize-" + dep.Version
			}
		}
	}
	return "kustomize"
})

// deprecated are the fields that kustomize still builds, and their replacements. kustomize reports them on the standard error of
// the process.
var deprecated = []struct{ field, instead string }{{"bases", "resources"}, {"commonLabels", "labels"}, {"imageTags", "images"},
	{"patchesJson6902", "patches (which kustomize applies before labels and prefixes)"}, {"patchesStrategicMerge", "patches"}, {"vars", "replacements"}}

func (w *walker) noteDeprecated(k *Kustomization) {
	for _, d := range deprecated {
		if k.File.Documents[0].Field(d.field) == nil {
			continue
		}
		at := finding.Finding{Code: CodeDeprecated, Severity: finding.Info, Path: k.File.Path,
			Message: d.field + " is deprecated in kustomize", Fix: "use " + d.instead + " instead"}
		at.Line, at.Column = k.File.Position(0, []string{d.field})
		w.Add(at)
	}
}

// unmarshal parses a kustomization with kustomize's code, whose panics must not end the process.
func unmarshal(spec *types.Kustomization, data []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("kustomize panics on this input")
		}
	}()
	return spec.Unmarshal(data)
}

// strategicPatches converts patchesStrategicMerge to patches. kustomize runs one after the other.
func strategicPatches(list []types.PatchStrategicMerge) []types.Patch {
	var patches []types.Patch
	for _, entry := range list {
		patches = append(patches, strategicPatch(string(entry)))
	}
	return patches
}

// strategicPatch interprets an entry of patchesStrategicMerge as kustomize does: it is a patch if YAML reads it as anything but text, and
// otherwise a path. Empty mappings, comments and nulls alone are a patch without content.
func strategicPatch(entry string) types.Patch {
	hasContent := false
	for decoder := yaml.NewDecoder(strings.NewReader(entry)); ; {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		text := err != nil || len(document.Content) > 0 && document.Content[0].Kind == yaml.ScalarNode && document.Content[0].Tag != "!!null"
		if text && !strings.Contains(entry, "\n") {
			return types.Patch{Path: entry}
		}
		hasContent = hasContent || text || len(document.Content) > 0 && len(document.Content[0].Content) > 0
		if err != nil {
			break // the error is reported where the patch is read
		}
	}
	if !hasContent {
		return types.Patch{}
	}
	return types.Patch{Patch: entry}
}

// unmarshalCause keeps an error that names an unknown field. Other errors can quote values, such as the literals of a
// secretGenerator.
func unmarshalCause(err error) string {
	if _, field, ok := strings.Cut(err.Error(), "unknown field "); ok {
		return "unknown field " + field
	}
	return "a field has a value of the wrong type"
}

// refuseUnsupported reports fields that make kustomize run programs or fetch, or that affect the whole process.
func (w *walker) refuseUnsupported(k *Kustomization) {
	refuse := func(field, why, fix string) {
		w.rejectField(k, []string{field}, finding.Finding{Code: CodeUnsupported, Message: fmt.Sprintf("%s %s", field, why), Fix: fix})
	}
	s := &k.Spec
	if len(s.HelmCharts) > 0 {
		refuse("helmCharts", "runs Helm, which Muster does not", "commit what the chart renders")
	}
	if s.HelmGlobals != nil && len(s.HelmCharts) == 0 {
		refuse("helmGlobals", "runs Helm, which Muster does not", "commit what the chart renders")
	}
	if len(s.OpenAPI) > 0 {
		refuse("openapi", "replaces the schema of the whole process, and so of other repositories", "use a JSON patch for lists that need merging by key")
	}
}

// rejectField stops the tree with a finding at a field of a kustomization.
func (w *walker) rejectField(k *Kustomization, field []string, f finding.Finding) {
	f.Path = k.path()
	if k.File != nil {
		f.Line, f.Column = k.File.Position(0, field)
	}
	w.Stop(f)
}

func (k *Kustomization) path() string {
	if k.File == nil {
		return k.Dir
	}
	return k.File.Path
}

// resources follows "resources" (and "bases", which kustomize has moved there) and keeps the usable ones.
func (w *walker) resources(ctx context.Context, k *Kustomization) error {
	for i, ref := range k.Spec.Resources {
		field := k.resource(i)
		name, problem := w.local(k.Dir, ref)
		if problem != nil {
			w.rejectField(k, field, *problem)
			continue
		}
		if w.isFolder(name) {
			if err := w.folder(ctx, k, field, name, types.KustomizationKind); err != nil {
				return err
			}
			k.Resources = append(k.Resources, name)
			continue
		}
		if w.resourceFile(k, field, name) {
			k.Resources = append(k.Resources, name)
		}
	}
	k.Spec.Resources = nil
	return nil
}

// folder follows a reference to another kustomization, which must be of the given kind.
func (w *walker) folder(ctx context.Context, k *Kustomization, field []string, dir, kind string) error {
	file, problem := w.kustomizationFile(dir)
	switch {
	case slices.ContainsFunc(strings.Split(localRef(k.Dir, dir), "/"), func(name string) bool { return name != ".." && strings.Contains(name, "..") }):
		w.rejectField(k, field, finding.Finding{Code: CodeUnsupported, Message: fmt.Sprintf("kustomize refuses %s as a base because of \"..\" in a name", dir), Fix: "rename the folder"})
	case problem != nil:
		w.Stop(*problem)
	case file == "":
		w.rejectField(k, field, finding.Finding{Code: CodeNotFound,
			Message: fmt.Sprintf("%s has no kustomization.yaml", dir), Fix: "add one, or list the files of the folder"})
	case w.active[dir]:
		w.rejectField(k, field, finding.Finding{Code: CodeCycle, Message: fmt.Sprintf("%s includes this kustomization in turn", dir)})
	default:
		if err := w.visit(ctx, dir, file); err != nil {
			return err
		}
		below := w.Kustomizations[dir]
		switch {
		case below == nil || kind == "" || below.Spec.Kind == kind:
		case kind == types.ComponentKind:
			w.rejectField(k, field, finding.Finding{Code: CodeKustomization, Message: dir + " is not a component", Fix: "list it under resources"})
		default:
			w.rejectField(k, field, finding.Finding{Code: CodeKustomization, Message: dir + " is a component", Fix: "list it under components"})
		}
	}
	return nil
}

// resourceFile reads a file of resources and reports whether it can be built. A bad file is left out by itself: it may have one
// cluster, and the others must go on. A reference that can't be a cluster file stops the tree. A missing file doesn't: its
// cluster was deleted without its line, or whatever uses the file reports it.
func (w *walker) resourceFile(k *Kustomization, field []string, name string) bool {
	f, problem := w.Read(name)
	if problem != nil {
		problem.Message = fmt.Sprintf("%s: %s", name, problem.Message)
		problem.Line, problem.Column = k.File.Position(0, field)
		problem.Path = k.path()
		if problem.Code == CodeNotFound && problem.Fix == "" {
			problem.Fix = "remove this line too, or restore the file"
		}
		if (problem.Code == CodeNotFound || problem.Code == CodeSubmodule) && !isYAML(name) {
			w.Stop(*problem) // a folder is a base that others build on
			return false
		}
		w.Missing(name, *problem)
		return false
	}
	return w.parseResources(f)
}

// parseResources parses a file of Kubernetes objects and reports whether it can be built.
func (w *walker) parseResources(f *File) bool {
	if f.Documents != nil {
		return true
	}
	return w.usable(f, w.parse(f))
}

// usable reports whether a file of Kubernetes objects can be built. It adds the findings, including problem, the result of parse.
func (w *walker) usable(f *File, problem *finding.Finding) bool {
	if problem != nil {
		delete(w.Files, f.Path)
		if mentionsAuditConfig(f.Data) {
			w.Stop(*problem)
		} else {
			w.Reject(*problem)
		}
		return false
	}
	if len(f.Documents) == 0 {
		w.Reject(finding.Finding{Code: CodeEmpty, Path: f.Path, Line: 1, Message: "the file is empty; objects applied from it before are kept",
			Fix: "delete the file to remove its objects, or restore its content"})
		return false
	}
	if f.parsed.unusable != nil {
		problem := *f.parsed.unusable
		problem.Path = f.Path
		w.Reject(problem)
		return false
	}
	if w.copies += f.parsed.copies; f.parsed.copies > 0 && w.copies > w.limits.Nodes {
		w.Reject(finding.Finding{Code: CodeAliases, Path: f.Path, Line: 1,
			Message: fmt.Sprintf("the files of this path up to this one grow by more than %d values when their aliases are expanded", w.limits.Nodes), Fix: "write the values out"})
		return false
	}
	if f.parsed.crlf {
		w.Add(finding.Finding{Code: CodeLineEnds, Severity: finding.Warning, Path: f.Path, Line: 1,
			Message: "the file has CRLF line endings; a Git setting that converts them breaks the MAC of an encrypted file",
			Fix:     "save it with LF, and add \"*.yaml text eol=lf\" to .gitattributes"})
	}
	return true
}

func checkObjects(documents []*Document) *finding.Finding {
	for _, d := range documents {
		if d.Encrypted && (strings.HasPrefix(d.Kind, "ENC[") || d.Kind == "" && d.Field("data") != nil) {
			return &finding.Finding{Code: CodeNotObject, Line: d.Line,
				Message: "the file is encrypted as a whole, so its kind can't be read",
				Fix:     "encrypt only its credentials (in .sops.yaml: " + v1alpha1.SopsRule + "), or use it as the kubeconfigFile of a cluster"}
		}
		if d.APIVersion == "" || d.Kind == "" {
			missing := "apiVersion"
			if d.Kind == "" {
				missing = "kind"
			}
			return &finding.Finding{Code: CodeNotObject, Line: d.Line,
				Message: "this is not a Kubernetes object: it has no " + missing,
				Fix:     "set apiVersion and kind, or list the file in .musterignore"}
		}
		if d.Name == "" && !strings.HasSuffix(d.Kind, "List") {
			return &finding.Finding{Code: CodeNotObject, Line: d.Line,
				Message: "this object has no metadata.name", Fix: "set one"}
		}
		if key := internalAnnotation(d.Node()); key != nil {
			return refuseInternal("", key)
		}
		if problem := notText(d); problem != nil {
			return problem
		}
		if d.IsCluster() && len(documents) > 1 {
			return &finding.Finding{Code: CodeDocuments, Line: documents[1].Line,
				Message: "a cluster file must have one document; a second one starts here",
				Fix:     "put each cluster into its own file"}
		}
	}
	return nil
}

// notText finds values that must be text where kustomize doesn't leave them alone: it fails the whole build on a null key, and
// converts annotations to text.
func notText(d *Document) *finding.Finding {
	if key := nullKey(d.Node()); key != nil {
		return &finding.Finding{Code: v1alpha1.CodeWrongType, Line: key.Line, Column: key.Column,
			Message: "a mapping has a key that YAML reads as null", Fix: "quote the key"}
	}
	annotations := d.Field("metadata", "annotations")
	if d.IsCluster() || annotations == nil || annotations.Kind != yaml.MappingNode {
		return nil // the rules of cluster files check it
	}
	for i := 1; i < len(annotations.Content); i += 2 {
		if n := annotations.Content[i]; n.Kind != yaml.AliasNode && n.ShortTag() != "!!str" {
			return &finding.Finding{Code: v1alpha1.CodeWrongType, Line: n.Line, Column: n.Column,
				Message: "an annotation must be a string", Fix: "quote it"}
		}
	}
	return nil
}

// nullKey returns the first null key in a document.
func nullKey(n *yaml.Node) *yaml.Node {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && isNull(child) {
			return child
		}
		if key := nullKey(child); key != nil {
			return key
		}
	}
	return nil
}

// internalPrefix is the prefix of the annotations that kustomize uses for itself. It trusts them, and may panic on bad ones.
const internalPrefix = konfig.ConfigAnnoDomain + "/"

// internalAnnotation returns the first key in a document that is reserved for kustomize.
func internalAnnotation(n *yaml.Node) *yaml.Node {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && strings.HasPrefix(child.Value, internalPrefix) {
			return child
		}
		if key := internalAnnotation(child); key != nil {
			return key
		}
	}
	return nil
}

// checkShaping refuses a patch, generator or the like that mentions a reserved annotation: with it, a patch could make kustomize
// hash a sealed object, whose name would then differ between processes. It also refuses long selectors.
func checkShaping(f *File) *finding.Finding {
	for _, d := range f.Documents {
		if n := mention(d.Node()); n != nil {
			return refuseInternal(f.Path, n)
		}
		if n := longSelector(d.Node(), "", false); n != nil {
			return &finding.Finding{Code: CodeSize, Path: f.Path, Line: n.Line, Column: n.Column,
				Message: fmt.Sprintf("a selector has more than %d characters", maxSelector), Fix: "select by kind or label, or use several patches"}
		}
	}
	return nil
}

// maxSelector is the maximum length of each part of a selector. kustomize matches it as a regular expression on every object.
const maxSelector = 1 << 10

// longSelector returns the first part of a selector that is too long. below is the key above n, and within is true inside a
// selector. The name of an image is also a regular expression. kustomize ignores the case of keys.
func longSelector(n *yaml.Node, below string, within bool) *yaml.Node {
	switch {
	case n.Kind == yaml.ScalarNode && within && len(n.Value) > maxSelector:
		return n
	case n.Kind == yaml.AliasNode && within:
		return longSelector(n.Alias, below, true)
	}
	for i, child := range n.Content {
		key, selects := below, within
		if n.Kind == yaml.MappingNode && i%2 == 1 {
			key = strings.ToLower(n.Content[i-1].Value)
			selects = within || key == "target" || key == "select" || key == "reject" || key == "name" && (below == "images" || below == "imagetag")
		}
		if found := longSelector(child, key, selects); found != nil {
			return found
		}
	}
	return nil
}

// mention returns the first text in a document with the domain of the reserved annotations. It ignores the slash, because JSON
// patches write it as "~1".
func mention(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, konfig.ConfigAnnoDomain) {
		return n
	}
	for _, child := range n.Content {
		if found := mention(child); found != nil {
			return found
		}
	}
	return nil
}

func refuseInternal(name string, at *yaml.Node) *finding.Finding {
	return &finding.Finding{Code: CodeUnsupported, Path: name, Line: at.Line, Column: at.Column,
		Message: internalPrefix + "… is reserved for kustomize", Fix: "remove it"}
}

func (w *walker) components(ctx context.Context, k *Kustomization) error {
	for i, ref := range k.Spec.Components {
		field := []string{"components", fmt.Sprintf("[%d]", i)}
		name, problem := w.local(k.Dir, ref)
		if problem != nil {
			w.rejectField(k, field, *problem)
			continue
		}
		if err := w.folder(ctx, k, field, name, types.ComponentKind); err != nil {
			return err
		}
		k.Spec.Components[i] = localRef(k.Dir, name)
	}
	return nil
}

// local converts a reference in a kustomization to a path in the repository. Remote references are refused by their form. The
// others can't be remote for kustomize, because localRef puts "./" in front.
func (w *walker) local(dir, ref string) (string, *finding.Finding) {
	if strings.TrimSpace(ref) == "" {
		return "", &finding.Finding{Code: CodeKustomization, Message: "this item is empty", Fix: "name a file or folder, or remove the item"}
	}
	if IsRemote(ref) && !w.isFile(dir, ref) {
		return "", &finding.Finding{Code: CodeRemote,
			Message: fmt.Sprintf("%s is remote; Muster only builds from this commit", redactURL(ref)),
			Fix:     "copy its content into the repository"}
	}
	name := path.Join(dir, ref)
	if path.IsAbs(ref) || !fs.ValidPath(name) {
		return "", &finding.Finding{Code: CodeOutside, Message: fmt.Sprintf("%s is outside of the repository", ref),
			Fix: "keep every file that the path needs inside the repository"}
	}
	return name, nil
}

// isFile reports whether a file exists for a reference that looks remote, such as "a:b.yaml". kustomize prefers the file, except
// for HTTP URLs.
func (w *walker) isFile(dir, ref string) bool {
	if u, err := url.Parse(ref); err == nil && (u.Scheme == "http" || u.Scheme == "https") || path.IsAbs(ref) {
		return false
	}
	entry, link, err := w.entry(path.Join(dir, ref))
	return err == nil && link == "" && entry.Type().IsRegular()
}

// IsRemote reports whether kustomize might fetch a reference: a URL, a Git address in scp form, or a short form.
func IsRemote(ref string) bool {
	if strings.Contains(ref, "://") || strings.HasPrefix(ref, "git::") || strings.HasPrefix(ref, "gh:") {
		return true
	}
	if host, rest, ok := strings.Cut(ref, ":"); ok && rest != "" && !strings.Contains(host, "/") {
		return true // git@host:path
	}
	return strings.HasPrefix(ref, "github.com/")
}

// redactURL removes user, password and query from a reference before it is shown.
func redactURL(ref string) string {
	scheme, rest, ok := strings.Cut(ref, "://")
	if !ok {
		return ref
	}
	if at := strings.LastIndex(strings.SplitN(rest, "/", 2)[0], "@"); at >= 0 {
		rest = rest[at+1:]
	}
	rest, _, _ = strings.Cut(rest, "?")
	return scheme + "://" + rest
}

// localRef returns the path of a file relative to dir, in a form that kustomize can only read as local.
func localRef(dir, name string) string {
	up := ""
	for dir != "." && name != dir && !strings.HasPrefix(name, dir+"/") {
		dir = path.Dir(dir)
		up += "../"
	}
	rel := name
	if dir != "." {
		rel = strings.TrimPrefix(strings.TrimPrefix(name, dir), "/")
	}
	if up != "" {
		return path.Clean(up + rel)
	}
	return "./" + rel
}

// refuseDuplicates leaves out objects with the same name in the files of a kustomization. Muster can't know which one is meant,
// so it uses neither.
func (w *walker) refuseDuplicates(k *Kustomization) {
	type place struct {
		file *File
		doc  int
	}
	first, again := make(map[string]place, len(k.Resources)), map[string][]place{}
	var order []string
	for _, name := range k.Resources {
		f := w.Files[name]
		if f == nil || f.Documents == nil {
			continue
		}
		for i, d := range f.Documents {
			id := d.id
			former, twice := first[id]
			switch {
			case !twice:
				first[id] = place{f, i}
				continue
			case again[id] == nil:
				order, again[id] = append(order, id), []place{former}
			}
			again[id] = append(again[id], place{f, i})
		}
	}
	drop := map[string]bool{}
	for _, id := range order {
		var others []string
		for _, p := range again[id] {
			others = append(others, p.file.Path)
		}
		for i, p := range again[id] {
			d := p.file.Documents[p.doc]
			line, column := p.file.Position(p.doc, []string{"metadata", "name"})
			rest := slices.Delete(slices.Clone(others), i, i+1)
			problem := finding.Finding{Code: CodeDuplicateName, Path: p.file.Path, Line: line, Column: column,
				Cluster: clusterName(d),
				Message: fmt.Sprintf("%s %q is also in %s", d.Kind, d.Name, strings.Join(slices.Compact(rest), " and ")),
				Fix:     "give each a unique name; until then neither is changed"}
			if d.Kind == "MondooAuditConfig" {
				w.Stop(problem)
			} else {
				w.Reject(problem)
			}
			drop[p.file.Path] = true
		}
	}
	if len(drop) > 0 {
		k.Resources = slices.DeleteFunc(k.Resources, func(name string) bool { return drop[name] })
	}
}

func clusterName(d *Document) string {
	if d.IsCluster() {
		return d.Name
	}
	return ""
}
