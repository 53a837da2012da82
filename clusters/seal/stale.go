package seal

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Stale finds, without a key, a file whose values have changed since an earlier version while its MAC has not. Such a file can't
// be opened. Stale ignores files whose MAC doesn't cover plain values, which may be edited, and versions that it can't read.
func Stale(f *load.File, before string) *finding.Finding {
	var roots []*yaml.Node
	for _, d := range f.Documents {
		if MACOnly(d.Node()) {
			return nil
		}
		roots = append(roots, d.Node())
	}
	earlier := documents(before)
	if mac := macOf(roots); mac == "" || mac != macOf(earlier) {
		return nil
	}
	now, then := leaves(roots), leaves(earlier)
	if text(now) == text(then) {
		return nil
	}
	at := roots[0]
	for i, leaf := range now {
		if at = leaf.node; i >= len(then) || then[i].text != leaf.text {
			break
		}
	}
	return &finding.Finding{Code: CodeTampered, Severity: finding.Error, Path: f.Path, Line: at.Line, Column: at.Column,
		Message: "a value was changed without sops: the file's MAC is from before the change and covers this value, so the file can't be opened",
		Fix: "undo the change, and repeat it with sops edit " + f.Path + " or sops set; to be able to edit plain values without the key, put " +
			v1alpha1.SopsRule + " into .sops.yaml, and run sops decrypt --in-place and sops encrypt --in-place on it"}
}

// documents returns the roots of a text's YAML documents, up to the first that can't be parsed.
func documents(data string) []*yaml.Node {
	var roots []*yaml.Node
	for decoder := yaml.NewDecoder(strings.NewReader(data)); ; {
		var doc yaml.Node
		if decoder.Decode(&doc) != nil {
			return roots
		}
		if len(doc.Content) > 0 && doc.Content[0].Kind == yaml.MappingNode {
			roots = append(roots, doc.Content[0])
		}
	}
}

func macOf(roots []*yaml.Node) string {
	for _, root := range roots {
		if mac := load.Field(root, "sops", "mac"); mac != nil {
			return mac.Value
		}
	}
	return ""
}

// leaf is a value in the form that the MAC covers. An encrypted value stays encrypted.
type leaf struct {
	node *yaml.Node
	text string
}

func leaves(roots []*yaml.Node) []leaf {
	var all []leaf
	for _, root := range roots {
		for key, value := range pairs(root) {
			if key.Value != "sops" {
				all = appendLeaves(all, value)
			}
		}
	}
	return all
}

func appendLeaves(all []leaf, n *yaml.Node) []leaf {
	switch n.Kind {
	case yaml.ScalarNode:
		var v any
		if n.Decode(&v) != nil {
			return all
		}
		if text, ok := macText(v); ok {
			all = append(all, leaf{n, text})
		}
	case yaml.MappingNode:
		for _, value := range pairs(n) {
			all = appendLeaves(all, value)
		}
	default:
		for _, item := range n.Content {
			all = appendLeaves(all, item)
		}
	}
	return all
}

// macText returns what the MAC covers of a value, as sops.ToBytes does. It covers no null.
func macText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int:
		return strconv.Itoa(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return map[bool]string{true: "True", false: "False"}[v], true
	case time.Time:
		data, err := v.MarshalText()
		return string(data), err == nil
	default:
		return "", false
	}
}

// text returns what the MAC covers: the values, without separators.
func text(leaves []leaf) string {
	var b strings.Builder
	for _, l := range leaves {
		b.WriteString(l.text)
	}
	return b.String()
}
