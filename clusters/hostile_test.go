package clusters_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/finding"
)

var hostileEdits = flag.Int("hostile", 300, "how many hostile edits TestHostileEdits tries")

// TestHostileEdits changes a good fleet at random as somebody without keys could: files, so that their MACs may still hold, and the
// kustomization. Every credential that is still applied goes where it was encrypted for.
func TestHostileEdits(t *testing.T) {
	g := goodFleet(t)
	allowed, opener := g.allowed(t), g.key.Opener(t)
	applied, refused := 0, 0
	for seed := range *hostileEdits {
		h := &hostile{Rand: rand.New(rand.NewPCG(uint64(seed), 9)), good: g, files: maps.Clone(g.files)}
		h.edit()
		r := render(t, h.files.fs(), "clusters", options, opener)
		for _, b := range strangers(t, r.opened, allowed) {
			t.Errorf("seed %d: not encrypted together: %s\n%s\n%s", seed, b, strings.Join(h.did, "\n"), h.changed())
		}
		applied += len(bonds(t, r.opened))
		if finding.Errors(r.findings()) > 0 {
			refused++
		}
	}
	t.Logf("%d edits: %d credentials applied, each where it was encrypted for; %d edits with an error", *hostileEdits, applied, refused)
	if applied == 0 || refused == 0 {
		t.Error("the edits show nothing: all or none of them are refused")
	}
}

// hostile is one attempt.
type hostile struct {
	*rand.Rand
	good  good
	files files
	did   []string
}

func (h *hostile) changed() string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h.files)) {
		if h.files[name] != h.good.files[name] {
			fmt.Fprintf(&out, "--- %s\n%s\n", name, h.files[name])
		}
	}
	return out.String()
}

func pick[T any](h *hostile, list []T) T { return list[h.IntN(len(list))] }

var victims = []string{"new", "old", "skip", "half", "inline", "registry", "fields", "binary"}

// edit changes one or two files, and mostly puts a patch over them that takes out what would be in the way.
func (h *hostile) edit() {
	var patches []string
	for range 1 + h.IntN(2) {
		victim := pick(h, victims)
		file := "clusters/" + victim + ".yaml"
		if victim == "fields" && h.IntN(3) > 0 {
			file = "clusters/fields-kubeconfig.yaml"
		}
		var doc yaml.Node
		if yaml.Unmarshal([]byte(h.files[file]), &doc) != nil {
			continue
		}
		root := doc.Content[0]
		for range 1 + h.IntN(3) {
			patches = append(patches, h.change(file, victim, root)...)
		}
		var out bytes.Buffer
		encoder := yaml.NewEncoder(&out)
		encoder.SetIndent(4)
		if encoder.Encode(&doc) == nil && encoder.Close() == nil {
			h.files[file] = out.String()
		}
	}
	for range h.IntN(3) {
		victim := pick(h, victims)
		patches = append(patches, patchOf(victim, pick(h, []string{
			`{op: replace, path: /spec/serviceAccountAuth/server, value: "https://evil.example.com"}`, `{op: add, path: /spec/serviceAccountAuth/skipTLSVerify, value: true}`,
			`{op: remove, path: /spec/serviceAccountAuth/caCert}`, `{op: remove, path: /spec/serviceAccountAuth/skipTLSVerify}`,
			`{op: copy, from: /spec/serviceAccountAuth/token, path: /spec/serviceAccountAuth/server}`, `{op: move, from: /spec/kubeconfig, path: /spec/schedule}`,
			`{op: copy, from: /metadata/annotations/runbook, path: /spec/serviceAccountAuth/server}`, `{op: replace, path: /metadata/name, value: other}`,
			`{op: remove, path: /spec/serviceAccountAuth/token}`, `{op: add, path: /spec/serviceAccountAuth/credentialsSecretRef, value: {name: mondoo-client-new-service-account}}`,
		})))
	}
	var replacements string
	if h.IntN(4) == 0 {
		field := pick(h, []string{"spec.serviceAccountAuth.server", "spec.serviceAccountAuth.token", "spec.serviceAccountAuth.caCert", "spec.serviceAccountAuth", "spec.kubeconfig", "spec"})
		from, to := pick(h, victims), pick(h, victims)
		replacements = "replacements:\n- source: {kind: ExternalCluster, name: " + from + ", fieldPath: " + field + "}\n  targets:\n  - select: {kind: ExternalCluster, name: " + to + "}\n    fieldPaths: [" + field + "]\n    options: {create: true}\n"
		h.did = append(h.did, "replacement "+field+" "+from+" "+to)
	}
	if len(patches)+len(replacements) > 0 {
		h.files["clusters/kustomization.yaml"] = "resources: [mondoo-client.yaml, " + strings.Join(victims, ".yaml, ") + ".yaml]\npatches:\n" + strings.Join(patches, "") + replacements
	}
}

func patchOf(cluster, op string) string {
	return "- target: {kind: ExternalCluster, name: " + cluster + "}\n  patch: |\n    - " + op + "\n"
}

// change changes a document, and returns patches that take what it has put there out again.
func (h *hostile) change(file, victim string, root *yaml.Node) []string {
	places := mappings(root, nil)
	at := pick(h, places)
	if auth := slices.IndexFunc(places, func(p mappingAt) bool { return strings.HasSuffix(p.path, "/serviceAccountAuth") }); auth >= 0 && h.IntN(3) > 0 {
		at = places[auth]
	}
	if len(at.node.Content) == 0 {
		return nil
	}
	i := 2 * h.IntN(len(at.node.Content)/2)
	key, value := at.node.Content[i], at.node.Content[i+1]
	insert := func(m mappingAt, place int, name string, v *yaml.Node) []string {
		m.node.Content = slices.Insert(m.node.Content, place, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, v)
		path := strings.ReplaceAll(m.path, "~", "~0") + "/" + name
		return []string{patchOf(victim, fmt.Sprintf("{op: remove, path: %q}", path))}
	}
	scalar := func(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }
	kind := h.IntN(13)
	h.did = append(h.did, fmt.Sprintf("%s: %d at %s/%s", file, kind, at.path, key.Value))
	switch kind {
	case 0: // the end of a value goes into a field of its own
		if value.Kind == yaml.ScalarNode && len(value.Value) > 3 && !strings.HasPrefix(value.Value, "ENC[") {
			cut := 1 + h.IntN(len(value.Value)-1)
			rest := value.Value[cut:]
			value.Value = value.Value[:cut]
			return insert(at, i+2, "junk", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: rest})
		}
	case 1: // a value is joined with the next one
		if i+3 < len(at.node.Content) && value.Kind == yaml.ScalarNode && at.node.Content[i+3].Kind == yaml.ScalarNode {
			value.Value += strings.Replace(strings.Replace(at.node.Content[i+3].Value, "true", "True", 1), "false", "False", 1)
			at.node.Content = slices.Delete(at.node.Content, i+2, i+4)
		}
	case 2: // what counts for nothing is put in between
		return insert(at, i, pick(h, []string{"skipTLSVerify", "junk", "caCert", "server"}), pick(h, []*yaml.Node{scalar("null"), scalar("~"), {Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle}, {Kind: yaml.MappingNode}, {Kind: yaml.SequenceNode}}))
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
		key.Value = pick(h, []string{"server", "caCert", "skipTLSVerify", "token", "junk", "kubeconfig", "certificate-authority-data", "insecure-skip-tls-verify"})
	case 7: // a field is moved to another mapping
		to := pick(h, places)
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
		other := h.good.files["clusters/"+pick(h, victims)+".yaml"]
		if text := scalarAfter(other, key.Value+": "); text != "" && value.Kind == yaml.ScalarNode {
			value.Value = text
		}
	case 12: // an item more in a list, or the whole as an item
		if value.Kind == yaml.SequenceNode && len(value.Content) > 0 {
			value.Content = append(value.Content, value.Content[0])
		} else if value.Kind == yaml.ScalarNode {
			kept := *value
			*value = yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{&kept}}
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
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
