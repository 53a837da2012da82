package compile

import (
	"iter"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/build"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// A token is bound to the server that it is sent to, to the CA that the server is recognised by, and to whether TLS is checked. Somebody
// without keys can rewrite all of a file but for what its MAC holds, and all of a kustomization. So what is bound is checked twice: on the
// raw document (exactForm), and on what kustomize has made of it (sameAsWritten).
//
// What the MAC holds is less than it seems. It is a hash over all values in their order, one after the other, without keys, list positions
// or borders between them; nulls, empty texts and comments are not in it. An encrypted value is also tied to the keys on its way, but not to
// its place in a list, and "a: {b: x}" and "a:b: x" are the same way. The sops block itself is not under the MAC. A value is therefore taken
// for what the document says only where the bytes under the MAC can't be read in any other way.

// authFields are those of serviceAccountAuth that a file with a token may have: what is bound, and nothing else.
var authFields = []string{"server", "token", "caCert", "skipTLSVerify"}

// unbound says what would let somebody without keys have an inline token sent elsewhere than where it was encrypted for.
func (c *compiler) unbound(r build.Resource) (field, message, fix string) {
	auth, isMapping := valueAt(r.Object, "spec", "serviceAccountAuth").(map[string]any)
	token, isText := auth["token"].(string)
	ref, sealed := c.tree.Ref(token)
	if !isMapping || !isText || !sealed {
		return "", "", "" // a plain token is an error of its own
	}
	source := c.tree.Loaded.Files[ref.Path]
	if source == nil || len(source.Documents) != 1 || !slices.Equal(ref.Keys, []string{"spec", "serviceAccountAuth", "token"}) || c.isCopy(r, ref) {
		return "server", "the token was copied here from another field or file", "put the token into spec.serviceAccountAuth.token of the cluster's own file"
	}
	if field, message, fix := exactForm(source.Documents[0]); message != "" {
		return field, message, fix
	}
	return c.sameAsWritten(source.Documents[0], ref.Path, auth)
}

// isCopy says whether an encrypted value of an object was written in another object of the repository. A patch may bring one along.
func (c *compiler) isCopy(r build.Resource, ref seal.Ref) bool {
	return ref.Path != r.Path && slices.ContainsFunc(c.built.Resources, func(other *build.Resource) bool { return other.Path == ref.Path })
}

// sameAsWritten says what kustomize has changed of what is bound, as it was written beside the token.
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
			return at, name + " is not as it is written in " + path + ", where the token is: the MAC there doesn't cover it, and a change could send the token to another host",
				"write " + name + " beside the token; don't patch it"
		}
	}
	return "", "", ""
}

// exactForm says what keeps the MAC of a document with a token from telling where the token goes.
func exactForm(doc *load.Document) (field, message, fix string) {
	root := doc.Node()
	if key := joinedKey(root); key != "" {
		return "token", "the key " + key + " has a colon: sops can't tell an encrypted value below it from one in another place", "take the key out, and encrypt the file again"
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
		return looseCA(root, ca)
	}
	return "", "", ""
}

// onlyBound refuses anything in serviceAccountAuth but texts, and the words true and false: a null, an empty text or another key could
// hold the rest of a value that was cut in two.
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
			return "token", "a file with a token can't have the field " + key.Value + " in serviceAccountAuth: the MAC doesn't tell which value belongs to which field",
				"keep server, token, caCert and skipTLSVerify alone, and encrypt the file again"
		case !good:
			return key.Value, key.Value + " beside an encrypted token must be " + map[bool]string{true: "true or false, as these words", false: "a text that is not empty"}[key.Value == "skipTLSVerify"] +
				": the MAC doesn't cover anything else", "write it so, and encrypt the file again"
		}
	}
	return "", "", ""
}

// exactScalar says whether a node is a scalar without anything that changes what it means.
func exactScalar(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0
}

// plainFields refuses what is neither encrypted nor under the MAC.
func plainFields(auth *yaml.Node, all bool) (field, message, fix string) {
	for _, name := range []string{"server", "caCert", "skipTLSVerify"} {
		n := load.Field(auth, name)
		if all || n == nil || seal.IsEncryptedValue(n.Value) || n.Value == "false" {
			continue
		}
		if name == "skipTLSVerify" {
			return name, "the file's MAC covers encrypted values alone (mac_only_encrypted), so that anybody could turn off the check of the server's certificate",
				"remove skipTLSVerify; or give the file a rule of its own in .sops.yaml without mac_only_encrypted, and encrypt it again"
		}
		return name, "the file's MAC covers encrypted values alone (mac_only_encrypted), so a change of " + name + " could send the token to another host",
			"encrypt " + name + " too (" + v1alpha1.SopsRule + "), or take mac_only_encrypted out of .sops.yaml, and encrypt the file again"
	}
	return "", "", ""
}

// skipPlace wants the true of skipTLSVerify between server and token: the true of any other field could have become this one's.
func skipPlace(auth *yaml.Node, _ bool) (field, message, fix string) {
	n := load.Field(auth, "skipTLSVerify")
	if n == nil || n.Value != "true" || follows(auth, "skipTLSVerify", "server") && before(auth, "server", "token") {
		return "", "", ""
	}
	return "skipTLSVerify", "the MAC of the file doesn't tell that skipTLSVerify is meant, since it does not follow server directly",
		"write skipTLSVerify between server and token, and encrypt the file again"
}

// serverPlace wants a plain server before the token, with nothing between the two but what can't be part of an address. Where the MAC covers
// plain values, an encrypted one may not be last: plain text behind it could make up for what an older version of it lacks.
func serverPlace(auth *yaml.Node, all bool) (field, message, fix string) {
	n := load.Field(auth, "server")
	switch {
	case n == nil || seal.IsEncryptedValue(n.Value) && (!all || !last(auth, "server")):
		return "", "", ""
	case seal.IsEncryptedValue(n.Value):
		return "server", "the MAC of the file doesn't tell where the server ends, since nothing encrypted comes after it, and an older version could take its place",
			"write server before token, and encrypt the file again"
	case strings.Count(n.Value, "://") > 1:
		// An address that was written before the server leads elsewhere in front of it.
		return "server", "the server has another address in it, which may have been written before it when the file was encrypted", "write the server's own address, and encrypt the file again"
	case strings.HasSuffix(n.Value, "True") || strings.HasSuffix(n.Value, "False"):
		// That is how true and false are written under the MAC.
		return "server", "the server ends with what may have been another field's true or false when the file was encrypted", "encrypt server too"
	case !before(auth, "server", "token"):
		return "server", "the MAC of the file doesn't tell where the server ends, since the token does not come after it, and part of it could be cut off unseen",
			"write server before token, and encrypt the file again; or encrypt server too"
	}
	return "", "", ""
}

// How certificates, and whatever else is written as PEM, begin and end.
const beginPEM = "-----BEGIN "

var endPEM = regexp.MustCompile(`-----END [A-Z0-9 ]+-----\n*$`)

// looseCA wants caCert to be all that the document has of certificates, from the first to the last: then the MAC tells where it begins and
// ends. Beside an encrypted one, others could make up for what an older version of it lacks.
func looseCA(root, ca *yaml.Node) (field, message, fix string) {
	var rest strings.Builder
	for key, value := range content(root) {
		if key != "sops" {
			writeBesides(&rest, value, ca)
		}
	}
	alone := !strings.Contains(rest.String(), beginPEM)
	switch {
	case seal.IsEncryptedValue(ca.Value) && !alone:
		return "caCert", "another field of the file holds certificates, so the MAC doesn't tell where caCert ends", "take the other field out, and encrypt the file again"
	case seal.IsEncryptedValue(ca.Value), !strings.Contains(ca.Value, beginPEM): // what is no certificate is an error of its own
		return "", "", ""
	case alone && strings.HasPrefix(ca.Value, beginPEM) && endPEM.MatchString(ca.Value):
		return "", "", ""
	}
	return "caCert", "the MAC of the file doesn't tell where caCert begins and ends: it has to be certificates alone, without text around them, and no other field may hold certificates",
		"encrypt caCert too, and encrypt the file again"
}

// writeBesides writes the plain texts below a node one after the other, as they are under the MAC, with a mark in the place of any other
// value.
func writeBesides(out *strings.Builder, n, ca *yaml.Node) {
	const mark = "\x00"
	switch {
	case n == ca || n.Kind == yaml.ScalarNode && (seal.IsEncryptedValue(n.Value) || n.ShortTag() != "!!str" && n.ShortTag() != "!!null"):
		out.WriteString(mark)
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str":
		out.WriteString(n.Value)
	}
	for _, value := range content(n) {
		writeBesides(out, value, ca)
	}
}

// content are the values directly below a mapping, with their keys, or a list, without.
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

// before says whether a mapping has a key before another one.
func before(mapping *yaml.Node, key, other string) bool {
	return slices.Index(keysOf(mapping), key) < slices.Index(keysOf(mapping), other)
}

// follows says whether a mapping has a key directly after another one.
func follows(mapping *yaml.Node, key, other string) bool {
	return slices.Index(keysOf(mapping), key) == slices.Index(keysOf(mapping), other)+1
}

// last says whether a key is the last of a mapping but for skipTLSVerify.
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

// joinedKey returns a key with a colon above an encrypted value. sops ties a value to the keys on its way, joined by colons.
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
