package mondoo

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Class is what a field of a MondooAuditConfig allows its author to do.
type Class string

// The classes. Fields without a class are harmless.
const (
	// NamesSecret fields name a Secret, which the operator or one of its Pods then reads.
	NamesSecret Class = "names a Secret"
	// Privileged fields choose the code that runs, its environment, its identity, or its privileges.
	Privileged Class = "chooses what runs and with which privileges"
	// UnknownField is a field of a newer operator, or a misspelt one. Its effect is unknown.
	UnknownField Class = "is unknown"
)

// Use is a field of an audit config that is set and not harmless.
type Use struct {
	// Field is its path in the object. An index of a list is "[0]".
	Field []string
	Class Class
	// Value is the name of the Secret, or the single value of a privileged field.
	Value string
	// Single is true if Value is everything that the field contains.
	Single bool
}

// Path returns the field as an AuditSync names it: below spec, and without indexes.
func (u Use) Path() string {
	parts := slices.DeleteFunc(slices.Clone(u.Field), func(part string) bool { return strings.HasPrefix(part, "[") })
	return strings.TrimPrefix(strings.Join(parts, "."), "spec.")
}

// FieldError is a field of an audit config that the operator can't use.
type FieldError struct {
	Field []string
	// Want is what the operator expects in a field that it can't read, such as "a string".
	Want string
	// Problem completes the sentence "FIELD …" for a readable field, and Fix is an instruction. Want, Problem and Fix
	// are empty for a field that a MondooAuditConfig doesn't have.
	Problem, Fix string
}

// Inspect returns the fields of an audit config that are not harmless, and those that the operator can't use. A field
// with a zero value counts as absent. The list of external clusters is left out, because its entries are checked like
// cluster files.
func Inspect(auditConfig map[string]any) ([]Use, []FieldError) {
	var in inspection
	for _, key := range slices.Sorted(maps.Keys(auditConfig)) {
		switch key {
		case "apiVersion", "kind", "metadata", "status": // the operator writes status, and Muster never applies it
		case "spec":
			in.node(auditConfig[key], specFields, []string{key})
		default:
			in.errors = append(in.errors, FieldError{Field: []string{key}})
		}
	}
	in.values(auditConfig)
	return in.uses, in.errors
}

// kind is the type of a field.
type kind string

const (
	object   kind = "a mapping"
	text     kind = "a string"
	boolean  kind = "true or false"
	integer  kind = "a whole number"
	quantity kind = "a quantity of zero or more, such as 300Mi"
	texts    kind = "a list of strings"
	pairs    kind = "a mapping of strings"
	duration kind = "a duration of at least a second, in hours, minutes and seconds, such as 1h30m"
	list     kind = "a list"
	secrets  kind = "a list of references to Secrets"
	deletion kind = "Delete or Retain"
)

// node describes a field.
type node struct {
	kind   kind
	class  Class
	fields map[string]node
	// rest is the kind of fields that aren't listed.
	rest kind
	// standard is the default in the operator's CRD, which is harmless.
	standard string
	// newer is true if some operators that Muster supports don't have the field.
	newer bool
}

// The fields of a MondooAuditConfig's spec, in the operator v13.3.0 and later ones until August 2026.
var (
	secretRef  = node{kind: object, class: NamesSecret}
	patterns   = fields(map[string]node{"include": {kind: texts}, "exclude": {kind: texts}})
	namespaces = fields(map[string]node{"namespaces": patterns})
	amounts    = node{kind: object, rest: quantity, fields: map[string]node{"cpu": {kind: quantity}, "memory": {kind: quantity}, "ephemeral-storage": {kind: quantity}}}
	resources  = fields(map[string]node{"limits": amounts, "requests": amounts})
	// Labels and annotations of Pods have other controllers put sidecars and Secrets into them, and nodes differ in what they have.
	jobOverrides = node{kind: object, newer: true, fields: map[string]node{"ttlSecondsAfterFinished": {kind: integer}, "labels": {kind: pairs, class: Privileged},
		"annotations": {kind: pairs, class: Privileged}, "nodeSelector": {kind: pairs, class: Privileged}, "tolerations": {kind: list, class: Privileged}}}
	environment = node{kind: list, class: Privileged}

	specFields = fields(map[string]node{
		"mondooCredsSecretRef": secretRef,
		"mondooTokenSecretRef": secretRef,
		"scanner": fields(map[string]node{
			"serviceAccountName": {kind: text, class: Privileged, standard: "mondoo-operator-k8s-resources-scanning"},
			"image": fields(map[string]node{"name": {kind: text, class: Privileged}, "tag": {kind: text, class: Privileged},
				"digest": {kind: text, class: Privileged}, "pullPolicy": {kind: text, class: Privileged}}),
			"resources":                       resources,
			"replicas":                        {kind: integer},
			"privateRegistriesPullSecretRef":  secretRef,
			"privateRegistriesPullSecretRefs": {kind: secrets, class: NamesSecret},
			"env":                             environment,
		}),
		"kubernetesResources": fields(map[string]node{
			"enable": {kind: boolean}, "containerImageScanning": {kind: boolean}, "schedule": {kind: text}, "activeDeadline": {kind: duration},
			"resourceWatcher": fields(map[string]node{"enable": {kind: boolean}, "debounceInterval": {kind: duration}, "minimumScanInterval": {kind: duration},
				"watchAllResources": {kind: boolean}, "resourceTypes": {kind: texts}}),
			"externalClusters": {kind: list},
			"jobOverrides":     jobOverrides,
		}),
		"nodes": fields(map[string]node{
			"enable": {kind: boolean}, "schedule": {kind: text}, "style": {kind: text}, "intervalTimer": {kind: integer}, "resources": resources,
			"priorityClassName": {kind: text, class: Privileged}, "env": environment, "jobOverrides": jobOverrides,
		}),
		"containers": fields(map[string]node{
			"enable": {kind: boolean}, "schedule": {kind: text}, "activeDeadline": {kind: duration}, "resources": resources, "repositories": patterns,
			"scanCache":        fields(map[string]node{"enable": {kind: boolean}, "cacheTTL": {kind: duration}}),
			"workloadIdentity": {kind: object, class: Privileged}, "env": environment, "jobOverrides": jobOverrides,
		}),
		"consoleIntegration": fields(map[string]node{"enable": {kind: boolean}, "autoCreate": {kind: boolean}, "name": {kind: text}, "deletionPolicy": {kind: deletion, newer: true}}),
		"filtering":          namespaces,
		"spaceId":            {kind: text},
		"annotations":        {kind: pairs},
		"jobOverrides":       jobOverrides,
		"remoteManaged":      {kind: boolean, newer: true},
		"admission":          {kind: object, class: Privileged, newer: true}, // of operators before v12.1.0
	})
)

func fields(of map[string]node) node { return node{kind: object, fields: of} }

// Everywhere reports whether every operator that Muster supports has a field of an audit config's spec. A field below a
// list or a mapping of strings belongs to that.
func Everywhere(field []string) bool {
	n := specFields
	for _, part := range field {
		part, _, _ = strings.Cut(part, "[")
		if n.fields == nil {
			break
		}
		below, known := n.fields[part]
		if !known || below.newer {
			return false
		}
		n = below
	}
	return true
}

type inspection struct {
	uses   []Use
	errors []FieldError
}

func (in *inspection) node(v any, n node, field []string) {
	if v == nil {
		return
	}
	if !n.holds(v) {
		in.errors = append(in.errors, FieldError{Field: field, Want: string(n.kind)})
		return
	}
	switch {
	case n.kind == secrets:
		for i, item := range v.([]any) {
			in.node(item, secretRef, at(field, fmt.Sprintf("[%d]", i)))
		}
	case n.class == NamesSecret:
		in.reference(v.(map[string]any), field)
	case n.fields != nil:
		m := v.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(m)) {
			below, known := n.fields[key]
			if !known {
				below = node{kind: n.rest, class: UnknownField}
			}
			in.node(m[key], below, at(field, key))
		}
	case n.class != "":
		in.use(v, n, field)
	}
}

// reference inspects a reference to a Secret, which may only have a name.
func (in *inspection) reference(ref map[string]any, field []string) {
	for _, key := range slices.Sorted(maps.Keys(ref)) {
		name, ok := ref[key].(string)
		switch {
		case ref[key] == nil:
		case key != "name":
			in.use(ref[key], node{class: UnknownField}, at(field, key))
		case !ok:
			in.errors = append(in.errors, FieldError{Field: at(field, key), Want: string(text)})
		case name != "":
			in.uses = append(in.uses, Use{field, NamesSecret, name, true})
		}
	}
}

// use adds a field that isn't harmless, and the Secrets that are named below it.
func (in *inspection) use(v any, n node, field []string) {
	if empty(v) {
		return
	}
	value, single := scalar(v)
	if n.standard != "" && value == n.standard {
		return
	}
	in.uses = append(in.uses, Use{field, n.class, value, single})
	for ref, name := range SecretNames(map[string]any{last(field): v}) {
		in.uses = append(in.uses, Use{append(slices.Clip(field[:len(field)-1]), ref...), NamesSecret, name, true})
	}
}

// holds reports whether a value has the field's kind. An unknown field may have any value.
func (n node) holds(v any) bool {
	switch n.kind {
	case object:
		_, ok := v.(map[string]any)
		return ok
	case text:
		_, ok := v.(string)
		return ok
	case boolean:
		_, ok := v.(bool)
		return ok
	case integer:
		return whole(v)
	case quantity:
		q, ok := amount(v)
		return ok && q.Sign() >= 0
	case list, secrets:
		_, ok := v.([]any)
		return ok
	case texts:
		items, ok := v.([]any)
		return ok && !slices.ContainsFunc(items, func(item any) bool { _, ok := item.(string); return !ok })
	case pairs:
		m, ok := v.(map[string]any)
		for _, item := range m {
			if _, isText := item.(string); !isText {
				return false
			}
		}
		return ok
	case deletion:
		return v == "Delete" || v == "Retain"
	case duration:
		// The operator rounds to seconds, and 0 is no deadline or no pause at all.
		s, ok := v.(string)
		d, err := time.ParseDuration(s)
		return ok && err == nil && d >= time.Second
	}
	return true
}

func number(v any) bool {
	switch v.(type) {
	case int, int64, uint64, float64:
		return true
	}
	return false
}

func whole(v any) bool {
	f, isFloat := v.(float64)
	return number(v) && (!isFloat || f == math.Trunc(f))
}

// empty reports whether a value is what the operator writes for an absent field.
func empty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			if !empty(item) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	case nil:
		return true
	}
	return v == ""
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	}
	if number(v) {
		return fmt.Sprint(v), true
	}
	return "", false
}

// SecretNames iterates over the names of Secrets below a value, each with the field that names it. Kubernetes has many
// such fields, and all have "secret" in their names: secretKeyRef, secretRef, imagePullSecrets, a volume's
// secret.secretName. Their value is a name, a mapping with a name, or a list of either.
func SecretNames(v any) iter.Seq2[[]string, string] {
	return func(yield func([]string, string) bool) { secretNames(v, nil, false, yield) }
}

// secretNames visits a value. isRef is true below a field that names Secrets.
func secretNames(v any, field []string, isRef bool, yield func([]string, string) bool) bool {
	switch v := v.(type) {
	case string:
		return !isRef || v == "" || yield(field, v)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			name, isText := v[key].(string)
			if isRef && isText && (key == "name" || key == "secretName") {
				if name != "" && !yield(field, name) {
					return false
				}
				continue
			}
			// Below a reference, texts such as the key in the Secret are no names.
			if named := strings.Contains(strings.ToLower(key), "secret"); !secretNames(v[key], at(field, key), named, yield) {
				return false
			}
		}
	case []any:
		for i, item := range v {
			if !secretNames(item, at(field, fmt.Sprintf("[%d]", i)), isRef, yield) {
				return false
			}
		}
	}
	return true
}

func at(field []string, key string) []string { return append(slices.Clip(field), key) }

func last(field []string) string { return field[len(field)-1] }

// RemoteManaged reports whether Mondoo's console replaces an audit config's list of external clusters, as newer
// operators support.
func RemoteManaged(auditConfig map[string]any) bool {
	return At(auditConfig, []string{"spec", "remoteManaged"}) == true
}

// TextAt returns the string at a field; empty if there is none. It is for live objects, whose types the API server has
// checked. Objects from Git are checked by [Inspect] first.
func TextAt(object map[string]any, field ...string) string {
	if text, ok := At(object, field).(string); ok {
		return text
	}
	return ""
}

// DeletesIntegration reports whether removing an audit config also deletes its integration at Mondoo. By default, newer
// operators delete an integration that they have created; made reports whether this one is known to be one.
func DeletesIntegration(auditConfig map[string]any) (deletes, made bool) {
	made = TextAt(auditConfig, "status", "integrationMRN") != ""
	switch TextAt(auditConfig, "spec", "consoleIntegration", "deletionPolicy") {
	case "Delete":
		return true, made
	case "": // an operator that has no such field, or one that has not written the object yet
		return made || At(auditConfig, []string{"spec", "consoleIntegration", "enable"}) == true, made
	}
	return false, made
}

// At returns the value at a field of an object, or nil.
func At(object map[string]any, field []string) any {
	var v any = object
	for _, part := range field {
		switch below := v.(type) {
		case map[string]any:
			v = below[part]
		case []any:
			i, err := strconv.Atoi(strings.Trim(part, "[]"))
			if err != nil || i < 0 || i >= len(below) {
				return nil
			}
			v = below[i]
		default:
			return nil
		}
	}
	return v
}

// Texts iterates over all strings below a value, except for the keys of mappings.
func Texts(v any) iter.Seq[string] {
	return func(yield func(string) bool) { eachText(v, yield) }
}

func eachText(v any, yield func(string) bool) bool {
	switch v := v.(type) {
	case string:
		return yield(v)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if !eachText(v[key], yield) {
				return false
			}
		}
	case []any:
		for _, item := range v {
			if !eachText(item, yield) {
				return false
			}
		}
	}
	return true
}
