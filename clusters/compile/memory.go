package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Memory caches the last compiled fleet, so that a change only compiles what has changed. The zero value is empty. A
// Memory must not be used concurrently.
type Memory struct {
	built *kustomize.Result
	// context and fleetContext are the contexts of done and of fleet.
	context, fleetContext string
	done                  map[*kustomize.Resource]compiled
	fleet                 *fleet.Sealed
	recipients            recipientChecks
}

// compiled is the result of compiling one object. It is valid as long as its kubeconfigFile and the context, which
// covers the options and audit configs, are unchanged.
type compiled struct {
	clusters   []fleet.Cluster
	secrets    []fleet.SealedSecret
	findings   []finding.Finding
	kubeconfig string // the path of the kubeconfigFile
	hash       string // the hash of its content
}

// context identifies everything that clusters share when they are compiled. With values that a generator read from an
// encrypted file, nothing can be cached, because they may be anywhere.
func (c *compiler) context() (string, bool) {
	parts := []string{c.opts.Namespace, c.opts.Sync, c.opts.AuditConfig, strconv.FormatBool(c.opts.Offline), c.opts.Policy.Key()}
	names := make(map[string]bool, len(c.configs)+len(c.opts.Existing))
	for name := range c.configs {
		names[name] = true
	}
	for name := range c.opts.Existing {
		names[name] = true
	}
	for name := range names {
		part := name
		if c.configs[name] != nil {
			part += " here"
		}
		if c.mustHaveSchedule(name) {
			part += " schedule"
		}
		parts = append(parts, part)
	}
	slices.Sort(parts[5:])
	return strings.Join(parts, "\x00"), len(c.fleet.Generated) == 0
}

// fleetContext identifies the input, besides the built objects, of the checks for the whole fleet: what clusters
// inherit from audit configs in the management cluster, the namespace, and the .sops.yaml files above the path.
func (c *compiler) fleetContext() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(c.opts.Existing)) {
		object := c.opts.Existing[name]
		fmt.Fprintf(h, "%q %q %v %v %q\n", name, textAt(object, "spec", "kubernetesResources", "schedule"), valueAt(object, "spec", "containers", "workloadIdentity"),
			scansItself(object), c.entriesElsewhere(name))
	}
	fmt.Fprintf(h, "%q\n", c.opts.PodSecurity)
	for dir := c.tree.Loaded.Path; c.opts.Source != nil; dir = path.Dir(dir) {
		data, err := recipient.ReadConfig(c.opts.Source, path.Join(dir, recipient.ConfigName))
		fmt.Fprintf(h, "%q %v\n", data, err)
		if dir == "." {
			break
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// unchanged returns the last fleet if the input is the same. With the .sops.yaml files of another branch, or with a
// commit to compare with, it always returns nil.
func (m *Memory) unchanged(c *compiler) *fleet.Sealed {
	context, usable := c.context()
	if !usable || context != m.context {
		m.context, m.done, m.built = context, nil, nil
	}
	before := m.fleetContext
	m.fleetContext = c.fleetContext()
	if usable && m.built == c.built && m.fleetContext == before && c.opts.SopsConfig == nil && c.opts.Before == nil {
		return m.fleet
	}
	return nil
}

// keep caches a fleet.
func (m *Memory) keep(c *compiler) {
	if len(c.fleet.Generated) > 0 {
		*m = Memory{recipients: m.recipients}
		return
	}
	m.built, m.done, m.fleet = c.built, c.done, c.fleet
}

// compileOnce compiles an object, unless it is cached. Only clusters are cached: there are many of them, and the other
// objects depend on more than the context.
func (c *compiler) compileOnce(m *Memory, r *kustomize.Resource) {
	if done, ok := m.done[r]; ok && c.kubeconfigUnchanged(done) {
		c.add(r, done)
		return
	}
	if kind := identify(r.Object).kind; kind == mondoo.Kind || kind == "Secret" {
		c.resource(*r)
		return
	}
	done, ready := c.ahead[r]
	if !ready {
		done = c.compiled(r)
	}
	c.add(r, done)
}

// add adds the result for an object to the fleet.
func (c *compiler) add(r *kustomize.Resource, done compiled) {
	c.done[r] = done
	c.fleet.Clusters = append(c.fleet.Clusters, done.clusters...)
	c.fleet.Secrets = append(c.fleet.Secrets, done.secrets...)
	for _, f := range done.findings {
		if f.Severity == finding.Error {
			c.fleet.Reject(f)
			continue
		}
		c.fleet.Add(f)
	}
}

// compiled compiles an object on its own.
func (c *compiler) compiled(r *kustomize.Resource) compiled {
	alone := *c
	alone.fleet = &fleet.Sealed{}
	alone.resource(*r)
	for i := range alone.fleet.Clusters {
		alone.fleet.Clusters[i].Handles = entryHandles(&alone.fleet.Clusters[i])
	}
	done := compiled{clusters: alone.fleet.Clusters, secrets: alone.fleet.Secrets, findings: alone.fleet.Findings}
	for _, cl := range done.clusters {
		if cl.File != nil && cl.File.Spec.KubeconfigFile != "" {
			done.kubeconfig = KubeconfigPath(cl.Origin.Path, cl.File.Spec.KubeconfigFile)
			if f, bad := c.tree.Loaded.Read(done.kubeconfig); bad == nil {
				done.hash = f.Hash
			}
		}
	}
	return done
}

// compileAhead compiles new objects in parallel, on all processors. Clusters with a kubeconfigFile are left for later,
// because reading such a file changes the tree.
func (c *compiler) compileAhead(m *Memory) {
	if len(c.fleet.Generated) > 0 {
		return
	}
	var fresh []*kustomize.Resource
	for _, r := range c.built.Resources {
		if _, known := m.done[r]; known {
			continue
		}
		file, named, err := unstructured.NestedFieldNoCopy(r.Object, "spec", "kubeconfigFile")
		if (!named || file == nil) && err == nil && r.Object["kind"] == v1alpha1.Kind {
			fresh = append(fresh, r)
		}
	}
	results := make([]compiled, len(fresh))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	const batch = 64
	for start := 0; start < len(fresh); start += batch {
		group.Go(func() error {
			for i := start; i < min(start+batch, len(fresh)); i++ {
				results[i] = c.compiled(fresh[i])
			}
			return nil
		})
	}
	group.Wait() //nolint:errcheck // none of them returns an error
	c.ahead = make(map[*kustomize.Resource]compiled, len(fresh))
	for i, r := range fresh {
		c.ahead[r] = results[i]
	}
}

// kubeconfigUnchanged reports whether the kubeconfigFile of a cluster is unchanged, and adds it to the tree.
func (c *compiler) kubeconfigUnchanged(done compiled) bool {
	if done.kubeconfig == "" {
		return true
	}
	f, bad := c.tree.Loaded.Read(done.kubeconfig)
	if bad != nil || f.Hash != done.hash {
		return false
	}
	c.tree.Whole(f)
	return true
}

// entryHandles returns the handles in a cluster file if its entry or the names of its Secrets depend on encrypted
// values.
func entryHandles(cl *fleet.Cluster) []string {
	if cl.Quarantined || cl.File == nil {
		return nil
	}
	data, err := json.Marshal(cl.Entry)
	if err != nil || !seal.HasHandle(string(data)) && !seal.HasHandle(string(boundTo(cl.File, cl.AuditConfig, ""))) {
		return nil
	}
	var file any
	if data, err = json.Marshal(cl.File); err != nil || json.Unmarshal(data, &file) != nil {
		return nil
	}
	var handles []string
	findText(file, nil, func(text string, _ []string) bool {
		if seal.HasHandle(text) {
			handles = append(handles, text)
		}
		return false
	})
	return handles
}
