package load

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/muster-gitops/muster/clusters/finding"
)

// configs follows the references to files that aren't resources: patches, generators and the like. An error in one affects every
// cluster, so it stops the tree.
func (w *walker) configs(k *Kustomization) {
	s := &k.Spec
	for i := range s.Patches {
		at := k.Patch(i)
		w.notEmpty(w.shared(k, &s.Patches[i].Path, append(at, "path")...))
		w.inline(k, s.Patches[i].Patch, append(at, "patch")...)
		if (strings.TrimSpace(s.Patches[i].Patch) == "") == (s.Patches[i].Path == "") && i >= k.strategic {
			w.rejectField(k, at, finding.Finding{Code: CodeKustomization,
				Message: "a patch must have either patch or path; kustomize refuses it", Fix: "set one of the two"})
		}
	}
	if k.strategic > 0 && !slices.ContainsFunc(s.Patches[:k.strategic], func(p types.Patch) bool { return w.hasDocument(k, p) }) {
		w.rejectField(k, []string{"patchesStrategicMerge"}, finding.Finding{Code: CodeKustomization,
			Message: "patchesStrategicMerge has no patch, and kustomize refuses it", Fix: "remove the field"})
	}
	for i := range s.PatchesJson6902 { //nolint:staticcheck // deprecated, and still read
		w.notEmpty(w.shared(k, &s.PatchesJson6902[i].Path, fieldPath("patchesJson6902", i, "path")...)) //nolint:staticcheck // see above
		w.inline(k, s.PatchesJson6902[i].Patch, fieldPath("patchesJson6902", i, "patch")...)            //nolint:staticcheck // see above
	}
	for i := range s.Replacements {
		w.shared(k, &s.Replacements[i].Path, fieldPath("replacements", i, "path")...)
	}
	for i := range s.Configurations {
		w.shared(k, &s.Configurations[i], fieldPath("configurations", i)...)
	}
	for i := range s.Crds {
		w.shared(k, &s.Crds[i], fieldPath("crds", i)...)
	}
	for i := range s.ConfigMapGenerator {
		w.literals(k, s.ConfigMapGenerator[i].LiteralSources, "configMapGenerator", i)
		w.generatorInputs(k, &s.ConfigMapGenerator[i].KvPairSources, "configMapGenerator", i)
	}
	for i := range s.SecretGenerator {
		w.literals(k, s.SecretGenerator[i].LiteralSources, "secretGenerator", i)
		w.generatorInputs(k, &s.SecretGenerator[i].KvPairSources, "secretGenerator", i)
	}
	for field, list := range map[string][]string{"generators": s.Generators, "transformers": s.Transformers, "validators": s.Validators} {
		w.plugins(k, field, list)
	}
}

// shared reads a YAML file that a kustomization needs as a whole, and rewrites the reference to its local form.
func (w *walker) shared(k *Kustomization, ref *string, field ...string) *File {
	if *ref == "" {
		return nil
	}
	f := w.sharedFile(k, ref, field...)
	if f == nil {
		return nil
	}
	if f.Documents == nil {
		if problem := w.parse(f); problem != nil {
			w.Stop(*problem)
			return nil
		}
	}
	if problem := checkShaping(f); problem != nil {
		w.Stop(*problem)
		return nil
	}
	return f
}

// hasDocument reports whether a patch has a document.
func (w *walker) hasDocument(k *Kustomization, p types.Patch) bool {
	f := w.Files[path.Join(k.Dir, p.Path)]
	if p.Path == "" {
		f = &File{Path: k.path(), Data: p.Patch}
		if w.parse(f) != nil {
			return true // inline has reported it
		}
	}
	return f == nil || len(f.Documents) > 0
}

// notEmpty warns about an empty patch file. kustomize treats it as a patch without changes, so the clusters lose its effect.
func (w *walker) notEmpty(patch *File) {
	if patch != nil && len(patch.Documents) == 0 {
		w.Add(finding.Finding{Code: CodeEmpty, Severity: finding.Warning, Path: patch.Path, Line: 1,
			Message: "the patch is empty, and has no effect", Fix: "restore its content, or remove it from the kustomization"})
	}
}

// sharedFile is like shared, for files of any format.
func (w *walker) sharedFile(k *Kustomization, ref *string, field ...string) *File {
	name, problem := w.local(k.Dir, *ref)
	if problem == nil {
		var f *File
		if f, problem = w.Read(name); problem == nil {
			*ref = localRef(k.Dir, name)
			return f
		}
		problem.Message = fmt.Sprintf("%s: %s", name, problem.Message)
	}
	w.rejectField(k, field, *problem)
	return nil
}

// fieldPath returns a field in the form of File.Position.
func fieldPath(parts ...any) []string {
	field := make([]string, len(parts))
	for i, p := range parts {
		if n, ok := p.(int); ok {
			field[i] = fmt.Sprintf("[%d]", n)
			continue
		}
		field[i] = fmt.Sprint(p)
	}
	return field
}

// inline checks an inline patch, because kustomize's error would print all of it.
func (w *walker) inline(k *Kustomization, text string, field ...string) {
	if text == "" {
		return
	}
	f := &File{Path: k.path(), Data: text}
	if problem := w.parse(f); problem != nil {
		w.rejectField(k, field, finding.Finding{Code: problem.Code, Message: "the inline patch is " + problem.Message})
	} else if problem := checkShaping(f); problem != nil {
		w.rejectField(k, field, *problem)
	}
}

// literals checks the literals of a generator, because kustomize would print a bad one, which may be a password. The finding
// only has its position.
func (w *walker) literals(k *Kustomization, list []string, field string, index int) {
	for i, literal := range list {
		if strings.Index(literal, "=") < 1 {
			w.rejectField(k, fieldPath(field, index, "literals", i), finding.Finding{Code: CodeKustomization,
				Message: fmt.Sprintf("%s[%d].literals[%d] is not in the form key=value", field, index, i), Fix: "write key=value"})
		}
	}
}

// generatorInputs reads the inputs of a ConfigMap or Secret generator. An entry of "files" is "key=path" or "path".
func (w *walker) generatorInputs(k *Kustomization, src *types.KvPairSources, field string, index int) {
	if src.EnvSource != "" {
		w.sharedFile(k, &src.EnvSource, fieldPath(field, index, "env")...)
	}
	for i := range src.EnvSources {
		w.sharedFile(k, &src.EnvSources[i], fieldPath(field, index, "envs", i)...)
	}
	for i, entry := range src.FileSources {
		key, name, found := strings.Cut(entry, "=")
		if !found {
			key, name = path.Base(entry), entry
		}
		if w.sharedFile(k, &name, fieldPath(field, index, "files", i)...) != nil {
			src.FileSources[i] = key + "=" + name
		}
	}
}

// plugins checks a list of generator, transformer or validator configurations, which are inline YAML or files. Only kustomize's
// builtins work, and none may refer to anything remote. A folder is refused: only kustomize would know what its kustomization
// renders, and it would fetch remote references.
func (w *walker) plugins(k *Kustomization, field string, list []string) {
	for i, entry := range list {
		at := fieldPath(field, i)
		if strings.Contains(entry, "\n") {
			f := &File{Path: k.path(), Data: entry}
			if problem := w.parse(f); problem != nil {
				w.rejectField(k, at, finding.Finding{Code: problem.Code, Message: "the inline configuration is " + problem.Message})
				continue
			}
			if problem := checkShaping(f); problem != nil {
				w.rejectField(k, at, *problem)
				continue
			}
			w.checkPlugin(k, at, f)
			w.pluginInputs(k, at, field, f)
			continue
		}
		name, problem := w.local(k.Dir, entry)
		if problem != nil {
			w.rejectField(k, at, *problem)
			continue
		}
		if w.isFolder(name) {
			w.rejectField(k, at, finding.Finding{Code: CodeUnsupported, Message: fmt.Sprintf("%s is a folder; Muster checks each configuration before kustomize runs it", name),
				Fix: "list the files of the folder here"})
		} else if f := w.shared(k, &list[i], at...); f != nil {
			w.checkPlugin(k, at, f)
			w.pluginInputs(k, at, field, f)
		}
		list[i] = localRef(k.Dir, name)
	}
}

// pluginInputs reads the files that generator configurations name.
func (w *walker) pluginInputs(k *Kustomization, at []string, field string, f *File) {
	if field != "generators" {
		return
	}
	for _, d := range f.Documents {
		for _, ref := range PluginInputs(d.Node()) {
			name := ref.Value
			if _, after, found := strings.Cut(name, "="); found {
				name = after
			}
			w.sharedFile(k, &name, at...)
		}
	}
}

// PluginInputs returns the file entries in the configuration of a ConfigMap or Secret generator: "path" or "key=path".
func PluginInputs(config *yaml.Node) []*yaml.Node {
	var list []*yaml.Node
	kind := scalar(Field(config, "kind"))
	if kind != "SecretGenerator" && kind != "ConfigMapGenerator" {
		return nil
	}
	for _, field := range []string{"files", "envs"} {
		entries := Field(config, field)
		if entries != nil && entries.Kind == yaml.AliasNode {
			entries = entries.Alias
		}
		if entries == nil || entries.Kind != yaml.SequenceNode {
			continue
		}
		for _, entry := range entries.Content {
			if entry.Kind == yaml.ScalarNode {
				list = append(list, entry)
			}
		}
	}
	return list
}

// builtins are kustomize's built-in plugins, without HelmChartInflationGenerator, which runs a program.
var builtins = []string{"AnnotationsTransformer", "ConfigMapGenerator", "HashTransformer", "IAMPolicyGenerator", "ImageTagTransformer", "LabelTransformer",
	"NamespaceTransformer", "PatchJson6902Transformer", "PatchStrategicMergeTransformer", "PatchTransformer", "PrefixSuffixTransformer", "PrefixTransformer",
	"ReplacementTransformer", "ReplicaCountTransformer", "SecretGenerator", "SuffixTransformer", "ValueAddTransformer"}

// checkPlugin refuses configurations that would run a program or fetch something.
func (w *walker) checkPlugin(k *Kustomization, at []string, f *File) {
	for _, d := range f.Documents {
		switch {
		case d.APIVersion == "builtin" && d.Kind == "HelmChartInflationGenerator":
			w.rejectField(k, at, finding.Finding{Code: CodeUnsupported, Message: "HelmChartInflationGenerator runs Helm, which Muster does not",
				Fix: "commit what the chart renders"})
		case d.APIVersion != "builtin" || !slices.Contains(builtins, d.Kind):
			w.rejectField(k, at, finding.Finding{Code: CodeUnsupported,
				Message: fmt.Sprintf("%s is not a builtin of kustomize (apiVersion: builtin), and Muster runs no plugins", d.Kind)})
		}
		if ref := remoteScalar(d.Node()); ref != "" {
			w.rejectField(k, at, finding.Finding{Code: CodeRemote, Message: fmt.Sprintf("%s is remote; Muster only builds from this commit", redactURL(ref)),
				Fix: "copy its content into the repository"})
		}
	}
}

// remoteScalar returns the first value below n that could be fetched. It skips labels and annotations, which are text.
func remoteScalar(n *yaml.Node) string {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.ShortTag() == "!!binary" {
			return "a value in base64" // kustomize would decode it
		}
		if strings.Contains(n.Value, "://") || strings.HasPrefix(n.Value, "git::") || strings.HasPrefix(n.Value, "git@") {
			return n.Value
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i].Value; key == "labels" || key == "annotations" {
				continue
			}
			if ref := remoteScalar(n.Content[i+1]); ref != "" {
				return ref
			}
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if ref := remoteScalar(item); ref != "" {
				return ref
			}
		}
	case yaml.AliasNode:
		return remoteScalar(n.Alias) // the anchor may be among labels, which aren't checked
	case yaml.DocumentNode:
		// parse strips it
	}
	return ""
}
