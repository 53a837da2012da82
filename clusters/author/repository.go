package author

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Recipients are who can open the files of a repository, as .sops.yaml names them.
type Recipients struct {
	Age, PGP, AWS, GCP, Azure, Vault []string
}

// Empty reports whether there are none.
func (r Recipients) Empty() bool {
	return len(r.Age)+len(r.PGP)+len(r.AWS)+len(r.GCP)+len(r.Azure)+len(r.Vault) == 0
}

// Repository is what a new repository is made for.
type Repository struct {
	// Environments are the names of the AuditSyncs, each with its folder. Overlays gives each folder a kustomization,
	// and all of them a common component.
	Environments []string
	Overlays     bool
	Recipients   Recipients
	// URL and Branch are where the controller fetches the repository. Namespace and AuditConfig are in the management cluster.
	URL, Branch, Namespace, AuditConfig string
}

// Folder is where the cluster files of an environment are.
func (Repository) Folder(environment string) string { return "clusters/" + environment }

// AuditSyncFile is the manifest of an environment's AuditSync.
func (Repository) AuditSyncFile(environment string) string {
	return "auditsyncs/" + environment + ".yaml"
}

// Names of Secrets in the management cluster.
const (
	GitSecret  = "fleet-git"
	KeysSecret = "sops-keys"
)

// Files are the files of a new repository. A file that exists is left alone.
func (r Repository) Files() []Change {
	files := []Change{
		{Path: ".sops.yaml", After: r.sopsConfig()},
		{Path: ".gitignore", After: []byte(Ignored)},
		{Path: "clusters/cluster.yaml.sample", After: []byte(sample)},
	}
	if r.Overlays {
		files = append(files, Change{Path: "clusters/components/common/kustomization.yaml", After: []byte(commonComponent)})
	}
	for _, env := range r.Environments {
		folder := Change{Path: path.Join(r.Folder(env), ".gitkeep"), After: []byte{}} // Git has no empty folders
		if r.Overlays {
			folder = Change{Path: path.Join(r.Folder(env), "kustomization.yaml"), After: []byte(overlay)}
		}
		files = append(files, folder, Change{Path: r.AuditSyncFile(env), After: r.auditSync(env)})
	}
	return files
}

// Ignored keeps private keys out of Git.
const Ignored = `# Private keys and plain-text credentials stay out of Git.
*.agekey
*.key
*.kubeconfig.plain
`

const commonComponent = `# What all environments share. A patch here changes every cluster, also where its file says something else:
#
#   patches:
#     - target: {kind: ExternalCluster}
#       patch: |
#         - op: add
#           path: /spec/containerImageScanning
#           value: true
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
labels:
  - pairs: {fleet: muster}
`

const overlay = `# Cluster files in this folder are read whether they are listed here or not.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
components:
  - ../components/common
`

const sample = `# The form of a cluster file. This one is not read, because its name doesn't end in .yaml. The command "muster add" writes
# encrypted files of this form.
apiVersion: muster.dev/v1alpha1
kind: ExternalCluster
metadata:
  name: prod-eu-west-1            # lower-case letters, digits and dashes; unique in the folder
spec:
  serviceAccountAuth:             # one of five methods
    server: https://prod-eu-west-1.example.com:6443
    token: (the token of a ServiceAccount; encrypt the file with sops before you commit it)
    caCert: |
      (the certificate in PEM)
  schedule: "H */2 * * *"         # every two hours; H is a minute that is spread over the fleet
  filtering:
    namespaces:
      exclude: [kube-system]
  containerImageScanning: true
`

// sopsConfig encrypts what is secret, and where it is sent. The rest can be edited without a key.
func (r Repository) sopsConfig() []byte {
	var b strings.Builder
	b.WriteString("# Who can open encrypted files: the controller, and whoever edits credentials. After a change here: muster rotate --recipients\n" +
		"creation_rules:\n  - mac_only_encrypted: true\n    encrypted_regex: " + v1alpha1.EncryptedRegex + "\n")
	for _, list := range []struct {
		name  string
		items []string
	}{
		{"age", r.Recipients.Age}, {"pgp", r.Recipients.PGP}, {"kms", r.Recipients.AWS}, {"gcp_kms", r.Recipients.GCP},
		{"azure_keyvault", r.Recipients.Azure}, {"hc_vault_transit_uri", r.Recipients.Vault},
	} {
		writeList(&b, "    ", list.name, list.items)
	}
	return []byte(b.String())
}

func writeList(b *strings.Builder, indent, name string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(b, "%s%s:\n", indent, name)
	for _, item := range items {
		fmt.Fprintf(b, "%s  - %s\n", indent, scalar(item))
	}
}

// scalar is a text as YAML.
func scalar(text string) string {
	out, err := yaml.Marshal(text)
	if err != nil || strings.Count(string(out), "\n") > 1 {
		return fmt.Sprintf("%q", text) // of several lines
	}
	return strings.TrimSpace(string(out))
}

func (r Repository) auditSync(env string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `# Applied to the management cluster; not in the folder that Muster reads.
apiVersion: muster.dev/v1alpha1
kind: AuditSync
metadata:
  name: %s
  namespace: %s
spec:
  source:
    url: %s
    ref:
      branch: %s
    secretRef: {name: %s}
  path: ./%s
  decryption:
    secretRef: {name: %s}
`, env, r.Namespace, scalar(r.URL), scalar(r.Branch), GitSecret, r.Folder(env), KeysSecret)
	writeServices(&b, r.Recipients)
	fmt.Fprintf(&b, "  auditConfig: %s\n", r.AuditConfig)
	return []byte(b.String())
}

// writeServices allows the key services of the recipients.
func writeServices(b *strings.Builder, r Recipients) {
	var vaults []string
	for _, uri := range r.Vault {
		if u, err := url.Parse(uri); err == nil && !slices.Contains(vaults, u.Scheme+"://"+u.Host) {
			vaults = append(vaults, u.Scheme+"://"+u.Host)
		}
	}
	for _, service := range []struct {
		name, field string
		items       []string
	}{{"vault", "addresses", vaults}, {"aws", "keys", r.AWS}, {"gcp", "keys", r.GCP}, {"azure", "keys", r.Azure}} {
		if len(service.items) > 0 {
			fmt.Fprintf(b, "    %s:\n", service.name)
			writeList(b, "      ", service.field, service.items)
		}
	}
}

// RemoteURL is the address of a Git remote as an AuditSync takes it: git@host:path becomes ssh://git@host/path. It has no
// password. It is empty for an address that a controller can't fetch, such as a path or ext::COMMAND.
func RemoteURL(remote string) string {
	if u, err := url.Parse(remote); err == nil && u.Host != "" {
		switch {
		case u.Scheme == "ssh" && u.User != nil:
			u.User = url.User(u.User.Username())
		case u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()):
			u.User = nil
		case u.Scheme != "ssh":
			return ""
		}
		u.RawQuery, u.Fragment = "", "" // a query may have a token
		return u.String()
	}
	host, file, ok := strings.Cut(remote, ":")
	if !ok || strings.ContainsAny(host, "/\\ ") || strings.HasPrefix(file, "//") || strings.HasPrefix(file, ":") || len(host) < 2 || strings.HasPrefix(host, "-") {
		return ""
	}
	return "ssh://" + host + "/" + strings.TrimPrefix(file, "/")
}

// isLoopback reports whether a host is this machine, the only one for which an AuditSync takes http.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}
