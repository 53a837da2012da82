package author

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Manifest is the manifest of a Secret in plain text.
type Manifest struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Type       string   `json:"type,omitempty"`
	Immutable  bool     `json:"immutable,omitempty"`
	// All values are in one of the two: the MAC tells which belong together.
	StringData map[string]string `json:"stringData,omitempty"`
	Data       map[string]string `json:"data,omitempty"`
}

type metadata struct {
	Name string `json:"name"`
}

// manifestOf returns the manifest that leaves a live Secret as it is.
func manifestOf(name string, s LiveSecret) *Manifest {
	m := &Manifest{APIVersion: "v1", Kind: "Secret", Metadata: metadata{Name: name}, Type: s.Type, Immutable: s.Immutable}
	m.StringData, m.Data = map[string]string{}, map[string]string{}
	for key, value := range s.Data {
		m.StringData[key], m.Data[key] = string(value), base64.StdEncoding.EncodeToString(value)
	}
	for _, value := range s.Data {
		if !exact(value) {
			m.StringData = nil
			return m
		}
	}
	m.Data = nil
	return m
}

// YAML returns the file in plain text.
func (m *Manifest) YAML(header string) ([]byte, error) { return Document(m, header) }

// SecretFields are the values, as mapping keys.
func (m *Manifest) SecretFields() (fields [][]string) {
	for _, key := range slices.Sorted(maps.Keys(m.StringData)) {
		fields = append(fields, []string{"stringData", key})
	}
	for _, key := range slices.Sorted(maps.Keys(m.Data)) {
		fields = append(fields, []string{"data", key})
	}
	return fields
}

// exact reports whether a value is a text that a YAML file keeps as it is, and that people can edit.
func exact(value []byte) bool {
	if !utf8.Valid(value) || strings.ContainsFunc(string(value), func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }) {
		return false
	}
	text, err := Document(map[string]string{"value": string(value)}, "")
	var back map[string]string
	return err == nil && yaml.Unmarshal(text, &back) == nil && back["value"] == string(value) // a tab at the beginning is lost
}

// reference decides how to write a Secret that an entry names: values in the file, a manifest, or the live Secret alone.
func (im *Import) reference(d *Draft, e mondoo.Entry, ref compile.Reference) {
	live, exists := im.Secrets[ref.Name]
	switch missing := missingKey(live, ref.Keys); {
	case !exists:
		d.note("the Secret %s doesn't exist, so the scan can't start; the file names it", ref.Name)
		return
	case missing != "":
		d.note("the Secret %s has no key %s, so the scan can't start; the Secret stays in the cluster alone", ref.Name, missing)
		return
	case im.Placement == InCluster, live.InGit:
		return
	}
	if im.Placement == Inline {
		why := im.notInline(e, ref, live)
		if why == "" {
			setInline(&d.Cluster.Spec, ref, func(key string) string { return string(live.Data[key]) })
			return
		}
		d.note("the Secret %s is not written into the file: %s; the file names it", ref.Name, why)
	}
	if why := im.manifest(ref, live); why != "" {
		d.note("the Secret %s stays in the cluster alone: %s", ref.Name, why)
	}
}

func missingKey(s LiveSecret, keys []string) string {
	for _, key := range keys {
		if len(s.Data[key]) == 0 {
			return key
		}
	}
	return ""
}

// manifest adds the manifest of a Secret once, or returns why it must not.
func (im *Import) manifest(ref compile.Reference, live LiveSecret) (why string) {
	if known, looked := im.notes[ref.Name]; looked {
		return known
	}
	if im.notes == nil {
		im.notes = map[string]string{}
	}
	defer func() { im.notes[ref.Name] = why }()
	switch {
	case live.Keep != "":
		return live.Keep
	case !compile.AllowedType(live.Type):
		return "Kubernetes itself manages Secrets of type " + live.Type
	}
	if why := im.unusable(ref, live); why != "" {
		return why
	}
	im.Manifests = append(im.Manifests, manifestOf(ref.Name, live))
	return ""
}

// unusable returns the first error in the content of a Secret: in Git, it would keep the cluster out of every change.
func (im *Import) unusable(ref compile.Reference, live LiveSecret) string {
	for _, key := range slices.Sorted(maps.Keys(live.Data)) {
		if !slices.Contains(ref.Keys, key) {
			continue
		}
		_, problems := credential.Check(key, live.Data[key], im.Now)
		for _, p := range problems {
			if p.Severity == finding.Error {
				return fmt.Sprintf("Muster would refuse it in Git, because %s (%s)", p.Message, p.Code)
			}
		}
	}
	return ""
}

// notInline returns why the values of a Secret can't be in the cluster file.
func (im *Import) notInline(e mondoo.Entry, ref compile.Reference, live LiveSecret) string {
	if live.Keep != "" {
		return live.Keep
	}
	if e.ServiceAccountAuth != nil && e.ServiceAccountAuth.SkipTLSVerify && slices.Contains(ref.Keys, mondoo.KeyToken) {
		return "the entry has skipTLSVerify, and a token beside it needs a file without mac_only_encrypted"
	}
	for _, key := range slices.Sorted(maps.Keys(live.Data)) {
		switch {
		case !slices.Contains(ref.Keys, key):
			return "it also has the key " + key + ", which a cluster file can't hold"
		case !exact(live.Data[key]):
			return "its key " + key + " is not a text that a YAML file keeps"
		}
	}
	return im.unusable(ref, live)
}

// setInline replaces a reference by the values.
func setInline(spec *v1alpha1.Spec, ref compile.Reference, value func(key string) string) {
	switch ref.Field[len(ref.Field)-1] {
	case "kubeconfigSecretRef":
		spec.Kubeconfig, spec.KubeconfigSecretRef = value(mondoo.KeyKubeconfig), nil
	case "credentialsSecretRef":
		sa := spec.ServiceAccountAuth
		sa.Token, sa.CACert, sa.CredentialsSecretRef = value(mondoo.KeyToken), value(mondoo.KeyCACert), nil
	case "trustBundleSecretRef":
		spec.SPIFFEAuth.TrustBundle, spec.SPIFFEAuth.TrustBundleSecretRef = value(mondoo.KeyCACert), nil
	case "caCertSecretRef":
		spec.VaultAuth.CACert, spec.VaultAuth.CACertSecretRef = value(mondoo.KeyCACert), nil
	case "targetCACertSecretRef":
		spec.VaultAuth.TargetCACert, spec.VaultAuth.TargetCACertSecretRef = value(mondoo.KeyCACert), nil
	case "secretRef":
		spec.PrivateRegistries = &v1alpha1.PrivateRegistries{DockerConfigJSON: value(mondoo.KeyDockerConfigJSON)}
	}
}
