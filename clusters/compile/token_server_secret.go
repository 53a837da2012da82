package compile

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/seal"
)

// A Secret manifest with the key server restricts where its token may be sent, and TokenServer enforces that on
// entries. An attacker without keys could undo it in two ways: replace the server next to the token, or remove it,
// because a token without a server may be sent anywhere. So a token that was encrypted together with a server must come
// with the server and the CA of the same document, in a form that makes the MAC unambiguous; exactForm describes what
// the MAC leaves open. The Secret itself is refused, not only the clusters that name it: the API server must never have
// the token without its server.

// boundKeys are the keys of a Secret that belong together.
var boundKeys = []string{mondoo.KeyServer, mondoo.KeyToken, mondoo.KeyCACert}

// detachedToken returns what has changed in a Secret with a token since it was encrypted. A Secret whose token was
// encrypted without a server is never refused: its token isn't bound to anything.
func (c *compiler) detachedToken(s *fleet.SealedSecret) (field []string, message, fix string) {
	token, sealed := c.tree.Ref(s.Data[mondoo.KeyToken].Value)
	source := c.tree.Loaded.Files[token.Path]
	if !sealed || source == nil || len(token.Keys) != 2 {
		return nil, "", "" // a token from a file of a generator isn't bound, and one in plain text or from another field is reported elsewhere
	}
	block := token.Keys[0]
	switch {
	case !mayHoldServer(source) && s.Data[mondoo.KeyServer].Value == "":
		return nil, "", ""
	case len(source.Documents) != 1:
		return []string{block, mondoo.KeyToken}, fmt.Sprintf("%s has more than one document, and its MAC doesn't prove whether a server belongs to this token", token.Path),
			"move the Secret to its own file, and encrypt it again"
	}
	if key, message, fix := exactBlock(source.Documents[0].Node(), block); message != "" {
		return []string{block, key}, message, fix
	}
	for _, key := range boundKeys {
		ref, sealed := c.tree.Ref(s.Data[key].Value)
		if !sealed || ref.Path != token.Path || !slices.Equal(ref.Keys, []string{block, key}) {
			return []string{block, key}, fmt.Sprintf("%s is not the one next to the token in %s, so the token could be sent to another host", key, token.Path),
				"put server, token and ca.crt into one Secret manifest and encrypt them together; don't patch them"
		}
	}
	return nil, "", ""
}

// exactBlock returns what makes a document's MAC ambiguous about which server and CA belong to the token in one of its
// blocks.
func exactBlock(root *yaml.Node, block string) (key, message, fix string) {
	const again = ", and encrypt the file again"
	values := load.Field(root, block)
	if key := joinedKey(root); key != "" {
		return mondoo.KeyToken, "the key " + key + " has a colon: sops can't tell an encrypted value below it from one in another place", "remove the key" + again
	}
	end := ""
	for key, value := range content(values) {
		if !exactScalar(value) || value.Value != "" && !seal.IsEncryptedValue(value.Value) {
			return key, key + " next to the token is not encrypted, and the MAC doesn't cover which value belongs to which key", "encrypt every value of the Secret, as " + block
		}
		if value.Value != "" {
			end = key
		}
	}
	if end == mondoo.KeyServer && !seal.MACOnly(root) {
		return mondoo.KeyServer, "the file's MAC doesn't prove where the server ends, because nothing encrypted follows it; an older version could replace it",
			"write server before token" + again
	}
	return "", "", ""
}

// mayHoldServer reports whether a server may have been encrypted together with the token of a file: the file has an
// encrypted server anywhere, or a plain address, which may have been the server's when the MAC was made.
func mayHoldServer(source *load.File) bool {
	whole, plain := false, strings.Builder{}
	for _, d := range source.Documents {
		root := d.Node()
		if hasServer(root, "") {
			return true
		}
		whole = whole || !seal.MACOnly(root)
		for key, value := range content(root) {
			if key != "sops" {
				writePlain(&plain, value)
			}
		}
	}
	return whole && slices.ContainsFunc(addresses, func(begin string) bool { return strings.Contains(plain.String(), begin) })
}

// addresses are how a server's address begins, as text and in base64.
var addresses = []string{"https://", "aHR0cHM6Ly"}

// hasServer finds the encrypted server of a Secret by the path that sops ties it to: the keys above it joined by
// colons, without positions in lists.
func hasServer(n *yaml.Node, way string) bool {
	if n.Kind == yaml.ScalarNode {
		return seal.IsEncryptedValue(n.Value) && (way == ":data:"+mondoo.KeyServer || way == ":stringData:"+mondoo.KeyServer)
	}
	for key, value := range content(n) {
		below := way
		if n.Kind == yaml.MappingNode {
			below += ":" + key
		}
		if hasServer(value, below) {
			return true
		}
	}
	return false
}

// writePlain writes the plain values below a node one after the other like the MAC, with a mark in place of every
// encrypted value.
func writePlain(out *strings.Builder, n *yaml.Node) {
	switch {
	case n.Kind != yaml.ScalarNode:
		for _, value := range content(n) {
			writePlain(out, value)
		}
	case seal.IsEncryptedValue(n.Value):
		out.WriteString("\x00")
	case n.ShortTag() != "!!null":
		out.WriteString(n.Value)
	}
}
