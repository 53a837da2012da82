package v1alpha1

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Decode strictly parses a cluster file from decoded YAML or JSON. It reports every unknown field, every value of the wrong type
// and every null, not just the first. The cluster is never nil. It has all values that could be read, and
// [ExternalCluster.Validate] doesn't report the same fields again.
//
// sealed reports whether a string is a handle of an encrypted value. nil means that there are none. A handle is valid in every
// text field whose value isn't needed without keys. A top-level sops block is ignored.
func Decode(obj map[string]any, sealed func(string) bool) (*ExternalCluster, []Problem) {
	d := decoder{sealed: orNone(sealed), mentioned: map[string]bool{}, what: "a cluster file", pathsByName: pathsByName()}
	cluster := &ExternalCluster{}
	top := maps.Clone(obj)
	delete(top, "sops")
	d.object(nil, top, reflect.ValueOf(cluster).Elem())
	d.identity(cluster)
	if len(d.mentioned) > 0 {
		cluster.mentioned = d.mentioned
	}
	return cluster, d.problems
}

// Strict parses an object of another format into a struct, like Decode does for a cluster file: it reports every unknown field,
// value of the wrong type and null. The struct has json tags and the same kinds of fields as the cluster file. A field of type
// any accepts everything, and the values of a map with the tag seal:"values" may be handles. what is the format's name in
// messages, such as "a Secret".
func Strict(obj map[string]any, into any, what string, sealed func(string) bool) []Problem {
	d := decoder{sealed: orNone(sealed), mentioned: map[string]bool{}, what: what}
	d.object(nil, obj, reflect.ValueOf(into).Elem())
	return d.problems
}

// orNone replaces a nil predicate with one that is always false.
func orNone(sealed func(string) bool) func(string) bool {
	if sealed == nil {
		return func(string) bool { return false }
	}
	return sealed
}

type decoder struct {
	sealed    func(string) bool
	problems  []Problem
	mentioned map[string]bool
	// what is the format's name in messages. pathsByName has the paths of all fields by name.
	what        string
	pathsByName map[string][]string
}

func (d *decoder) report(code finding.Code, field []string, message, fix string) {
	d.problems = append(d.problems, Problem{Code: code, Severity: finding.Error, Field: slices.Clone(field), Message: message, Fix: fix})
	d.mentioned[dotted(field)] = true
}

// identity checks apiVersion and kind.
func (d *decoder) identity(c *ExternalCluster) {
	if c.APIVersion != APIVersion && !d.mentioned["apiVersion"] {
		d.report(CodeAPIVersion, []string{"apiVersion"}, "apiVersion is not "+APIVersion, "write apiVersion: "+APIVersion)
	}
	if c.Kind != Kind && !d.mentioned["kind"] {
		d.report(CodeAPIVersion, []string{"kind"}, "kind is not "+Kind, "write kind: "+Kind)
	}
}

// object fills a struct from a mapping.
func (d *decoder) object(path []string, obj map[string]any, target reflect.Value) {
	fields := fieldsOf(target.Type())
	for _, name := range slices.Sorted(maps.Keys(obj)) {
		at := append(slices.Clone(path), name)
		i := slices.IndexFunc(fields, func(f formatField) bool { return f.name == name })
		if i < 0 {
			d.unknown(path, name, fields)
			continue
		}
		d.value(at, obj[name], target.Field(fields[i].index), fields[i].seal)
	}
}

// value fills one field. The kinds are those of the format's types. See types.go.
func (d *decoder) value(path []string, value any, target reflect.Value, seal string) {
	if target.Kind() == reflect.Interface {
		return // any value; the API server validates it
	}
	if value == nil {
		d.null(path)
		return
	}
	if text, ok := value.(string); ok && d.sealed(text) && (seal == neverSealed || target.Kind() != reflect.String && seal != valuesSealed) {
		d.mustBePlain(path)
		return
	}
	if hasNonTextKey(value) {
		d.notTextKey(path)
		return
	}
	switch target.Kind() {
	case reflect.Pointer:
		target.Set(reflect.New(target.Type().Elem()))
		d.value(path, value, target.Elem(), seal)
	case reflect.Struct:
		obj, ok := value.(map[string]any)
		if !ok {
			d.wrongType(path, "a mapping", value)
			return
		}
		d.object(path, obj, target)
	case reflect.Map:
		d.textMap(path, value, target, seal)
	case reflect.Slice:
		d.textList(path, value, target)
	case reflect.Bool:
		truth, ok := value.(bool)
		if !ok {
			d.wrongType(path, "true or false", value)
			return
		}
		target.SetBool(truth)
	case reflect.String:
		d.text(path, value, target)
	case reflect.Int:
		number, err := strconv.Atoi(fmt.Sprint(value))
		if _, text := value.(string); text || err != nil {
			d.wrongType(path, "a whole number", value)
			return
		}
		target.SetInt(int64(number))
	default:
		panic(fmt.Sprintf("%s: the format has no kind %s", dotted(path), target.Kind()))
	}
}

func (d *decoder) text(path []string, value any, target reflect.Value) {
	text, ok := value.(string)
	switch {
	case !ok:
		d.wrongType(path, "text", value)
	case text == "":
		d.report(CodeRequired, path, dotted(path)+" is empty", "set a value, or remove the field")
	default:
		target.SetString(text)
	}
}

// textList keeps an empty list distinct from a missing one.
func (d *decoder) textList(path []string, value any, target reflect.Value) {
	list, ok := value.([]any)
	if !ok {
		d.wrongType(path, "a list", value)
		return
	}
	texts := make([]string, len(list))
	for i, item := range list {
		at := append(slices.Clone(path), fmt.Sprintf("[%d]", i))
		switch item := item.(type) {
		case nil:
			d.null(at)
		case string:
			texts[i] = item
		default:
			d.wrongType(at, "text", item)
		}
	}
	target.Set(reflect.ValueOf(texts))
}

func (d *decoder) textMap(path []string, value any, target reflect.Value, seal string) {
	obj, ok := value.(map[string]any)
	if !ok {
		d.wrongType(path, "a mapping", value)
		return
	}
	texts := make(map[string]string, len(obj))
	for _, key := range slices.Sorted(maps.Keys(obj)) {
		at := append(slices.Clone(path), printableKey(key))
		switch item := obj[key].(type) {
		case nil:
			d.null(at)
		case string:
			if d.sealed(item) && seal != valuesSealed {
				d.mustBePlain(at)
				continue
			}
			texts[key] = item
		default:
			d.wrongType(at, "text", item)
		}
	}
	target.Set(reflect.ValueOf(texts))
}

// unknown reports a field that the format does not have, and marks the fields that it was probably meant to be.
func (d *decoder) unknown(path []string, name string, siblings []formatField) {
	field, shown := path, "with a name that can't be shown"
	if key := printableKey(name); key == name {
		field = append(slices.Clone(path), name)
		shown = dotted(field)
	}
	fix := "remove it; the fields here are " + namesOf(siblings)
	paths, beside := suggestions(name, dotted(path), siblings, d.pathsByName)
	switch {
	case beside:
		fix = "did you mean " + paths[0] + "?"
	case len(paths) > 0:
		fix = "it belongs to " + strings.Join(paths, " or ")
	}
	d.problems = append(d.problems, Problem{Code: CodeUnknownField, Severity: finding.Error, Field: slices.Clone(field), Message: "unknown field " + shown + " in " + d.what, Fix: fix})
	for _, p := range paths {
		if _, known := d.mentioned[p]; !known {
			d.mentioned[p] = false // not missing, but only true if it was reported itself
		}
	}
}

func (d *decoder) null(path []string) {
	fix := "set a value, or remove the field"
	if last := path[len(path)-1]; last == "filtering" || last == "repositories" {
		fix = "write " + last + ": {} to scan all, or remove the field to inherit from the audit config"
	}
	d.report(CodeNull, path, dotted(path)+" has no value", fix)
}

// hasNonTextKey reports whether a mapping has a key that YAML doesn't read as text, such as a number, a boolean or a date. JSON has
// no such mapping, and kustomize can't write it.
func hasNonTextKey(value any) bool {
	t := reflect.TypeOf(value)
	return t.Kind() == reflect.Map && t.Key().Kind() != reflect.String
}

func (d *decoder) notTextKey(path []string) {
	d.report(CodeWrongType, path, dotted(path)+" has a key that YAML reads as a number, a date, true, false or null instead of text", "quote the key; for a generator, use another key")
}

func (d *decoder) mustBePlain(path []string) {
	d.report(CodeMustBePlain, path,
		dotted(path)+" is encrypted, but Muster must know it without keys",
		"encrypt only credentials: set "+SopsRule+" in .sops.yaml, then decrypt and encrypt the file again")
}

func (d *decoder) wrongType(path []string, expected string, value any) {
	got, fix := kindOf(value), "write "+expected
	switch {
	case expected == "text" && (got == "a number" || got == "true or false" || got == "a date"):
		fix = "quote it"
	case path[len(path)-1] == "dockerConfigJson" && got == "a mapping":
		fix = "write the JSON as text: dockerConfigJson: | and the text below it"
	}
	d.report(CodeWrongType, path, fmt.Sprintf("%s must be %s, but is %s", dotted(path), expected, got), fix)
}

// kindOf returns the kind of a value, without the value.
func kindOf(value any) string {
	switch value.(type) {
	case json.Number:
		return "a number"
	case time.Time:
		return "a date"
	}
	switch reflect.ValueOf(value).Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "a value of another kind"
	}
}

// keyForm is the form of a field name that may be repeated in a message. A wrongly indented credential can become a key. It
// would be longer, or have other characters.
var keyForm = regexp.MustCompile(`^[A-Za-z0-9_./-]{1,40}$`)

func printableKey(key string) string {
	if keyForm.MatchString(key) {
		return key
	}
	return "(unprintable)"
}
