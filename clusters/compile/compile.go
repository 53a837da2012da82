// Package compile turns built resources into a fleet: cluster files become entries and Secrets, with findings about
// their structure.
//
// It needs no key and no cluster. It doesn't know the values behind handles, so checks of content wait until the fleet
// is opened.
package compile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Codes of this package's findings; those about single fields are in v1alpha1.
const (
	CodeKind               finding.Code = "kind"                 // an object of a kind that Muster doesn't apply
	CodeNamespace          finding.Code = "namespace"            // an object for another namespace
	CodeAuditConfig        finding.Code = "audit-config"         // no audit config, an unknown one, or one that can't be applied
	CodeEmpty              finding.Code = "empty"                // nothing for Muster in the path
	CodeHandle             finding.Code = "encrypted-place"      // an encrypted value in the wrong place
	CodePlainSecret        finding.Code = "plain-credential"     // a credential in plain text
	CodeServerUnsealed     finding.Code = "server-unsealed"      // a token's server can be changed without a key
	CodeSecretName         finding.Code = "secret-name"          // two Secrets with the same name, or a reserved name
	CodeSecretOfKubernetes finding.Code = "secret-of-kubernetes" // a Secret of a type that Kubernetes itself manages
	CodeSecretInvalid      finding.Code = "secret-invalid"       // a Secret that the API server would refuse
	CodeSecretKey          finding.Code = "secret-key"           // a Secret without the key that an entry needs
	CodeTokenUnbound       finding.Code = "token-unbound"        // a token in a Secret without its server
	CodeTokenServer        finding.Code = "token-server"         // a token in a Secret with another server
	CodeDefaultSchedule    finding.Code = "default-schedule"     // Muster sets a schedule, because Git and the audit config have none
)

// Options describe the target of a fleet.
type Options struct {
	// Namespace is the only namespace that objects may name. If it is empty, because it isn't known, they may name any.
	Namespace string
	// Sync is the name of the AuditSync; may be empty.
	Sync string
	// AuditConfig is the audit config of clusters if the repository has none.
	AuditConfig string
	// Policy is what the AuditSync allows.
	Policy policy.Policy
	// Existing are the known audit configs of the management cluster by name. They decide whether an entry needs its
	// own schedule.
	Existing map[string]map[string]any
	// Offline is true if the management cluster was not read. Then nothing is known about audit configs outside Git.
	Offline bool
	// PodSecurity is the Pod Security level that the namespace enforces; empty if there is none or it is unknown.
	PodSecurity string
	// Source is the repository that the fleet comes from.
	Source fs.FS
	// SopsConfig is the repository whose .sops.yaml files decide the recipients; nil means Source. A check of a pull
	// request passes the target branch, because the pull request may change the rules.
	SopsConfig fs.FS
	// Before returns the last committed version of a file, if it exists and differs from data. It is nil if no history
	// is known. With it, a change that breaks a file's MAC is found without a key.
	Before func(name, data string) (before string, ok bool)
}

// Compile compiles a built tree. It reuses clusters that were compiled before from the same objects with the same
// options.
func (m *Memory) Compile(built *kustomize.Result, opts Options) *fleet.Sealed {
	c := &compiler{
		built: built, tree: built.Sealed, opts: opts,
		fleet: &fleet.Sealed{Report: built.Report.Clone(), Namespace: opts.Namespace, Sync: opts.Sync,
			Whole: built.Whole, Generated: built.Opened, Source: built.Sealed},
		configs: map[string]*fleet.AuditConfig{}, done: make(map[*kustomize.Resource]compiled, len(built.Resources)),
		opened: make(map[string]bool, len(built.Opened)), kubeconfigs: map[string]kubeconfigFile{},
	}
	for _, value := range built.Opened {
		c.opened[value] = true
	}
	c.auditConfigs()
	if done := m.unchanged(c); done != nil {
		return done
	}
	c.fleet.Clusters = slices.Grow(c.fleet.Clusters, len(built.Resources))
	c.fleet.Secrets = slices.Grow(c.fleet.Secrets, len(built.Resources))
	c.compileAhead(m)
	for _, r := range built.Resources {
		c.compileOnce(m, r)
	}
	m.keep(c)
	if opts.Before != nil {
		m.built = nil // the following checks depend on it
	}
	c.refuseDuplicateClusters()
	c.refuseLarge()
	c.stale()
	c.operatorNames()
	c.checkSecrets()
	c.sort()
	fleetWide(c.fleet, opts, func(origin fleet.Origin, field []string) finding.Finding {
		return c.place(kustomize.Resource{Path: origin.Path, Document: origin.Document}, field)
	})
	m.recipients = recipients(c.fleet, c.tree.Loaded, cmp.Or(opts.SopsConfig, opts.Source), m.recipients)
	if len(c.fleet.Clusters)+len(c.fleet.AuditConfigs)+len(c.fleet.Secrets) == 0 && finding.Errors(c.fleet.Findings) == 0 {
		c.fleet.Stop(finding.Finding{Code: CodeEmpty, Path: c.tree.Loaded.Path,
			Message: "the path has no cluster file, MondooAuditConfig or Secret",
			Fix:     "check spec.path; an empty path never means \"remove everything\""})
	}
	c.fleet.Accept()
	return c.fleet
}

type compiler struct {
	built   *kustomize.Result
	tree    *seal.Tree
	opts    Options
	fleet   *fleet.Sealed
	configs map[string]*fleet.AuditConfig
	done    map[*kustomize.Resource]compiled
	ahead   map[*kustomize.Resource]compiled
	// opened are the values that generators read from encrypted files.
	opened map[string]bool
	// kubeconfigs caches the checked kubeconfigFiles by path.
	kubeconfigs map[string]kubeconfigFile
}

func (c *compiler) resource(r kustomize.Resource) {
	id, meta := identify(r.Object), r.Object["metadata"]
	kind, name := id.kind, id.name
	isCluster, isConfig, isSecret := id.isCluster(), id.isConfig(), id.isSecret()
	if kind == mondoo.Kind && !isConfig {
		c.reject(r, "", []string{"apiVersion"}, CodeKind, fmt.Sprintf("MondooAuditConfig %s has an unsupported apiVersion", name),
			"use "+mondoo.APIVersion)
		return
	}
	if !isCluster && !isConfig && !isSecret {
		meant := "" // set if the object may be meant as a cluster: its file may contain one that was applied before
		if group, _, _ := strings.Cut(v1alpha1.APIVersion, "/"); strings.EqualFold(kind, v1alpha1.Kind) || strings.HasPrefix(strings.ToLower(id.apiVersion), group+"/") {
			meant = name
		}
		c.reject(r, meant, []string{"kind"}, CodeKind,
			fmt.Sprintf("Muster doesn't apply %s %s, only ExternalCluster, Secret and MondooAuditConfig", kind, name),
			"apply it with another tool, and remove it from the kustomization or list its file in .musterignore")
		return
	}
	if c.elsewhere(id) && isSecret {
		c.reject(r, "", []string{"metadata", "namespace"}, CodeNamespace, c.wrongNamespace(id), fixNamespace)
		return
	}
	if field, bad := handleIn(meta, []string{"metadata"}); bad {
		owner := ""
		if isCluster {
			owner = name
		}
		c.reject(r, owner, field, CodeHandle, strings.Join(field, ".")+" contains an encrypted value, and would be readable there",
			"don't let a patch or replacement copy an encrypted value here")
		return
	}
	public := meta
	if isCluster {
		public = r.Object
	}
	if field, bad := c.generatedIn(public); bad {
		c.reject(r, "", field, CodeHandle, "a value that a generator read from an encrypted file was copied here, and would be readable",
			"don't let a replacement copy it")
		return
	}
	switch {
	case isCluster:
		c.cluster(r)
	case isSecret:
		c.secret(r, name)
	}
}

// elsewhere reports whether an object names a namespace other than the fleet's. A cluster file's namespace has no
// meaning.
func (c *compiler) elsewhere(id identity) bool {
	return id.namespace != "" && c.opts.Namespace != "" && id.namespace != c.opts.Namespace
}

func (c *compiler) wrongNamespace(id identity) string {
	return fmt.Sprintf("%s %s is for the namespace %q; this path is applied only to %q", id.kind, id.name, id.namespace, c.opts.Namespace)
}

const fixNamespace = "remove the namespace"

// place returns an otherwise empty finding at a field of a resource's file.
func (c *compiler) place(r kustomize.Resource, field []string) finding.Finding {
	f := finding.Finding{Path: r.Path}
	if file := c.tree.Loaded.Files[r.Path]; file != nil {
		if r.Generated { // the kustomization has no field for a single value
			r.Document, field = 0, []string{"secretGenerator"}
		}
		f.Line, f.Column = file.Position(r.Document, field)
	}
	return f
}

// reject reports an error about a resource, which is left out.
func (c *compiler) reject(r kustomize.Resource, cluster string, field []string, code finding.Code, message, fix string) {
	f := c.place(r, field)
	f.Code, f.Cluster, f.Message, f.Fix = code, cluster, message, fix
	c.fleet.Reject(f)
}

// auditConfigs collects the repository's audit configs, from which the clusters then choose.
func (c *compiler) auditConfigs() {
	for _, built := range c.built.Resources {
		r := *built
		id := identify(r.Object)
		if !id.isConfig() {
			continue
		}
		name := id.name
		stop := func(field []string, message, fix string) {
			f := c.place(r, field)
			f.Code, f.Message, f.Fix = CodeAuditConfig, message, fix
			c.fleet.Stop(f)
		}
		if id.nonString != nil {
			stop(id.nonString, strings.Join(id.nonString, ".")+" must be a string", "quote it")
			continue
		}
		if field, found := nonStringKey(r.Object, nil); found {
			stop(field, "a mapping here has a key that YAML reads as a number, a date, true, false or null, not as a string", "quote the key")
			continue
		}
		if field, message, fix := malformedMetadata(r.Object); message != "" {
			stop(field, message, fix)
			continue
		}
		if _, given, err := unstructured.NestedString(r.Object, "spec", "mondooCredsSecretRef", "name"); !given || err != nil {
			stop([]string{"spec"}, fmt.Sprintf("MondooAuditConfig %s has no spec.mondooCredsSecretRef.name, which the API server requires", name),
				"set it to the Secret with the Mondoo credentials")
			continue
		}
		if c.elsewhere(id) {
			f := c.place(r, []string{"metadata", "namespace"})
			f.Code, f.Message, f.Fix = CodeNamespace, c.wrongNamespace(id), fixNamespace
			c.fleet.Stop(f)
			continue
		}
		if _, err := json.Marshal(r.Object); err != nil {
			stop(nil, fmt.Sprintf("MondooAuditConfig %s has a number that JSON doesn't have (.nan or .inf)", name), "remove it")
			continue
		}
		if field, bad := c.generatedIn(r.Object); bad {
			stop(field, strings.Join(field, ".")+" has a value that a generator read from an encrypted file, and would be readable there",
				"don't let a replacement copy it here")
			continue
		}
		if field, bad := handleIn(r.Object, nil); bad {
			stop(field, strings.Join(field, ".")+" is encrypted; a MondooAuditConfig holds no secrets: everyone who can read it could read the value",
				"move the value to a Secret, or leave it in plain text")
			continue
		}
		c.auditConfig(r, name, stop)
	}
}

// auditConfig adds an audit config, and compiles the entries in its list separately.
func (c *compiler) auditConfig(r kustomize.Resource, name string, stop func(field []string, message, fix string)) {
	list, err := mondoo.Entries(r.Object)
	if err != nil {
		stop([]string{"spec", "kubernetesResources", "externalClusters"}, "externalClusters must be a list of objects", "")
		return
	}
	for i, item := range list {
		c.manifestEntry(r, name, i, item)
	}
	if len(list) > 0 {
		r.Object = cloneTo(r.Object, "spec", "kubernetesResources") // the built object must not change
		if err := mondoo.SetEntries(r.Object, nil); err != nil {
			stop([]string{"spec", "kubernetesResources"}, "kubernetesResources must be an object", "")
			return
		}
	}
	refused := false
	refuseInlineNames(r.Object["spec"], []string{"spec"}, func(field []string, code finding.Code, message, fix string) {
		refused = true
		f := c.place(r, field)
		f.Code, f.Message, f.Fix = code, message, fix
		c.fleet.Stop(f)
	})
	if refused {
		return
	}
	c.fleet.AuditConfigs = append(c.fleet.AuditConfigs, fleet.AuditConfig{Name: name, Object: r.Object,
		Origin: fleet.Origin{Path: r.Path, Document: r.Document}})
	for i := range c.fleet.AuditConfigs {
		c.configs[c.fleet.AuditConfigs[i].Name] = &c.fleet.AuditConfigs[i]
	}
}

// cloneTo copies an object along the path to one of its fields. Everything else is shared.
func cloneTo(object map[string]any, way ...string) map[string]any {
	object = maps.Clone(object)
	if len(way) > 0 {
		if below, ok := object[way[0]].(map[string]any); ok {
			object[way[0]] = cloneTo(below, way[1:]...)
		}
	}
	return object
}

// configFor chooses the audit config of a cluster.
func (c *compiler) configFor(wanted string) (name, problem, fix string) {
	names := make([]string, 0, len(c.configs))
	for n := range c.configs {
		names = append(names, n)
	}
	slices.Sort(names)
	known := names
	if c.opts.AuditConfig != "" && !slices.Contains(names, c.opts.AuditConfig) {
		known = append(slices.Clone(names), c.opts.AuditConfig)
	}
	switch {
	case wanted != "" && (c.configs[wanted] != nil || wanted == c.opts.AuditConfig):
		return wanted, "", ""
	case wanted != "":
		return "", fmt.Sprintf("the MondooAuditConfig %q is not in this path", wanted), nameOneOf(known)
	case len(names) == 1:
		return names[0], "", ""
	case len(names) > 1:
		return "", "the path has more than one MondooAuditConfig, and the cluster doesn't choose one",
			"set spec.auditConfig to one of: " + strings.Join(names, ", ")
	case c.opts.AuditConfig != "":
		return c.opts.AuditConfig, "", ""
	default:
		return "", "there is no MondooAuditConfig for the cluster",
			"add one to the repository, or name an existing one in spec.auditConfig of the AuditSync"
	}
}

func nameOneOf(known []string) string {
	if len(known) == 0 {
		return "add it to the repository, or name it in spec.auditConfig of the AuditSync"
	}
	return "name one of: " + strings.Join(known, ", ")
}

// refuseDuplicateClusters quarantines clusters with the same name in one audit config: the operator would use the last.
func (c *compiler) refuseDuplicateClusters() {
	first := make(map[[2]string]int, len(c.fleet.Clusters))
	for i := range c.fleet.Clusters {
		cl := &c.fleet.Clusters[i]
		j, twice := first[[2]string{cl.AuditConfig, cl.Name}]
		if !twice {
			first[[2]string{cl.AuditConfig, cl.Name}] = i
			continue
		}
		other := &c.fleet.Clusters[j]
		for _, pair := range [][2]*fleet.Cluster{{cl, other}, {other, cl}} {
			pair[0].Quarantined = true
			c.reject(kustomize.Resource{Path: pair[0].Origin.Path, Document: pair[0].Origin.Document}, cl.Name, []string{"metadata", "name"}, load.CodeDuplicateName,
				fmt.Sprintf("the cluster %q of the audit config %s is also in %s", cl.Name, cl.AuditConfig, pair[1].Origin.Path),
				"give each its own name; until then, neither is changed")
		}
	}
}

// maxSealed limits the total encrypted size of a fleet's Secrets. A value that clusters share, by kubeconfigFile or by
// a patch, counts once for each of them. load.Limits.TreeBytes limits all others.
const maxSealed = 256 << 20

// refuseLarge stops a fleet whose Secrets are too large.
func (c *compiler) refuseLarge() {
	size := 0
	for _, s := range c.fleet.Secrets {
		for _, text := range s.Data {
			ref, _ := c.tree.Ref(text.Value)
			size += ref.Size
		}
	}
	if size <= maxSealed {
		return
	}
	c.fleet.Clusters, c.fleet.Secrets = nil, nil // so that they are never decrypted
	c.fleet.Stop(finding.Finding{Code: load.CodeSize, Path: c.tree.Loaded.Path, Message: fmt.Sprintf("the Secrets of this path exceed %d MiB in total", maxSealed>>20),
		Fix: "use kubeconfigSecretRef for clusters that share a kubeconfig, or split the path over several AuditSyncs"})
}

func (c *compiler) sort() {
	slices.SortFunc(c.fleet.AuditConfigs, func(a, b fleet.AuditConfig) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(c.fleet.Secrets, func(a, b fleet.SealedSecret) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(c.fleet.Clusters, func(a, b fleet.Cluster) int {
		if byConfig := strings.Compare(a.AuditConfig, b.AuditConfig); byConfig != 0 {
			return byConfig
		}
		return strings.Compare(a.Name, b.Name)
	})
	for _, cl := range c.fleet.Clusters {
		known := slices.ContainsFunc(c.fleet.AuditConfigs, func(a fleet.AuditConfig) bool { return a.Name == cl.AuditConfig })
		if cl.AuditConfig != "" && !known {
			c.fleet.AuditConfigs = append(c.fleet.AuditConfigs, fleet.AuditConfig{Name: cl.AuditConfig})
		}
	}
}

// Findings turns the problems of a cluster into findings at the fields of its file.
func Findings(problems []v1alpha1.Problem, cluster string, at func(field []string) finding.Finding) []finding.Finding {
	list := make([]finding.Finding, 0, len(problems))
	for _, p := range problems {
		f := at(p.Field)
		f.Code, f.Severity, f.Cluster, f.Message, f.Fix = p.Code, p.Severity, cluster, p.Message, p.Fix
		list = append(list, f)
	}
	return list
}

// KubeconfigPath returns the path of a cluster file's kubeconfigFile in the repository.
func KubeconfigPath(clusterFile, kubeconfigFile string) string {
	return path.Join(path.Dir(clusterFile), kubeconfigFile)
}
