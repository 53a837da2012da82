// Package author composes the files that commands write into a repository: cluster files, and what a new repository needs.
//
// It takes values and returns plain text. It reads no file, has no key and opens no connection: clusters/encrypt encrypts what it
// returns, and the command line writes it. A [Draft] is a cluster file that is not encrypted yet.
package author

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/renew"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Draft is a cluster file in plain text.
type Draft struct {
	Cluster v1alpha1.ExternalCluster
	// Notes are what the user should know: what was left out, and what is missing.
	Notes []string
}

// New returns a draft without a method.
func New(name string) *Draft {
	return &Draft{Cluster: v1alpha1.ExternalCluster{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.Kind,
		Metadata: v1alpha1.Metadata{Name: name}}}
}

func (d *Draft) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// secretFields are the fields that must not be readable in Git, as mapping keys.
var secretFields = [][]string{
	{"spec", "kubeconfig"},
	{"spec", "serviceAccountAuth", "token"},
	{"spec", "privateRegistries", "dockerConfigJson"},
}

// SecretFields are the fields of the draft that must be encrypted, as mapping keys. Without any, the file needs no encryption.
func (d *Draft) SecretFields() [][]string {
	fields, _ := Secrets(d.json()) // JSON is YAML
	return fields
}

// SecretValues are the values of these fields, for a redactor.
func (d *Draft) SecretValues() []string {
	_, values := Secrets(d.json())
	return values
}

// Credentials checks the credentials of the draft, as the controller does when it opens the file. expires is when the kubeconfig or
// token ends; zero if it tells no end.
func (d *Draft) Credentials(now time.Time) (expires time.Time, problems []credential.Problem) {
	spec := d.Cluster.Spec
	check := func(f func([]byte, time.Time) (credential.Facts, []credential.Problem), text string) time.Time {
		if text == "" {
			return time.Time{}
		}
		facts, more := f([]byte(text), now)
		problems = slices.Concat(problems, more, facts.Expiring(now, 0))
		return facts.Expires
	}
	expires = check(credential.Kubeconfig, spec.Kubeconfig)
	problems = append(problems, d.unrenewable(mondoo.KeyKubeconfig, spec.Kubeconfig)...)
	if auth := spec.ServiceAccountAuth; auth != nil && auth.Token != "" {
		expires = check(credential.Token, auth.Token)
		problems = append(problems, d.unrenewable(mondoo.KeyToken, auth.Token)...)
		check(credential.CACert, auth.CACert)
	}
	if registries := spec.PrivateRegistries; registries != nil {
		check(credential.DockerConfigJSON, registries.DockerConfigJSON)
	}
	return expires, problems
}

// unrenewable returns why the token of a credential can't be renewed, if it is to be.
func (d *Draft) unrenewable(key, value string) []credential.Problem {
	if d.Cluster.Spec.Renew == nil || value == "" {
		return nil
	}
	if _, problem := renew.SeedOf(map[string]string{key: value}); problem != nil {
		return []credential.Problem{*problem}
	}
	return nil
}

// YAML returns the file, in plain text and with the fields in the order of the reference. The header, which may be empty, is a
// comment before it.
func (d *Draft) YAML(header string) ([]byte, error) {
	return Document(&d.Cluster, header)
}

func (d *Draft) json() []byte {
	text, err := json.Marshal(&d.Cluster)
	if err != nil {
		panic(err) // the type has only strings, lists and maps of them
	}
	return text
}

// Document returns an object as YAML: fields in the order of its type, texts of several lines as blocks.
func Document(object any, header string) ([]byte, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil { // JSON is YAML
		return nil, err
	}
	restyle(&document)
	var out bytes.Buffer
	if header != "" {
		out.WriteString(strings.TrimRight(header, "\n") + "\n")
	}
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

// restyle makes blocks of what JSON writes on one line. Empty mappings and lists stay {} and [].
func restyle(n *yaml.Node) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str" && strings.Contains(n.Value, "\n"):
		n.Style = yaml.LiteralStyle
	case len(n.Content) > 0 || n.Kind == yaml.ScalarNode:
		n.Style = 0
	}
	for _, child := range n.Content {
		restyle(child)
	}
}
