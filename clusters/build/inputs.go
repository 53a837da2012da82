package build

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/seal"
)

// openInputs opens the encrypted files that generators take their content from. For a file that stays closed the build gets
// handles, which give the generated Secret another name than it will have: the finding says so.
func (b *builder) openInputs(ctx context.Context, opener Opener) {
	for _, dir := range slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations)) {
		k := b.tree.Loaded.Kustomizations[dir]
		for i, g := range k.Spec.SecretGenerator {
			field := []string{"secretGenerator", fmt.Sprintf("[%d]", i)}
			b.openSources(ctx, opener, k, g.KvPairSources, field)
			b.checkEnv(k, g.KvPairSources, field)
		}
		for i, g := range k.Spec.ConfigMapGenerator {
			b.checkEnv(k, g.KvPairSources, []string{"configMapGenerator", fmt.Sprintf("[%d]", i)})
		}
		for _, g := range b.pluginSources(k) {
			if g.kind == "SecretGenerator" {
				b.openSources(ctx, opener, k, g.KvPairSources, g.field)
			}
			b.checkEnv(k, g.KvPairSources, g.field)
		}
		b.refuseKeys(k)
	}
	if b.result.keyed {
		b.refuseCopies()
	}
}

// beside are the fields of a kustomization that may stand beside a generator of encrypted content. kustomize has that content in plain
// text, and what is not listed here could copy it, compare it or take it apart, and put the answer where everybody can read it: the likes
// of replacements, vars, validators and openapi. Patches, transformers and configurations are looked into.
var beside = []string{"TypeMeta", "MetaData", "Resources", "Bases", "Components", "SecretGenerator", "Generators", "GeneratorOptions", "Namespace",
	"NamePrefix", "NameSuffix", "CommonLabels", "Labels", "CommonAnnotations", "BuildMetadata", "SortOptions", "Patches", "PatchesStrategicMerge", "PatchesJson6902"}

// refuseCopies stops a tree that generates from encrypted content and has more than beside.
func (b *builder) refuseCopies() {
	for _, dir := range slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations)) {
		k := b.tree.Loaded.Kustomizations[dir]
		spec := reflect.ValueOf(k.Spec)
		for i := range spec.NumField() {
			field, value := spec.Type().Field(i), spec.Field(i)
			empty := value.IsZero() || (value.Kind() == reflect.Slice || value.Kind() == reflect.Map) && value.Len() == 0
			harmless := slices.Contains(beside, field.Name) ||
				field.Name == "Transformers" && b.all(k, k.Spec.Transformers, onlyLabels) ||
				field.Name == "Configurations" && b.all(k, k.Spec.Configurations, onlyNames)
			if !empty && !harmless {
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				b.refuseCopy(k, name+" could copy or compare what a generator takes from an encrypted file, and write it", "do without "+name, name)
			}
		}
		for _, p := range slices.Concat(k.Spec.Patches, k.Spec.PatchesJson6902) { //nolint:staticcheck // deprecated, and still built
			text := []byte(p.Patch)
			if p.Path != "" {
				text = b.tree.Content[path.Join(k.Dir, p.Path)]
			}
			if why := copying(text, p.Options); why != "" {
				b.refuseCopy(k, "a patch "+why+": that could show what a generator takes from an encrypted file",
					"write a patch that only adds, replaces or removes fields", "patches")
			}
		}
	}
}

// all says whether all documents of some files, or of texts in the kustomization itself, pass a check.
func (b *builder) all(k *load.Kustomization, entries []string, check func(*yaml.Node) bool) bool {
	for _, entry := range entries {
		text := []byte(entry)
		if !strings.Contains(entry, "\n") {
			text = b.tree.Content[path.Join(k.Dir, entry)]
		}
		documents, err := documentsIn(text)
		if err != nil || len(documents) == 0 || slices.ContainsFunc(documents, func(d *yaml.Node) bool { return !check(d) }) {
			return false
		}
	}
	return true
}

// onlyLabels takes the transformers that write labels or annotations of their own.
func onlyLabels(d *yaml.Node) bool {
	kind := load.Field(d, "kind")
	return kind != nil && (kind.Value == "LabelTransformer" || kind.Value == "AnnotationsTransformer")
}

// onlyNames takes a configuration that says where in a spec the names of objects stand. Secrets have no spec.
func onlyNames(d *yaml.Node) bool {
	for i := 0; i+1 < len(d.Content); i += 2 {
		if !strings.EqualFold(d.Content[i].Value, "nameReference") {
			return false
		}
		if slices.ContainsFunc(fieldsIn(d.Content[i+1]), func(at place) bool { return len(at) == 0 || at[0] != "spec" }) {
			return false
		}
	}
	return d.Kind == yaml.MappingNode
}

func (b *builder) refuseCopy(k *load.Kustomization, message, fix, field string) {
	if k.File == nil {
		return // the kustomization of a path without one, which has resources alone
	}
	at := finding.Finding{Code: load.CodeUnsupported, Path: k.File.Path, Message: message + " to where everybody can read it",
		Fix: "put the content into an encrypted Secret manifest instead of a generator, or " + fix}
	at.Line, at.Column = k.File.Position(0, []string{field})
	b.result.Stop(at)
}

// copying says what a patch does beyond writing what it holds itself, "" for nothing. A Secret that is made another kind is masked no longer.
func copying(text []byte, options *types.PatchArgs) string {
	if options != nil && options.AllowKindChange {
		return "may change the kind of an object"
	}
	for _, op := range operationsOf(text) {
		switch at := pointer(op.path); {
		case op.kind != "add" && op.kind != "replace" && op.kind != "remove":
			return "has an operation " + strconv.Quote(op.kind)
		case len(at) == 0 || at[0] == "kind" || at[0] == "apiVersion" || at[0] == "":
			return "changes the kind of an object"
		}
	}
	return ""
}

func (b *builder) openSources(ctx context.Context, opener Opener, k *load.Kustomization, src types.KvPairSources, field []string) {
	for _, entry := range inputFiles(src) {
		f := b.file(path.Join(k.Dir, entry))
		if f == nil || !b.isEncrypted(f) {
			continue
		}
		if data := b.inputs[f.Path]; data != nil {
			if opener != nil {
				b.opened(k, f, src, entry, field)
			}
			continue
		}
		b.result.keyed = true
		if opener == nil {
			b.close(k, f, field, isEnv(src, entry))
			continue
		}
		plain, bad := opener.Open(ctx, f)
		if bad != nil {
			b.result.Stop(*bad)
			continue
		}
		data, err := plain.Output(b.tree.Loaded.Nearest(path.Dir(f.Path), recipient.ConfigName))
		if err != nil {
			b.result.Stop(finding.Finding{Code: seal.CodeSopsBlock, Path: f.Path, Message: "the decrypted file can't be written in its format",
				Fix: "check stores.*.indent in .sops.yaml, and what sops decrypt makes of the file"})
			continue
		}
		b.inputs[f.Path] = data
		b.opened(k, f, src, entry, field)
	}
}

// maxKnown bounds the texts that are masked for generators. An env file has one in each line, and each is searched for in what kustomize says
// and makes. It changes in tests alone.
var maxKnown = 500_000

// opened makes the values of an opened input known, once.
func (b *builder) opened(k *load.Kustomization, f *load.File, src types.KvPairSources, entry string, field []string) {
	values := []string{string(b.inputs[f.Path])}
	name := f.Path
	if isEnv(src, entry) {
		name, values = name+"\x00env", append(values, envValues(string(b.inputs[f.Path]))...)
	}
	if b.made[name] || b.known > maxKnown {
		return
	}
	b.made[name] = true
	b.result.Opened = append(b.result.Opened, values...)
	if b.known += b.result.Masks.AddFor("", values...); b.known > maxKnown {
		at := finding.Finding{Code: load.CodeSize, Path: k.File.Path, Message: fmt.Sprintf("the encrypted inputs of generators up to this one hold more than %d lines and values", maxKnown),
			Fix: "put the content into encrypted Secret manifests instead of generators"}
		at.Line, at.Column = k.File.Position(0, field)
		b.result.Stop(at)
	}
}

// close gives handles for a file that can't be opened.
func (b *builder) close(k *load.Kustomization, f *load.File, field []string, env bool) {
	b.inputs[f.Path] = []byte(b.tree.Whole(f))
	if env {
		b.inputs[f.Path] = b.tree.Env(f)
	}
	at := finding.Finding{Code: CodeGenerator, Severity: finding.Info, Path: k.File.Path,
		Message: "a generator takes its content from an encrypted file; without a key the Secret's name is not known",
		Fix:     "give a key to see what will be applied"}
	at.Line, at.Column = k.File.Position(0, field)
	b.result.Add(at)
}

func inputFiles(src types.KvPairSources) []string {
	files := slices.Clone(src.EnvSources)
	if src.EnvSource != "" {
		files = append(files, src.EnvSource)
	}
	for _, entry := range src.FileSources {
		_, name, found := strings.Cut(entry, "=")
		if !found {
			name = entry
		}
		files = append(files, name)
	}
	return files
}

// sources are what the generators of a kustomization take, to be read or changed in place.
func sources(spec types.Kustomization) []*types.KvPairSources {
	var list []*types.KvPairSources
	for i := range spec.ConfigMapGenerator {
		list = append(list, &spec.ConfigMapGenerator[i].KvPairSources)
	}
	for i := range spec.SecretGenerator {
		list = append(list, &spec.SecretGenerator[i].KvPairSources)
	}
	return list
}

// inputsDir is where kustomize finds the inputs of generators. They may be resources as well, of which it must see the sealed form. The
// name is random, so that no kustomization can refer to what is in it.
var inputsDir = "/.muster-inputs-" + rand.Text()

// inputFile is where kustomize finds an input. It takes no "=" in such a name, which may be that of a folder.
func inputFile(name string) string {
	return path.Join(inputsDir, fmt.Sprintf("%x", sha256.Sum256([]byte(name))))
}

// fromInputsDir is a kustomization whose generators take their inputs from there.
func fromInputsDir(dir string, spec types.Kustomization) types.Kustomization {
	spec.ConfigMapGenerator, spec.SecretGenerator = slices.Clone(spec.ConfigMapGenerator), slices.Clone(spec.SecretGenerator)
	for _, src := range sources(spec) {
		if src.EnvSource != "" {
			src.EnvSource = inputFile(path.Join(dir, src.EnvSource))
		}
		src.EnvSources, src.FileSources = slices.Clone(src.EnvSources), slices.Clone(src.FileSources)
		for i, name := range src.EnvSources {
			src.EnvSources[i] = inputFile(path.Join(dir, name))
		}
		for i, entry := range src.FileSources {
			key, name, found := strings.Cut(entry, "=")
			if !found {
				key, name = path.Base(entry), entry
			}
			src.FileSources[i] = key + "=" + inputFile(path.Join(dir, name))
		}
	}
	return spec
}

func isEnv(src types.KvPairSources, entry string) bool {
	return entry == src.EnvSource || slices.Contains(src.EnvSources, entry)
}

// checkEnv refuses env files with a line that has no value: kustomize takes the value from the environment of the process.
func (b *builder) checkEnv(k *load.Kustomization, src types.KvPairSources, field []string) {
	for _, entry := range inputFiles(src) {
		f := b.file(path.Join(k.Dir, entry))
		if f == nil || !isEnv(src, entry) {
			continue
		}
		if b.envFile(f.Path).bare {
			at := finding.Finding{Code: CodeEnvironment, Path: k.File.Path,
				Message: f.Path + " has a line without \"=\", for which kustomize would take a value from Muster's environment",
				Fix:     "write KEY=value on every line"}
			at.Line, at.Column = k.File.Position(0, field)
			b.result.Stop(at)
		}
	}
}

// envFile is what counts of an env file: how many lines have a value, and whether one has none.
type envFile struct {
	values int
	bare   bool
}

// envFile looks at an env file, opened if it is encrypted. Many generators may take one, and it is looked at once.
func (b *builder) envFile(name string) envFile {
	env, known := b.envFiles[name]
	if known {
		return env
	}
	for line := range bytes.Lines(b.input(name)) {
		switch line = bytes.TrimSpace(line); {
		case bytes.ContainsRune(line, '='):
			env.values++
		case len(line) > 0 && line[0] != '#':
			env.bare = true
		}
	}
	b.envFiles[name] = env
	return env
}

// isEncrypted says whether an input is encrypted, which is also found out once.
func (b *builder) isEncrypted(f *load.File) bool {
	encrypted, known := b.encrypted[f.Path]
	if !known {
		encrypted = seal.IsEncrypted(f.Data)
		b.encrypted[f.Path] = encrypted
	}
	return encrypted
}

// input is the content of a generator's file, opened if it is encrypted.
func (b *builder) input(name string) []byte {
	if text, opened := b.inputs[name]; opened {
		return text
	}
	return b.tree.Content[name]
}

// envValues are the single values of an env file, each of which becomes a value of the Secret.
func envValues(text string) []string {
	var values []string
	for line := range strings.Lines(text) {
		// As kustomize does, which leaves blanks at the end.
		line = strings.TrimLeftFunc(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), unicode.IsSpace)
		if _, value, ok := strings.Cut(line, "="); ok && value != "" {
			values = append(values, value)
		}
	}
	return values
}
