package compile

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
)

// kubeconfigFile is a file that clusters name: its handle, or why it can't be used.
type kubeconfigFile struct {
	handle       string
	code         finding.Code
	message, fix string
}

// kubeconfigFile returns the handle for the file that a cluster file names. A file that many clusters name is checked
// once.
func (c *compiler) kubeconfigFile(origin fleet.Origin, name string) (string, *finding.Finding) {
	target := KubeconfigPath(origin.Path, name)
	file, known := c.kubeconfigs[target]
	if !known {
		file = c.checkKubeconfigFile(target)
		if c.kubeconfigs != nil {
			c.kubeconfigs[target] = file
		}
	}
	if file.handle != "" {
		return file.handle, nil
	}
	at := c.place(kustomize.Resource{Path: origin.Path, Document: origin.Document}, []string{"spec", "kubeconfigFile"})
	at.Severity, at.Code, at.Message, at.Fix = finding.Error, file.code, target+": "+file.message, file.fix
	return "", &at
}

func (c *compiler) checkKubeconfigFile(target string) kubeconfigFile {
	f, bad := c.tree.Loaded.Read(target)
	switch {
	case bad != nil:
		return kubeconfigFile{code: bad.Code, message: bad.Message, fix: bad.Fix}
	case !seal.IsEncrypted(f.Data):
		return kubeconfigFile{code: CodePlainSecret, message: "the file is a credential in plain text",
			fix: "replace the credential, because Git keeps the old one, and commit the file encrypted with sops"}
	}
	root, problem := onlyDocument(f.Data)
	if problem == "" {
		if key := plainKey(root, credentialKeys); key != "" {
			return kubeconfigFile{code: CodePlainSecret, message: key + " is a credential in plain text, although other fields are encrypted",
				fix: "replace the credential, because Git keeps the old one, and encrypt the whole file: " + encryptCommand(target)}
		}
		if key, value := onlyValue(root); value != nil {
			if key == "data" && root.Style&yaml.FlowStyle != 0 {
				return kubeconfigFile{handle: c.tree.Whole(f)} // how sops stores content without a format
			}
			return kubeconfigFile{handle: c.tree.Value(f, key, value.Value)}
		}
		problem = ambiguous(root)
	}
	if problem != "" {
		return kubeconfigFile{code: CodeServerUnsealed, message: problem + ", so a change could send the credentials to another host",
			fix: "encrypt the file as one value: " + encryptCommand(target)}
	}
	return kubeconfigFile{handle: c.tree.Whole(f)}
}

// encryptCommand returns the command that encrypts a file as one value. sops reads the whole file before it writes, so
// input and output may be the same file.
func encryptCommand(file string) string {
	target := file
	if slices.Contains([]string{".yaml", ".yml", ".json", ".env", ".ini"}, path.Ext(file)) {
		target = strings.TrimSuffix(file, path.Ext(file)) + ".kubeconfig" // with these extensions, sops treats a file as one with fields
	}
	form := "yaml"
	switch path.Ext(file) {
	case ".json", ".env", ".ini":
		form = map[string]string{".json": "json", ".env": "dotenv", ".ini": "ini"}[path.Ext(file)]
	}
	command := fmt.Sprintf("sops decrypt --input-type %s --output-type %[1]s %s | sops encrypt --filename-override %s --input-type binary --output-type binary --output %[3]s", form, shellWord(file), shellWord(target))
	if target != file {
		command += "; then name " + path.Base(target) + " in kubeconfigFile"
	}
	return command
}

// shellWord quotes a text as one word for a shell.
func shellWord(text string) string {
	if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// onlyDocument parses a text that must be exactly one YAML document and contain nothing that sops doesn't write. JSON
// is parsed as YAML. What the YAML parser can't read can't be checked.
func onlyDocument(data string) (root *yaml.Node, problem string) {
	var doc, more yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(data))
	if decoder.Decode(&doc) != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, "it is not valid YAML or JSON"
	}
	if !errors.Is(decoder.Decode(&more), io.EOF) {
		return nil, "it has more than one document"
	}
	root = doc.Content[0]
	if _, message, _ := seal.Unsound(root); message != "" {
		return nil, message
	}
	var fields map[string]any
	if root.Decode(&fields) != nil {
		return nil, "it has a duplicate key, or one that is not a string"
	}
	return root, ""
}

// onlyValue returns the single encrypted value of a file that has no other field except for the sops block.
func onlyValue(root *yaml.Node) (string, *yaml.Node) {
	var name string
	var only *yaml.Node
	for key, value := range content(root) {
		if key == "sops" {
			continue
		}
		if only != nil || value.Kind != yaml.ScalarNode || !seal.IsEncryptedValue(value.Value) {
			return "", nil
		}
		name, only = key, value
	}
	return name, only
}

// ambiguous returns why the separately encrypted values of a kubeconfig could be rearranged: the MAC covers only their
// order, not their positions in lists.
func ambiguous(root *yaml.Node) string {
	for _, list := range []string{"clusters", "users", "contexts"} {
		n := load.Field(root, list)
		if n == nil || n.Kind != yaml.SequenceNode || len(n.Content) != 1 || n.Content[0].Kind != yaml.MappingNode {
			return "its fields are encrypted one by one, and it doesn't have exactly one entry in " + list
		}
	}
	if key := joinedKey(root); key != "" {
		return "its key " + key + " has a colon"
	}
	for key, value := range content(root) {
		if field := plainField(key, value); key != "sops" && field != "" {
			return field + " is not encrypted"
		}
	}
	return ""
}

// plainField returns the first field at or below a value that has anything but an encrypted value.
func plainField(key string, n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && !seal.IsEncryptedValue(n.Value) {
		return key
	}
	for name, value := range content(n) {
		if name == "" {
			name = key
		}
		if field := plainField(name, value); field != "" {
			return field
		}
	}
	return ""
}

// credentialKeys are the fields of a kubeconfig that contain credentials.
var credentialKeys = []string{"client-key-data", "token", "password", "id-token", "refresh-token", "access-token", "client-secret"}

// plainKey returns the first of keys that has a plain string. It ignores the sops block.
func plainKey(n *yaml.Node, keys []string) string {
	for key, value := range content(n) {
		if key == "sops" {
			continue
		}
		if value.Kind == yaml.ScalarNode && slices.Contains(keys, key) && value.Value != "" && !seal.IsEncryptedValue(value.Value) {
			return key
		}
		if key := plainKey(value, keys); key != "" {
			return key
		}
	}
	return ""
}
