package build

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
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
	}
	b.masks.Add(b.result.Opened...)
	if b.result.keyed {
		b.refuseCopies()
	}
}

// refuseCopies stops a tree whose kustomizations copy values from one object to another, beside a generator of encrypted content: kustomize
// has that content in plain text, and they could take it apart and put the pieces where everybody can read them.
func (b *builder) refuseCopies() {
	for _, dir := range slices.Sorted(maps.Keys(b.tree.Loaded.Kustomizations)) {
		k := b.tree.Loaded.Kustomizations[dir]
		replaces := slices.ContainsFunc(k.Spec.Transformers, func(entry string) bool { return b.replaces(k, entry) })
		for field, used := range map[string]bool{"replacements": len(k.Spec.Replacements) > 0, "transformers": replaces,
			"vars": len(k.Spec.Vars) > 0} { //nolint:staticcheck // deprecated in kustomize, and still built
			if !used {
				continue
			}
			at := finding.Finding{Code: load.CodeUnsupported, Path: k.File.Path,
				Message: field + " could copy what a generator takes from an encrypted file to where everybody can read it",
				Fix:     "put the content into an encrypted Secret manifest instead of a generator, or do without " + field}
			at.Line, at.Column = k.File.Position(0, []string{field})
			b.result.Stop(at)
		}
	}
}

// replaces says whether a transformer may do what replacements do; those of other kinds work on one object at a time. One that stands in
// the kustomization itself is not looked into.
func (b *builder) replaces(k *load.Kustomization, transformer string) bool {
	f := b.file(path.Join(k.Dir, transformer))
	return f == nil || len(f.Documents) == 0 || slices.ContainsFunc(f.Documents, func(d *load.Document) bool { return d.Kind == "ReplacementTransformer" })
}

func (b *builder) openSources(ctx context.Context, opener Opener, k *load.Kustomization, src types.KvPairSources, field []string) {
	for _, entry := range inputFiles(src) {
		f := b.file(path.Join(k.Dir, entry))
		if f == nil || !seal.IsEncrypted(f.Data) {
			continue
		}
		if data := b.inputs[f.Path]; data != nil {
			if opener != nil {
				b.result.Opened = append(b.result.Opened, envValues(src, entry, string(data))...)
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
		data, err := plain.Bytes()
		if err != nil {
			b.result.Stop(finding.Finding{Code: seal.CodeSopsBlock, Path: f.Path, Message: "the decrypted file can't be written in its format"})
			continue
		}
		b.inputs[f.Path] = data
		b.result.Opened = append(b.result.Opened, string(data))
		b.result.Opened = append(b.result.Opened, envValues(src, entry, string(data))...)
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

// fromInputsDir is a kustomization whose generators take their inputs from there.
func fromInputsDir(dir string, spec types.Kustomization) types.Kustomization {
	spec.ConfigMapGenerator, spec.SecretGenerator = slices.Clone(spec.ConfigMapGenerator), slices.Clone(spec.SecretGenerator)
	for _, src := range sources(spec) {
		if src.EnvSource != "" {
			src.EnvSource = path.Join(inputsDir, dir, src.EnvSource)
		}
		src.EnvSources, src.FileSources = slices.Clone(src.EnvSources), slices.Clone(src.FileSources)
		for i, name := range src.EnvSources {
			src.EnvSources[i] = path.Join(inputsDir, dir, name)
		}
		for i, entry := range src.FileSources {
			key, name, found := strings.Cut(entry, "=")
			if !found {
				key, name = path.Base(entry), entry
			}
			src.FileSources[i] = key + "=" + path.Join(inputsDir, dir, name)
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
		text, opened := b.inputs[f.Path]
		if !opened {
			text = []byte(f.Data)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") || strings.Contains(line, "=") {
				continue
			}
			at := finding.Finding{Code: CodeEnvironment, Path: k.File.Path,
				Message: f.Path + " has a line without \"=\", for which kustomize would take a value from Muster's environment",
				Fix:     "write KEY=value on every line"}
			at.Line, at.Column = k.File.Position(0, field)
			b.result.Stop(at)
			break
		}
	}
}

// envValues are the single values of an env file, each of which becomes a value of the Secret.
func envValues(src types.KvPairSources, entry, text string) []string {
	if !isEnv(src, entry) {
		return nil
	}
	var values []string
	for line := range strings.Lines(text) {
		if _, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && value != "" {
			values = append(values, value)
		}
	}
	return values
}
