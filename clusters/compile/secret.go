package compile

import (
	"cmp"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// secret compiles a Secret manifest, or a Secret that kustomize generated.
func (c *compiler) secret(r kustomize.Resource, name string) {
	m := secretManifest{}
	problems := v1alpha1.Strict(r.Object, &m, "a Secret", c.tree.Sealed)
	s := fleet.SealedSecret{Name: name, Type: cmp.Or(m.Type, "Opaque"), Immutable: m.Immutable, Data: make(map[string]fleet.Text, len(m.Data)+len(m.StringData)),
		Labels: m.Metadata.Labels, Annotations: m.Metadata.Annotations, Generated: r.Generated, Origin: fleet.Origin{Path: r.Path, Document: r.Document}}
	for _, f := range Findings(problems, "", func(field []string) finding.Finding { return c.place(r, field) }) {
		s.Quarantined = true
		c.fleet.Reject(f)
	}
	for _, field := range c.plainValues(r.Object) {
		c.quarantineSecret(r, &s, field, CodePlainSecret, describePlain(field, name),
			"replace the credential, because Git keeps the old one, and commit the file encrypted with sops")
	}
	for key, text := range m.Data {
		value := fleet.Text{Value: text, Base64: true}
		if handle, ok := c.encodedHandle(value); ok {
			value = fleet.Text{Value: handle}
		}
		s.Data[key] = value
	}
	for key, text := range m.StringData { // the API server lets stringData override data
		s.Data[key] = fleet.Text{Value: text}
	}
	if s.Annotations[lastApplied] != "" {
		c.quarantineSecret(r, &s, []string{"metadata", "annotations", lastApplied}, CodePlainSecret, "the annotation of kubectl apply contains the whole Secret "+name+" in plain text",
			"replace the credentials, because Git keeps the old ones, and commit the manifest without the annotation")
	}
	if mondoo.IsMade(name) {
		c.quarantineSecret(r, &s, []string{"metadata", "name"}, CodeSecretName, inlineNameMessage, "give the Secret another name")
	}
	if field, message, fix := malformed(&s); message != "" && len(problems) == 0 {
		c.quarantineSecret(r, &s, field, CodeSecretInvalid, message, fix)
	}
	if !AllowedType(s.Type) {
		c.quarantineSecret(r, &s, []string{"type"}, CodeSecretOfKubernetes, fmt.Sprintf("Kubernetes itself manages Secrets of type %s", s.Type),
			"remove type, or use Opaque")
	}
	if field, bad := c.copiedHandle(r); bad {
		c.quarantineSecret(r, &s, field, CodeHandle, "an encrypted value was copied here from another field or Secret", "encrypt the value in the Secret where it belongs")
	}
	if field, message, fix := c.detachedToken(&s); message != "" {
		c.quarantineSecret(r, &s, field, CodeServerUnsealed, message, fix)
	}
	if field, kind := c.notText(r.Object, nil); field != nil {
		message, fix := notTextMessage(field, kind)
		c.quarantineSecret(r, &s, field, v1alpha1.CodeWrongType, message, fix)
	}
	if field, bad := c.brokenHandle(r.Object, nil); bad {
		c.quarantineSecret(r, &s, field, CodeHandle, "kustomize has changed part of an encrypted value", "don't let a patch or replacement change part of an encrypted value")
	}
	parts := []any{s.Type, s.Labels, s.Annotations, c.digests([]fleet.SealedSecret{s})}
	if s.Immutable {
		parts = append(parts, "immutable")
	}
	s.Hash = hashOf(parts...)
	c.fleet.Secrets = append(c.fleet.Secrets, s)
}

// lastApplied is the annotation that kubectl apply sets. It gets into Git with the output of kubectl get -o yaml.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// AllowedType reports whether a Secret may have a type. Kubernetes issues tokens for some types, and lets nodes join
// the cluster with another.
func AllowedType(kind string) bool {
	switch kind {
	case "kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg", "kubernetes.io/tls", "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth":
		return true
	}
	return !strings.Contains(kind, "kubernetes.io/")
}

// copiedHandle finds an encrypted value that a replacement has copied here, from another field or from another object
// of the repository. A patch may bring its own encrypted value.
func (c *compiler) copiedHandle(r kustomize.Resource) ([]string, bool) {
	if r.Generated {
		return nil, false
	}
	if at, moved := c.movedHandle(r.Object, nil); moved {
		return at, true
	}
	return c.copiedFrom(r, r.Object, nil)
}

// encodedHandle finds the handle of an encrypted generator input. kustomize encodes the values that it generates.
func (c *compiler) encodedHandle(text fleet.Text) (string, bool) {
	if !text.Base64 {
		return "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(text.Value)
	return string(decoded), err == nil && c.tree.Sealed(string(decoded))
}

func (c *compiler) quarantineSecret(r kustomize.Resource, s *fleet.SealedSecret, field []string, code finding.Code, message, fix string) {
	s.Quarantined = true
	c.reject(r, "", field, code, message, fix)
}

// joinedCertificates matches two certificates without a line end between them.
var joinedCertificates = regexp.MustCompile(`(-----END CERTIFICATE-----)[ \t]*(-----BEGIN CERTIFICATE-----)`)

// public reports whether a plain value needs no encryption because it is empty or only certificates.
func (c *compiler) public(block, text string) bool {
	data := []byte(text)
	if block == "data" {
		decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil {
			return false
		}
		data = decoded
	}
	data = joinedCertificates.ReplaceAll(data, []byte("$1\n$2")) // this mistake is reported elsewhere
	for rest := data; len(strings.TrimSpace(string(rest))) > 0; {
		block, after := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return false
		}
		rest = after
	}
	return true
}

// generated reports whether a generator read a value from an encrypted file.
func (c *compiler) generated(block, text string) bool {
	if block == "data" {
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return false
		}
		text = string(decoded)
	}
	return c.opened[text]
}

// checkSecrets refuses Secrets with the same name, and checks that Secrets in the repository have the keys that the
// operator reads for a cluster. The operator reports neither problem: the scan just never starts.
func (c *compiler) checkSecrets() {
	byName, inline := make(map[string]*fleet.SealedSecret, len(c.fleet.Secrets)), make(map[string]*fleet.SealedSecret, len(c.fleet.Secrets))
	for i := range c.fleet.Secrets {
		s := &c.fleet.Secrets[i]
		if s.Cluster != "" {
			inline[mondoo.WithoutHash(s.Name)] = s
			continue
		}
		other := byName[s.Name]
		if other == nil {
			byName[s.Name] = s
			continue
		}
		for _, pair := range [][2]*fleet.SealedSecret{{s, other}, {other, s}} {
			c.quarantineSecret(kustomize.Resource{Path: pair[0].Origin.Path, Document: pair[0].Origin.Document}, pair[0], []string{"metadata", "name"}, CodeSecretName,
				fmt.Sprintf("the Secret %q is also defined in %s", s.Name, pair[1].Origin.Path), "give the Secret another name")
		}
	}
	for i := range c.fleet.Clusters {
		if cl := &c.fleet.Clusters[i]; !cl.Quarantined {
			c.checkReferences(cl, byName, inline)
		}
	}
}

func (c *compiler) checkReferences(cl *fleet.Cluster, byName, inline map[string]*fleet.SealedSecret) {
	r := kustomize.Resource{Path: cl.Origin.Path, Document: cl.Origin.Document}
	for ref := range References(&cl.Entry) {
		if slices.Contains(cl.Secrets, ref.Name) {
			continue
		}
		if s := inline[ref.Name]; s != nil {
			// An older version of Muster used this name.
			cl.Quarantined = true
			c.reject(r, cl.Name, ref.Field, CodeSecretName, fmt.Sprintf("the Secret %s is for the credentials of the cluster %s, which only that cluster may use", ref.Name, s.Cluster), fixInlineName)
			continue
		}
		s := byName[ref.Name]
		if s == nil {
			continue
		}
		c.noteUnbound(r, cl, ref, s)
		for _, key := range ref.Keys {
			text, has := s.Data[key]
			if !has {
				cl.Quarantined = true
				c.reject(r, cl.Name, ref.Field, CodeSecretKey, fmt.Sprintf("the Secret %s in %s has no key %q, which the operator needs", s.Name, s.Origin.Path, key),
					"add the key to the Secret")
				continue
			}
			block := "stringData"
			if text.Base64 {
				block = "data"
			}
			s.Uses = append(s.Uses, fleet.Use{Key: key, Field: []string{block, key}, WarnBefore: cl.WarnBefore()})
		}
		if s.Quarantined {
			cl.Quarantined = true
			c.reject(r, cl.Name, ref.Field, CodeSecretName, fmt.Sprintf("the Secret %s in %s has an error", s.Name, s.Origin.Path), "fix the Secret first")
		}
	}
}

// noteUnbound reports a token that isn't bound to a server.
func (c *compiler) noteUnbound(r kustomize.Resource, cl *fleet.Cluster, ref Reference, s *fleet.SealedSecret) {
	bound := s.Data[mondoo.KeyServer].Value != "" && !s.Generated
	if bound || !slices.Contains(ref.Keys, mondoo.KeyToken) {
		return
	}
	f := c.place(r, ref.Field)
	f.Code, f.Severity, f.Cluster = CodeTokenUnbound, finding.Info, cl.Name
	f.Message = fmt.Sprintf("the Secret %s doesn't name the server of its token, so anyone who can push can send it to another", s.Name)
	f.Fix = "add the key server with the cluster's server to the Secret and encrypt it, or write the token into the cluster file"
	if s.Generated {
		f.Message = fmt.Sprintf("the Secret %s is generated, and its token isn't bound to a server, so anyone who can push can send it to another", s.Name)
		f.Fix = "write the token into the cluster file, or generate a Secret with a kubeconfig, which contains its server"
	}
	c.fleet.Add(f)
}

// Reference is a Secret that an entry needs.
type Reference struct {
	Name  string
	Keys  []string
	Field []string
	// Operator is true if the operator itself reads the Secret. If it is missing, the operator stops at the entry.
	Operator bool
}

// References iterates over the Secrets that an entry needs, with the keys that the operator reads.
func References(e *mondoo.Entry) iter.Seq[Reference] {
	return func(yield func(Reference) bool) {
		named := func(ref *mondoo.SecretRef, r Reference) bool {
			if ref == nil || ref.Name == "" {
				return true
			}
			r.Name = ref.Name
			return yield(r)
		}
		add := func(ref *mondoo.SecretRef, field, keys []string) bool {
			return named(ref, Reference{Keys: keys, Field: field})
		}
		vault := func(ref *mondoo.SecretRef, field []string) bool {
			return named(ref, Reference{Keys: keysCACert, Field: field, Operator: true})
		}
		sa, s, v := e.ServiceAccountAuth, e.SPIFFEAuth, e.VaultAuth
		_ = add(e.KubeconfigSecretRef, fieldKubeconfig, keysKubeconfig) &&
			(sa == nil || add(&sa.CredentialsSecretRef, fieldToken, mondoo.TokenKeys(sa.SkipTLSVerify))) &&
			(s == nil || add(&s.TrustBundleSecretRef, fieldTrustBundle, keysCACert)) &&
			(v == nil || vault(v.CACertSecretRef, fieldVaultCA) && vault(v.TargetCACertSecretRef, fieldTargetCA)) &&
			add(e.PrivateRegistriesPullSecretRef, fieldRegistries, keysRegistries)
	}
}

// The fields and keys of references, allocated once because every change needs them for every cluster.
var (
	fieldKubeconfig  = []string{"spec", "kubeconfigSecretRef"}
	fieldToken       = []string{"spec", "serviceAccountAuth", "credentialsSecretRef"}
	fieldTrustBundle = []string{"spec", "spiffeAuth", "trustBundleSecretRef"}
	fieldVaultCA     = []string{"spec", "vaultAuth", "caCertSecretRef"}
	fieldTargetCA    = []string{"spec", "vaultAuth", "targetCACertSecretRef"}
	fieldRegistries  = []string{"spec", "privateRegistries", "secretRef"}
	keysKubeconfig   = []string{mondoo.KeyKubeconfig}
	keysCACert       = []string{mondoo.KeyCACert}
	keysRegistries   = []string{mondoo.KeyDockerConfigJSON}
)
