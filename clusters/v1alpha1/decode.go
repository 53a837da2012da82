package v1alpha1

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Decode reads a cluster file, as YAML or JSON gives it, strictly and completely: it reports every unknown field, every
// value of the wrong kind and every null, not just the first. The cluster is never nil; it holds what could be read, and
// [ExternalCluster.Validate] is silent about what Decode reported.
//
// sealed tells which strings are handles of encrypted values; nil means that none is. A handle is good wherever the format
// takes text that need not be known without keys. A top-level sops block is passed over.
func Decode(obj map[string]any, sealed func(string) bool) (*ExternalCluster, []Problem) {
	d := decoder{sealed: orNone(sealed), spokenOf: map[string]bool{}, what: "a cluster file", elsewhere: everywhere()}
	cluster := &ExternalCluster{}
	top := maps.Clone(obj)
	delete(top, "sops")
	d.object(nil, top, reflect.ValueOf(cluster).Elem())
	d.identity(cluster)
	if len(d.spokenOf) > 0 {
		cluster.spokenOf = d.spokenOf
	}
	return cluster, d.problems
}

// Strict reads an object of another format into a struct as Decode reads a cluster file: it reports every unknown field, value of the wrong
// type and null. The struct has json tags and fields of the kinds that the cluster file has. One of type any takes anything, and the
// values of a map with the tag seal:"values" may be handles. what names the format in messages, such as "a Secret".
func Strict(obj map[string]any, into any, what string, sealed func(string) bool) []Problem {
	d := decoder{sealed: orNone(sealed), spokenOf: map[string]bool{}, what: what}
	d.object(nil, obj, reflect.ValueOf(into).Elem())
	return d.problems
}

// orNone makes a missing predicate one that is never true.
func orNone(sealed func(string) bool) func(string) bool {
	if sealed == nil {
		return func(string) bool { return false }
	}
	return sealed
}

type decoder struct {
	sealed   func(string) bool
	problems []Problem
	spokenOf map[string]bool
	// what is the format, for messages, and elsewhere has the paths where it has a field of a name.
	what      string
	elsewhere map[string][]string
}

func (d *decoder) report(code finding.Code, field []string, message, fix string) {
	d.problems = append(d.problems, Problem{Code: code, Severity: finding.Error, Field: slices.Clone(field), Message: message, Fix: fix})
	d.spokenOf[dotted(field)] = true
}

// identity checks that the file says what it is.
func (d *decoder) identity(c *ExternalCluster) {
	if c.APIVersion != APIVersion && !d.spokenOf["apiVersion"] {
		d.report(CodeAPIVersion, []string{"apiVersion"}, "apiVersion is not "+APIVersion, "write apiVersion: "+APIVersion)
	}
	if c.Kind != Kind && !d.spokenOf["kind"] {
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

// value fills one field. The kinds are those that the format's types have; see types.go.
func (d *decoder) value(path []string, value any, target reflect.Value, seal string) {
	if target.Kind() == reflect.Interface {
		return // the server's business
	}
	if value == nil {
		d.null(path)
		return
	}
	if text, ok := value.(string); ok && d.sealed(text) && (seal == neverSealed || target.Kind() != reflect.String && seal != valuesSealed) {
		d.mustBePlain(path)
		return
	}
	if hasOddKey(value) {
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
		d.report(CodeRequired, path, dotted(path)+" is empty", "give a value, or remove the field")
	default:
		target.SetString(text)
	}
}

// textList keeps an empty list apart from a missing one.
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

// unknown reports a field that the format does not have, and marks what it was probably meant to be.
func (d *decoder) unknown(path []string, name string, siblings []formatField) {
	field, shown := path, "a field whose name can't be shown"
	if key := printableKey(name); key == name {
		field = append(slices.Clone(path), name)
		shown = dotted(field)
	}
	fix := "remove it; the fields here are " + namesOf(siblings)
	paths, beside := advice(name, dotted(path), siblings, d.elsewhere)
	switch {
	case beside:
		fix = "did you mean " + paths[0] + "?"
	case len(paths) > 0:
		fix = "it belongs to " + strings.Join(paths, " or ")
	}
	d.problems = append(d.problems, Problem{Code: CodeUnknownField, Severity: finding.Error, Field: slices.Clone(field), Message: shown + " is no field of " + d.what, Fix: fix})
	for _, p := range paths {
		if _, known := d.spokenOf[p]; !known {
			d.spokenOf[p] = false // present, so that it isn't called missing; true only if it was reported itself
		}
	}
}

func (d *decoder) null(path []string) {
	fix := "give a value, or remove the field"
	if last := path[len(path)-1]; last == "filtering" || last == "repositories" {
		fix = "write " + last + ": {} to scan all, or remove the field to inherit from the audit config"
	}
	d.report(CodeNull, path, dotted(path)+" has no value", fix)
}

// hasOddKey reports whether a mapping has a key that YAML doesn't read as text: a number, true, a date or the like. JSON has no such
// mapping, and kustomize can't write it.
func hasOddKey(value any) bool {
	t := reflect.TypeOf(value)
	return t.Kind() == reflect.Map && t.Key().Kind() != reflect.String
}

func (d *decoder) notTextKey(path []string) {
	d.report(CodeWrongType, path, dotted(path)+" has a key that YAML reads as a number, a date, true, false or null, and not as text", "quote the key; what a generator makes needs another key")
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
		fix = "put it in quotes"
	case path[len(path)-1] == "dockerConfigJson" && got == "a mapping":
		fix = "give the JSON as text: dockerConfigJson: | and the text below it"
	}
	d.report(CodeWrongType, path, fmt.Sprintf("%s must be %s, but is %s", dotted(path), expected, got), fix)
}

// kindOf names the kind of a value, and nothing of the value.
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

// keyForm is what a field's name may look like to be repeated in a message. A wrongly indented credential can become a
// key; those are longer, or have other characters.
var keyForm = regexp.MustCompile(`^[A-Za-z0-9_./-]{1,40}$`)

func printableKey(key string) string {
	if keyForm.MatchString(key) {
		return key
	}
	return "(unprintable)"
}
