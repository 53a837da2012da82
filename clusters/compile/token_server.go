package compile

import (
	"iter"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// A token is bound to the server that it is sent to, to the server's CA, and to whether TLS is verified. An attacker
// without keys can rewrite everything in a file that its MAC doesn't cover, and every kustomization. So the binding is
// checked twice: on the raw document (exactForm), and on kustomize's output (sameAsWritten).
//
// The MAC covers less than it seems to. It is a hash over all values in their order, without keys, list positions or
// separators between them. It doesn't cover nulls, empty strings, comments or the sops block. An encrypted value is
// also tied to the path of keys above it, but not to its position in a list, and "a: {b: x}" and "a:b: x" have the same
// path. A value is therefore only trusted where the bytes under the MAC can't be read in any other way.

// authFields are the only fields of serviceAccountAuth that a file with a token may have: those that are bound.
var authFields = []string{"server", "token", "caCert", "skipTLSVerify"}

// unbound returns what would let an attacker without keys send an inline token to another server than it was encrypted
// for.
func (c *compiler) unbound(r kustomize.Resource) (field, message, fix string) {
	auth, isMapping := valueAt(r.Object, "spec", "serviceAccountAuth").(map[string]any)
	token, isText := auth["token"].(string)
	ref, sealed := c.tree.Ref(token)
	if !isMapping || !isText || !sealed {
		return "", "", "" // a plain token is reported elsewhere
	}
	source := c.tree.Loaded.Files[ref.Path]
	if source == nil || len(source.Documents) != 1 || !slices.Equal(ref.Keys, []string{"spec", "serviceAccountAuth", "token"}) || c.isCopy(r, ref) {
		return "server", "the token was copied here from another field or file", "write the token into spec.serviceAccountAuth.token of the cluster's own file"
	}
	if field, message, fix := exactForm(source.Documents[0]); message != "" {
		return field, message, fix
	}
	return c.sameAsWritten(source.Documents[0], ref.Path, auth)
}

// isCopy reports whether an encrypted value comes from another object of the repository. A patch may bring its own.
func (c *compiler) isCopy(r kustomize.Resource, ref seal.Ref) bool {
	return ref.Path != r.Path && slices.ContainsFunc(c.built.Resources, func(other *kustomize.Resource) bool { return other.Path == ref.Path })
}

// sameAsWritten returns what kustomize has changed in the bound fields, compared with the document that has the token.
func (c *compiler) sameAsWritten(doc *load.Document, path string, auth map[string]any) (field, message, fix string) {
	for _, name := range authFields {
		written, built := doc.Field("spec", "serviceAccountAuth", name), auth[name]
		text, isText := built.(string)
		same := built == nil
		switch ref, sealed := c.tree.Ref(text); {
		case written == nil:
		case sealed && isText:
			same = ref.Path == path && slices.Equal(ref.Keys, []string{"spec", "serviceAccountAuth", name})
		case name == "skipTLSVerify":
			same = built == (written.Value == "true")
		default:
			same = built == written.Value && !seal.IsEncryptedValue(written.Value)
		}
		if !same {
			at := name
			if written == nil {
				at = "server"
			}
			return at, name + " differs from " + path + ", where the token is: that file's MAC doesn't cover the change, which could send the token to another host",
				"write " + name + " next to the token; don't patch it"
		}
	}
	return "", "", ""
}

// exactForm returns what makes the MAC of a document with a token ambiguous about where the token is sent.
func exactForm(doc *load.Document) (field, message, fix string) {
	root := doc.Node()
	if key := joinedKey(root); key != "" {
		return "token", "the key " + key + " has a colon: sops can't tell an encrypted value below it from one in another place", "remove the key, and encrypt the file again"
	}
	auth := load.Field(root, "spec", "serviceAccountAuth")
	if field, message, fix := onlyBound(auth); message != "" {
		return field, message, fix
	}
	all := !seal.MACOnly(root)
	for _, check := range []func(*yaml.Node, bool) (string, string, string){plainFields, skipPlace, serverPlace} {
		if field, message, fix := check(auth, all); message != "" {
			return field, message, fix
		}
	}
	if ca := load.Field(auth, "caCert"); ca != nil && all {
		return ambiguousCA(root, ca)
	}
	return "", "", ""
}

// onlyBound refuses anything in serviceAccountAuth except strings, true and false: a null, an empty string or another
// key could hold the rest of a value that was cut in two.
func onlyBound(auth *yaml.Node) (field, message, fix string) {
	if auth == nil || auth.Kind != yaml.MappingNode {
		return "token", "the token is not written in spec.serviceAccountAuth", "write server, token and caCert below spec.serviceAccountAuth"
	}
	for i := 0; i+1 < len(auth.Content); i += 2 {
		key, value := auth.Content[i], auth.Content[i+1]
		good := exactScalar(value) && value.ShortTag() == "!!str" && value.Value != ""
		if key.Value == "skipTLSVerify" {
			good = exactScalar(value) && (value.Value == "true" || value.Value == "false") && value.ShortTag() == "!!bool"
		}
		switch {
		case !exactScalar(key) || !slices.Contains(authFields, key.Value):
			return "token", "a file with a token can't have the field " + key.Value + " in serviceAccountAuth: the MAC doesn't cover which value belongs to which field",
				"keep only server, token, caCert and skipTLSVerify, and encrypt the file again"
		case !good:
			return key.Value, key.Value + " next to an encrypted token must be " + map[bool]string{true: "the word true or false", false: "a non-empty string"}[key.Value == "skipTLSVerify"] +
				": the MAC doesn't cover anything else", "write it like that, and encrypt the file again"
		}
	}
	return "", "", ""
}

// exactScalar reports whether a node is a scalar without an anchor or a tag, which could change its meaning.
func exactScalar(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0
}

// plainFields refuses fields that are neither encrypted nor under the MAC.
func plainFields(auth *yaml.Node, all bool) (field, message, fix string) {
	for _, name := range []string{"server", "caCert", "skipTLSVerify"} {
		n := load.Field(auth, name)
		if all || n == nil || seal.IsEncryptedValue(n.Value) || n.Value == "false" {
			continue
		}
		if name == "skipTLSVerify" {
			return name, "the file's MAC covers only encrypted values (mac_only_encrypted), so anyone could turn off the check of the server's certificate",
				"remove skipTLSVerify; or give the file its own rule in .sops.yaml without mac_only_encrypted, and encrypt it again"
		}
		return name, "the file's MAC covers only encrypted values (mac_only_encrypted), so a change of " + name + " could send the token to another host",
			"encrypt " + name + " too (" + v1alpha1.SopsRule + "), or remove mac_only_encrypted from .sops.yaml; then encrypt the file again"
	}
	return "", "", ""
}

// skipPlace requires skipTLSVerify: true between server and token. Elsewhere, it could be the true of another field
// under the MAC.
func skipPlace(auth *yaml.Node, _ bool) (field, message, fix string) {
	n := load.Field(auth, "skipTLSVerify")
	if n == nil || n.Value != "true" || follows(auth, "skipTLSVerify", "server") && before(auth, "server", "token") {
		return "", "", ""
	}
	return "skipTLSVerify", "the file's MAC doesn't prove that skipTLSVerify was true, because it does not directly follow server",
		"write skipTLSVerify between server and token, and encrypt the file again"
}

// serverPlace requires a plain server before the token, with nothing between them that could be part of an address. If
// the MAC covers plain values, an encrypted server must not be last: plain text after it could make up for the missing
// end of an older version.
func serverPlace(auth *yaml.Node, all bool) (field, message, fix string) {
	n := load.Field(auth, "server")
	switch {
	case n == nil || seal.IsEncryptedValue(n.Value) && (!all || !last(auth, "server")):
		return "", "", ""
	case seal.IsEncryptedValue(n.Value):
		return "server", "the file's MAC doesn't prove where the server ends, because nothing encrypted follows it; an older version could replace it",
			"write server before token, and encrypt the file again"
	case strings.Count(n.Value, "://") > 1:
		// With another address in front of it, the server would be another.
		return "server", "the server contains a second address, which may have been another field's when the file was encrypted", "write only the server's address, and encrypt the file again"
	case strings.HasSuffix(n.Value, "True") || strings.HasSuffix(n.Value, "False"):
		// Under the MAC, true and false are written like this.
		return "server", "the server ends with True or False, which may have been another field's when the file was encrypted", "encrypt server too"
	case !before(auth, "server", "token"):
		return "server", "the file's MAC doesn't prove where the server ends, because the token does not follow it; its end could be cut off unnoticed",
			"write server before token, and encrypt the file again; or encrypt server too"
	}
	return "", "", ""
}

// Begin and end of certificates and other PEM blocks.
const beginPEM = "-----BEGIN "

var endPEM = regexp.MustCompile(`-----END [A-Z0-9 ]+-----\n*$`)

// ambiguousCA requires caCert to be the only certificates in the document: then the MAC proves where it begins and
// ends. Next to an encrypted caCert, other certificates could make up for what an older version of it lacks.
func ambiguousCA(root, ca *yaml.Node) (field, message, fix string) {
	var rest strings.Builder
	for key, value := range content(root) {
		if key != "sops" {
			writeOthers(&rest, value, ca)
		}
	}
	onlyCertificates := !strings.Contains(rest.String(), beginPEM)
	switch {
	case seal.IsEncryptedValue(ca.Value) && !onlyCertificates:
		return "caCert", "another field of the file contains certificates, so the MAC doesn't prove where caCert ends", "remove the other field, and encrypt the file again"
	case seal.IsEncryptedValue(ca.Value), !strings.Contains(ca.Value, beginPEM): // other values than certificates are reported elsewhere
		return "", "", ""
	case onlyCertificates && strings.HasPrefix(ca.Value, beginPEM) && endPEM.MatchString(ca.Value):
		return "", "", ""
	}
	return "caCert", "the file's MAC doesn't prove where caCert begins and ends: it must contain only certificates, without text around them, and no other field may contain certificates",
		"encrypt caCert too, and encrypt the file again"
}

// writeOthers writes the plain strings below a node, except for ca, one after the other like the MAC, with a mark in
// place of every other value.
func writeOthers(out *strings.Builder, n, ca *yaml.Node) {
	const mark = "\x00"
	switch {
	case n == ca || n.Kind == yaml.ScalarNode && (seal.IsEncryptedValue(n.Value) || n.ShortTag() != "!!str" && n.ShortTag() != "!!null"):
		out.WriteString(mark)
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str":
		out.WriteString(n.Value)
	}
	for _, value := range content(n) {
		writeOthers(out, value, ca)
	}
}

// content iterates over the values directly below a mapping, with their keys, or a list, without keys.
func content(n *yaml.Node) iter.Seq2[string, *yaml.Node] {
	return func(yield func(string, *yaml.Node) bool) {
		for i, child := range n.Content {
			key := ""
			if n.Kind == yaml.MappingNode {
				if i%2 == 0 {
					continue
				}
				key = n.Content[i-1].Value
			}
			if !yield(key, child) {
				return
			}
		}
	}
}

// before reports whether one key comes before another in a mapping.
func before(mapping *yaml.Node, key, other string) bool {
	return slices.Index(keysOf(mapping), key) < slices.Index(keysOf(mapping), other)
}

// follows reports whether one key comes directly after another in a mapping.
func follows(mapping *yaml.Node, key, other string) bool {
	return slices.Index(keysOf(mapping), key) == slices.Index(keysOf(mapping), other)+1
}

// last reports whether a key is the last of a mapping, ignoring skipTLSVerify.
func last(mapping *yaml.Node, key string) bool {
	keys := slices.DeleteFunc(keysOf(mapping), func(k string) bool { return k == "skipTLSVerify" })
	return len(keys) > 0 && keys[len(keys)-1] == key
}

func keysOf(mapping *yaml.Node) []string {
	var keys []string
	for key := range content(mapping) {
		keys = append(keys, key)
	}
	return keys
}

// joinedKey returns a key with a colon above an encrypted value. sops ties a value to its path of keys, joined by
// colons.
func joinedKey(n *yaml.Node) string {
	for key, value := range content(n) {
		if strings.Contains(key, ":") && hasEncrypted(value) {
			return key
		}
		if key := joinedKey(value); key != "" {
			return key
		}
	}
	return ""
}

func hasEncrypted(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && seal.IsEncryptedValue(n.Value) || slices.ContainsFunc(n.Content, hasEncrypted)
}
