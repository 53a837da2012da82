package kustomize

import (
	"errors"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// errPanic replaces a panic of kustomize, whose text may quote a value.
var errPanic = errors.New("kustomize panics on this input")

// cause extracts the cause from an error of kustomize, and reports whether it is complete. kustomize quotes its input, with or
// without quotation marks, and the input may contain a password. So the message is cut before the first word that is not in
// safeWords.
func cause(err error) (text string, all bool) {
	if errors.Is(err, errReplaced) || errors.Is(err, errPanic) {
		return err.Error(), true
	}
	text = strings.NewReplacer("trouble configuring builtin ", "", "recursed accumulation of path ", "").Replace(err.Error())
	all = true
	if i := strings.IndexAny(text, "`\n"); i >= 0 { // configuration, followed by the error in it
		tail := text[strings.LastIndexAny(text, "`\n")+1:]
		text = strings.TrimSuffix(strings.TrimSpace(text[:i]), "with config:") + " " + strings.TrimSpace(strings.TrimPrefix(tail, ":"))
		all = false
	}
	if i := strings.IndexAny(text, "[{\"`'"); i >= 0 {
		text, all = text[:i], false
	}
	var kept []string
	for word := range strings.FieldsSeq(text) {
		if !safeWords[strings.Trim(word, ".,:;()")] {
			all = false
			break
		}
		kept = append(kept, word)
	}
	if len(kept) < 2 {
		return "the message is withheld because it may quote a credential", false
	}
	text = strings.TrimRight(strings.Join(kept, " "), " :;,(")
	if !all {
		text += " …"
	}
	return text, all
}

// innermost extracts the last cause from an error of kustomize, which lists each kustomization on the way to it. It also returns
// the file that the error is about, if kustomize names it.
func (b *builder) innermost(err error) (file string, inner error) {
	text, dir := err.Error(), b.tree.Loaded.Path
	for {
		_, rest, found := strings.Cut(text, `accumulateDirectory: "`)
		quoted, err := strconv.QuotedPrefix(`"` + rest)
		if !found || err != nil {
			break
		}
		text, _ = strconv.Unquote(quoted) // can't fail for a quoted prefix
	}
	if way := onTheWay.FindStringSubmatch(text); way != nil && b.tree.Loaded.Kustomizations[path.Clean(way[1])] != nil {
		dir, text = path.Clean(way[1]), way[2]
	}
	if k := b.tree.Loaded.Kustomizations[dir]; k != nil && k.File != nil {
		file = k.File.Path
	}
	if _, rest, found := strings.Cut(text, "accumulating resources from '"); found {
		if ref, rest, found := strings.Cut(rest, "': "); found && b.tree.Loaded.Files[path.Join(dir, ref)] != nil {
			text, _, _ = strings.Cut(rest, "': must build at directory")
			file = path.Join(dir, ref)
		}
	}
	if dump := strings.LastIndex(text, "}: "); dump >= 0 && strings.HasPrefix(text, "merging from generator ") {
		text = text[dump+len("}: "):]
	}
	if text = alreadyExists.ReplaceAllString(text, "the object exists"); text == err.Error() {
		return file, err
	}
	return file, errors.New(text)
}

// onTheWay matches the last kustomization on the way to a cause, and what follows.
var onTheWay = regexp.MustCompile(`(?s)^.*(?:recursed accumulation of path|couldn't make target for path|recursed merging from path) '/(.*?)': (.*)$`)

// alreadyExists matches how kustomize names an object that already exists.
var alreadyExists = regexp.MustCompile(`id resid\.ResId\{Gvk:resid\.Gvk\{[^{}]*\}[^{}]*\} exists`)

// safeWords are the words of kustomize's own messages.
var safeWords = vocabulary(`
	a add added adding accumulating accumulation already an and annotation annotations any apply as at base be because behavior both build
	builtin but by can cannot component components config configmap configuration configuring conflict conflicts copy create cycle data
	decode decoding delete detected doc document does duplicate empty entry env err error exist exists expected fail failed failing fails
	field fieldPath fieldPaths fields file files find for format found from generator generators group has have id in index input inside
	into invalid is it json key keys kind kustomization kustomize kv KV label labels list literal load loading map mapping
	MappingNode matches match merge merging metadata missing more move multiple must name names namespace no node not nothing object of on
	one only op operation or out pair pairs parse parsing patch patches path plugin read reading reference registered remove replace
	replacement replacements require required resolve resource resources runtime same scalar ScalarNode secret selected selector sequence SequenceNode
	set SM source sources specified specify strategic string target targets test testing than that the this to transform transformer
	transformers type unable unexpected unknown unmarshal unmarshalling unsupported use used valid validate value values was when while
	with without wrong YAML yaml JSON
	AnnotationsTransformer ConfigMapGenerator HashTransformer IAMPolicyGenerator ImageTagTransformer LabelTransformer NamespaceTransformer
	PatchJson6902Transformer PatchStrategicMergeTransformer PatchTransformer PrefixSuffixTransformer PrefixTransformer ReplacementTransformer
	ReplicaCountTransformer SecretGenerator SuffixTransformer ValueAddTransformer`)

func vocabulary(text string) map[string]bool {
	known := map[string]bool{}
	for word := range strings.FieldsSeq(text) {
		known[word] = true
	}
	return known
}
