package kustomize

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

// openInputs opens the encrypted files that generators read. When a file can't be opened, the build uses handles, which give the
// generated Secret a different name than it will have. The finding says so.
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

// allowedWithSecrets are the fields of a kustomization that are allowed in a tree with a generator of encrypted content.
// kustomize has that content in plaintext. A field that is not listed (such as replacements, vars, validators, openapi) could
// copy, compare or split it, and write the result in public. Patches, transformers and configurations are checked one by one.
var allowedWithSecrets = []string{"TypeMeta", "MetaData", "Resources", "Bases", "Components", "SecretGenerator", "Generators", "GeneratorOptions", "Namespace",
	"NamePrefix", "NameSuffix", "CommonLabels", "Labels", "CommonAnnotations", "BuildMetadata", "SortOptions", "Patches", "PatchesStrategicMerge", "PatchesJson6902"}

// refuseCopies stops a tree that generates from encrypted content and uses a field outside allowedWithSecrets.
func (b *builder) refuseCopies() {
	for _, dir := range slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations)) {
		k := b.tree.Loaded.Kustomizations[dir]
		spec := reflect.ValueOf(k.Spec)
		for i := range spec.NumField() {
			field, value := spec.Type().Field(i), spec.Field(i)
			empty := value.IsZero() || (value.Kind() == reflect.Slice || value.Kind() == reflect.Map) && value.Len() == 0
			harmless := slices.Contains(allowedWithSecrets, field.Name) ||
				field.Name == "Transformers" && b.all(k, k.Spec.Transformers, onlyLabels) ||
				field.Name == "Configurations" && b.all(k, k.Spec.Configurations, onlyNames)
			if !empty && !harmless {
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				b.refuseCopy(k, name+" could copy or compare what a generator reads from an encrypted file, and write it", "remove "+name, name)
			}
		}
		for _, p := range slices.Concat(k.Spec.Patches, k.Spec.PatchesJson6902) { //nolint:staticcheck // deprecated, and still built
			if why := unsafePatch(b.patchText(k, p), p.Options); why != "" {
				b.refuseCopy(k, "a patch "+why+": that could expose what a generator reads from an encrypted file",
					"write a patch that only adds, replaces or removes fields", "patches")
			}
		}
	}
}

// all reports whether all documents of some files, or of inline texts in the kustomization, pass a check.
func (b *builder) all(k *load.Kustomization, entries []string, check func(*yaml.Node) bool) bool {
	for _, entry := range entries {
		documents, err := documentsIn(b.configuration(k, entry))
		if err != nil || len(documents) == 0 || slices.ContainsFunc(documents, func(d *yaml.Node) bool { return !check(d) }) {
			return false
		}
	}
	return true
}

// onlyLabels accepts the transformers that write labels or annotations.
func onlyLabels(d *yaml.Node) bool {
	kind := load.Field(d, "kind")
	return kind != nil && (kind.Value == "LabelTransformer" || kind.Value == "AnnotationsTransformer")
}

// onlyNames accepts a configuration that lists fields with object names within spec. Secrets have no spec.
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
		return // a path without a kustomization only has resources
	}
	at := finding.Finding{Code: load.CodeUnsupported, Path: k.File.Path, Message: message + " in public",
		Fix: "put the content into an encrypted Secret manifest instead of a generator, or " + fix}
	at.Line, at.Column = k.File.Position(0, []string{field})
	b.result.Stop(at)
}

// unsafePatch returns what a patch does beyond writing its own content, or "". A Secret that becomes another kind is no longer
// masked.
func unsafePatch(text []byte, options *types.PatchArgs) string {
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
				b.recordOpened(k, f, src, entry, field)
			}
			continue
		}
		b.result.keyed = true
		if opener == nil {
			b.useHandles(k, f, field, isEnv(src, entry))
			continue
		}
		data, problem := opener.Decrypt(ctx, f, b.tree.Loaded.Nearest(path.Dir(f.Path), recipient.ConfigName))
		if problem != nil {
			b.result.Stop(*problem)
			continue
		}
		b.inputs[f.Path] = data
		b.recordOpened(k, f, src, entry, field)
	}
}

// maxMasked limits the texts that are masked for generators. Each line of an env file is one, and each is searched for in
// kustomize's messages and output. Only tests change it.
var maxMasked = 500_000

// recordOpened adds the values of an opened input to Opened and Masks, once.
func (b *builder) recordOpened(k *load.Kustomization, f *load.File, src types.KvPairSources, entry string, field []string) {
	values := []string{string(b.inputs[f.Path])}
	name := f.Path
	if isEnv(src, entry) {
		name, values = name+"\x00env", append(values, envValues(string(b.inputs[f.Path]))...)
	}
	if b.masked[name] || b.maskedCount > maxMasked {
		return
	}
	b.masked[name] = true
	b.result.Opened = append(b.result.Opened, values...)
	if b.maskedCount += b.result.Masks.AddFor("", values...); b.maskedCount > maxMasked {
		at := finding.Finding{Code: load.CodeSize, Path: k.File.Path, Message: fmt.Sprintf("up to this one, the encrypted inputs of generators have more than %d lines and values", maxMasked),
			Fix: "put the content into encrypted Secret manifests instead of generators"}
		at.Line, at.Column = k.File.Position(0, field)
		b.result.Stop(at)
	}
}

// useHandles substitutes handles for the content of a file that can't be opened.
func (b *builder) useHandles(k *load.Kustomization, f *load.File, field []string, env bool) {
	b.inputs[f.Path] = []byte(b.tree.Whole(f))
	if env {
		b.inputs[f.Path] = b.tree.Env(f)
	}
	at := finding.Finding{Code: CodeGenerator, Severity: finding.Info, Path: k.File.Path,
		Message: "a generator reads an encrypted file; without a key the Secret's name is unknown",
		Fix:     "provide a key to see what will be applied"}
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

// sources returns the inputs of a kustomization's generators, to be read or changed in place.
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

// inputsDir is where kustomize finds the inputs of generators. They are kept apart because an input may also be a resource,
// which kustomize must see sealed. The name is random, so that no kustomization can refer to it.
var inputsDir = "/.muster-inputs-" + rand.Text()

// inputFile is the path at which kustomize finds an input. It is a hash, because kustomize doesn't accept a "=" in such a name,
// and a folder's name may have one.
func inputFile(name string) string {
	return path.Join(inputsDir, fmt.Sprintf("%x", sha256.Sum256([]byte(name))))
}

// redirectInputs returns the kustomization with its generators reading from inputsDir.
func redirectInputs(dir string, spec types.Kustomization) types.Kustomization {
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

// checkEnv refuses env files that have a line without a value: kustomize would read it from the environment of the process.
func (b *builder) checkEnv(k *load.Kustomization, src types.KvPairSources, field []string) {
	for _, entry := range inputFiles(src) {
		f := b.file(path.Join(k.Dir, entry))
		if f == nil || !isEnv(src, entry) {
			continue
		}
		if b.envFile(f.Path).bare {
			at := finding.Finding{Code: CodeEnvironment, Path: k.File.Path,
				Message: f.Path + " has a line without \"=\"; kustomize would read its value from Muster's environment",
				Fix:     "write KEY=value on every line"}
			at.Line, at.Column = k.File.Position(0, field)
			b.result.Stop(at)
		}
	}
}

// envFile is what matters about an env file: how many lines have a value, and whether any line has none.
type envFile struct {
	values int
	bare   bool
}

// envFile inspects an env file, opened if it is encrypted. The result is cached, because many generators may read the file.
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

// isEncrypted reports whether an input is encrypted. The result is cached.
func (b *builder) isEncrypted(f *load.File) bool {
	encrypted, known := b.encrypted[f.Path]
	if !known {
		encrypted = seal.IsEncrypted(f.Data)
		b.encrypted[f.Path] = encrypted
	}
	return encrypted
}

// input returns the content of a generator's input, opened if it is encrypted.
func (b *builder) input(name string) []byte {
	if text, opened := b.inputs[name]; opened {
		return text
	}
	return b.tree.Content[name]
}

// envValues returns the values in an env file. Each becomes a value of the Secret.
func envValues(text string) []string {
	var values []string
	for line := range strings.Lines(text) {
		// like kustomize, which keeps blanks at the end
		line = strings.TrimLeftFunc(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), unicode.IsSpace)
		if _, value, ok := strings.Cut(line, "="); ok && value != "" {
			values = append(values, value)
		}
	}
	return values
}
