package compile

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/build"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/seal"
)

// A Secret manifest with the key server says where its token may go, and TokenServer holds entries to it. Somebody without keys could undo
// that in two ways: put a server of theirs beside the token, or take the server away, for a token without one may go anywhere. So a token
// that was encrypted with a server comes with the server and the CA of its own document, and that has a form in which the MAC can't be read
// in another way; what the MAC leaves open is told at exactForm. The Secret itself is refused, and not only who names it: the API server
// must never hold the token without its server.

// boundKeys are the keys of a Secret that belong together.
var boundKeys = []string{mondoo.KeyServer, mondoo.KeyToken, mondoo.KeyCACert}

// tornApart says what of a Secret with a token is not as it was encrypted. A Secret whose token was encrypted without a server is never
// torn: nothing belongs to it.
func (c *compiler) tornApart(r build.Resource, s *fleet.SealedSecret) (field []string, message, fix string) {
	token, sealed := c.tree.Ref(s.Data[mondoo.KeyToken].Value)
	source := c.tree.Loaded.Files[token.Path]
	if r.Generated || !sealed || source == nil || len(token.Keys) != 2 {
		return nil, "", "" // what is generated is bound to nothing, and a token in plain text or from another field is an error of its own
	}
	block := token.Keys[0]
	switch {
	case !mayHoldServer(source) && s.Data[mondoo.KeyServer].Value == "":
		return nil, "", ""
	case len(source.Documents) != 1:
		return []string{block, mondoo.KeyToken}, fmt.Sprintf("%s has more than one document, and its MAC doesn't tell whether a server belongs to this token", token.Path),
			"give the Secret a file of its own, and encrypt it again"
	}
	if key, message, fix := exactBlock(source.Documents[0].Node(), block); message != "" {
		return []string{block, key}, message, fix
	}
	for _, key := range boundKeys {
		ref, sealed := c.tree.Ref(s.Data[key].Value)
		if !sealed || ref.Path != token.Path || !slices.Equal(ref.Keys, []string{block, key}) {
			return []string{block, key}, fmt.Sprintf("%s is not the one that %s has beside the token, so the token could be sent to another host", key, token.Path),
				"write server, token and ca.crt into one Secret manifest and encrypt them together; don't patch them"
		}
	}
	return nil, "", ""
}

// exactBlock says what keeps the MAC of a document from telling which server and CA belong to the token in one of its blocks.
func exactBlock(root *yaml.Node, block string) (key, message, fix string) {
	const again = ", and encrypt the file again"
	values := load.Field(root, block)
	if key := joinedKey(root); key != "" {
		return mondoo.KeyToken, "the key " + key + " has a colon: sops can't tell an encrypted value below it from one in another place", "take the key out" + again
	}
	end := ""
	for key, value := range content(values) {
		if !exactScalar(value) || value.Value != "" && !seal.IsEncryptedValue(value.Value) {
			return key, key + " is not encrypted beside the token, and the MAC doesn't tell which value belongs to which key", "encrypt every value of the Secret, as " + block
		}
		if value.Value != "" {
			end = key
		}
	}
	if end == mondoo.KeyServer && !seal.MACOnly(root) {
		return mondoo.KeyServer, "the MAC of the file doesn't tell where the server ends, since nothing encrypted comes after it, and an older version could take its place",
			"write server before token" + again
	}
	return "", "", ""
}

// mayHoldServer reports whether a server may have been encrypted with the token of a file: one is anywhere in the file, or an address is in
// plain text, which may have been the server's when the MAC was made.
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

// addresses are how the address of a server begins, as text and in base64.
var addresses = []string{"https://", "aHR0cHM6Ly"}

// hasServer finds the encrypted server of a Secret by the way that sops ties it to: the keys above it joined by colons, without places in
// lists.
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

// writePlain writes the plain values below a node one after the other, as they are under the MAC, with a mark in the place of an encrypted
// one.
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
