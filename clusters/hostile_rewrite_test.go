package clusters_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// rewrite changes a file so that its MAC may still hold, and mostly puts a patch over it that takes out what would be in the way.
func (h *hostile) rewrite() {
	kind := h.kind()
	name := pick(h, victims[kind])
	file := fileOfVictim(kind, name)
	if victimFiles[name] != "" && kind == "ExternalCluster" && h.IntN(3) > 0 {
		file, kind = victimFiles[name], ""
	}
	documents := documentsOf(h.files["clusters/"+file])
	if documents == nil {
		return
	}
	root := pick(h, documents)
	var undo []any
	for range 1 + h.IntN(3) {
		if h.IntN(10) == 0 {
			documents = h.split(file, documents, root)
			continue
		}
		undo = append(undo, h.change("clusters/"+file, root)...)
	}
	text, ok := written(documents)
	if !ok {
		return
	}
	h.files["clusters/"+file] = text
	if len(undo) > 0 && kind != "" {
		h.patch(kind, name, undo...)
	}
}

// written are documents as YAML, unless the changes made something of them that the encoder can't write, for which it panics.
func written(documents []*yaml.Node) (text string, ok bool) {
	defer func() { ok = recover() == nil && ok }()
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(4)
	for _, d := range documents {
		if encoder.Encode(d) != nil {
			return "", false
		}
	}
	err := encoder.Close()
	return out.String(), err == nil
}

func documentsOf(text string) []*yaml.Node {
	var list []*yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var d yaml.Node
		if decoder.Decode(&d) != nil || len(d.Content) == 0 || d.Content[0].Kind != yaml.MappingNode {
			return list
		}
		list = append(list, d.Content[0])
	}
}

// split makes two documents of one, or joins one with the next.
func (h *hostile) split(file string, documents []*yaml.Node, root *yaml.Node) []*yaml.Node {
	i := slices.Index(documents, root)
	if i+1 < len(documents) && h.IntN(2) == 0 {
		root.Content = append(root.Content, documents[i+1].Content...)
		h.did = append(h.did, file+": joined with the next document")
		return slices.Delete(documents, i+1, i+2)
	}
	data, err := yaml.Marshal(root)
	if err != nil {
		return documents
	}
	second := documentsOf(string(data))[0]
	for j, block := range []*yaml.Node{child(root, "stringData"), child(root, "data"), child(child(root, "spec"), "serviceAccountAuth")} {
		if block == nil || len(block.Content) < 4 {
			continue
		}
		other := []*yaml.Node{child(second, "stringData"), child(second, "data"), child(child(second, "spec"), "serviceAccountAuth")}[j]
		cut := 2 * (1 + h.IntN(len(block.Content)/2-1))
		block.Content, other.Content = block.Content[:cut], other.Content[cut:]
	}
	if name := child(child(second, "metadata"), "name"); name != nil {
		name.Value = "spare"
	}
	h.did = append(h.did, file+": split in two documents")
	return slices.Insert(documents, i+1, second)
}

// change changes a document, and returns the operations of a patch that takes what it has put there out again.
func (h *hostile) change(file string, root *yaml.Node) []any {
	all := mappings(root, nil)
	at := pick(h, all)
	// Mostly where the credentials are.
	if holder := slices.IndexFunc(all, func(p mappingAt) bool {
		return slices.Contains([]string{"/stringData", "/data", "/spec/serviceAccountAuth"}, p.path)
	}); holder >= 0 && h.IntN(3) > 0 {
		at = all[holder]
	}
	if len(at.node.Content) == 0 {
		return nil
	}
	i := 2 * h.IntN(len(at.node.Content)/2)
	key, value := at.node.Content[i], at.node.Content[i+1]
	insert := func(m mappingAt, place int, name string, v *yaml.Node) []any {
		m.node.Content = slices.Insert(m.node.Content, place, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, v)
		return []any{map[string]any{"op": "remove", "path": m.path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)}}
	}
	scalar := func(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }
	quoted := func(text string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: text}
	}
	kind := h.IntN(15)
	h.did = append(h.did, fmt.Sprintf("%s: %d at %s/%s", file, kind, at.path, key.Value))
	switch kind {
	case 0: // the end of a value goes into a field of its own
		if value.Kind == yaml.ScalarNode && len(value.Value) > 3 && !strings.HasPrefix(value.Value, "ENC[") {
			cut := 1 + h.IntN(len(value.Value)-1)
			rest := value.Value[cut:]
			value.Value = value.Value[:cut]
			return insert(at, i+2, "junk", quoted(rest))
		}
	case 1: // a value is joined with the next one
		if i+3 < len(at.node.Content) && value.Kind == yaml.ScalarNode && at.node.Content[i+3].Kind == yaml.ScalarNode {
			value.Value += strings.Replace(strings.Replace(at.node.Content[i+3].Value, "true", "True", 1), "false", "False", 1)
			at.node.Content = slices.Delete(at.node.Content, i+2, i+4)
		}
	case 2: // what counts for nothing is put in between
		return insert(at, i, pick(h, []string{"skipTLSVerify", "junk", "caCert", "ca.crt", "server"}), pick(h, []*yaml.Node{scalar("null"), scalar("~"), quoted(""), {Kind: yaml.MappingNode}, {Kind: yaml.SequenceNode}}))
	case 3: // a field goes to the next mapping, with its keys joined so that sops can't tell
		parts := append(strings.Split(strings.Trim(at.path, "/"), "/"), key.Value)
		at.node.Content = slices.Delete(at.node.Content, i, i+2)
		return insert(mappingAt{root, ""}, 2*h.IntN(len(root.Content)/2), strings.Join(parts, ":"), value)
	case 4: // two fields change places
		j := 2 * h.IntN(len(at.node.Content)/2)
		at.node.Content[i], at.node.Content[j] = at.node.Content[j], at.node.Content[i]
		at.node.Content[i+1], at.node.Content[j+1] = at.node.Content[j+1], at.node.Content[i+1]
	case 5: // two keys change places
		j := 2 * h.IntN(len(at.node.Content)/2)
		at.node.Content[i], at.node.Content[j] = at.node.Content[j], at.node.Content[i]
	case 6: // a field gets another name
		key.Value = pick(h, []string{"server", "caCert", "ca.crt", "skipTLSVerify", "token", "junk", "kubeconfig", "certificate-authority-data", "insecure-skip-tls-verify"})
	case 7: // a field is moved to another mapping
		to := pick(h, all)
		at.node.Content = slices.Delete(at.node.Content, i, i+2)
		return insert(to, 2*h.IntN(len(to.node.Content)/2+1), key.Value, value)
	case 8: // the sops block is changed
		if sops := child(root, "sops"); sops != nil {
			h.sops(sops)
		}
	case 9: // a plain value in the place of an encrypted one
		if value.Kind == yaml.ScalarNode {
			*value = *scalar(pick(h, []string{"https://evil.example.com", "true", "false", "null", "https://old.gr7.eu", "x"}))
		}
	case 10: // an encrypted value of an older version, or one that the MAC leaves out
		if older, ok := h.good.older[file]; ok && value.Kind == yaml.ScalarNode {
			if text := scalarAfter(older, key.Value+": "); strings.HasPrefix(text, "ENC[") {
				value.Value = text
			}
		}
		if h.IntN(2) == 0 {
			value.Value = strings.Replace(value.Value, "type:str", pick(h, []string{"type:comment", "type:bytes", "type:bool"}), 1)
		}
	case 11: // a value of another file
		from := h.kind()
		other := h.good.files["clusters/"+fileOfVictim(from, pick(h, victims[from]))]
		if text := scalarAfter(other, key.Value+": "); text != "" && value.Kind == yaml.ScalarNode {
			value.Value = text
		}
	case 12: // an item more in a list, or the whole as an item
		switch {
		case value.Kind == yaml.SequenceNode && len(value.Content) > 0:
			value.Content = append(value.Content, value.Content[0])
		case value.Kind == yaml.ScalarNode:
			kept := *value
			*value = yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{&kept}}
		case value.Kind == yaml.MappingNode && len(value.Content) > 2:
			list := &yaml.Node{Kind: yaml.SequenceNode}
			for j := 0; j+1 < len(value.Content); j += 2 {
				list.Content = append(list.Content, &yaml.Node{Kind: yaml.MappingNode, Content: value.Content[j : j+2]})
			}
			*value = *list
		}
	case 13: // an encrypted value of an older version, which lacks the end, and that end as plain text behind it
		if text := scalarAfter(h.good.older[file], "server: "); strings.HasPrefix(text, "ENC[") && child(at.node, "server") != nil {
			child(at.node, "server").Value = text
			to := pick(h, all)
			if h.IntN(2) == 0 {
				to = at
			}
			return insert(to, 2*h.IntN(len(to.node.Content)/2+1), "junk", quoted("m"))
		}
	case 14: // a value goes in front of another plain one
		if value.Kind == yaml.ScalarNode && i >= 2 && at.node.Content[i-1].Kind == yaml.ScalarNode {
			before := at.node.Content[i-1].Value
			at.node.Content = slices.Delete(at.node.Content, i-2, i)
			return insert(at, i-2, "junk", quoted(before))
		}
	}
	return nil
}

// sops changes the block that says how a file is encrypted.
func (h *hostile) sops(block *yaml.Node) {
	set := func(name, value string) {
		if n := child(block, name); n != nil {
			n.Value = value
			return
		}
		block.Content = append(block.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, &yaml.Node{Kind: yaml.ScalarNode, Value: value})
	}
	switch h.IntN(4) {
	case 0:
		set("mac_only_encrypted", pick(h, []string{"true", "false", "True", "null", "1"}))
	case 1:
		set("encrypted_regex", pick(h, []string{"^token$", "^(token|spec:serviceAccountAuth)$", "^(server|token)$", "^(token|caCert)$", ".*"}))
	case 2:
		set("unencrypted_suffix", pick(h, []string{"caCert", "_unencrypted", "server"}))
	case 3:
		set("encrypted_comment_regex", "x")
	}
}

// mappingAt is a mapping with its JSON pointer.
type mappingAt struct {
	node *yaml.Node
	path string
}

func mappings(n *yaml.Node, all []mappingAt, path ...string) []mappingAt {
	if n.Kind == yaml.MappingNode {
		at := ""
		if len(path) > 0 {
			at = "/" + strings.Join(path, "/")
		}
		all = append(all, mappingAt{n, at})
	}
	for i, c := range n.Content {
		switch {
		case n.Kind == yaml.MappingNode && (i%2 == 0 || n.Content[i-1].Value == "sops"):
		case n.Kind == yaml.MappingNode:
			all = mappings(c, all, append(slices.Clone(path), n.Content[i-1].Value)...)
		default:
			all = mappings(c, all, append(slices.Clone(path), fmt.Sprint(i))...)
		}
	}
	return all
}

func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
