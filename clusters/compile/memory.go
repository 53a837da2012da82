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

	"github.com/muster-gitops/muster/clusters/build"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Memory remembers the fleet that was compiled last, so that a change costs itself and not the fleet. The zero value remembers
// nothing. It must not be used concurrently.
type Memory struct {
	built *build.Result
	// context and surroundings are those that done and fleet were made in.
	context, surroundings string
	done                  map[*build.Resource]compiled
	fleet                 *fleet.Sealed
	recipients            recipientChecks
}

// compiled is what one object became, as long as nothing beside it changes that its compilation looks at: the options and audit
// configs, which context stands for, and the file that it names as its kubeconfigFile.
type compiled struct {
	clusters   []fleet.Cluster
	secrets    []fleet.SealedSecret
	findings   []finding.Finding
	kubeconfig string // its path
	hash       string // of its content
}

// context stands for everything that clusters share when they are compiled. What a generator took from an encrypted file can be
// anywhere, and is not remembered.
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

// surroundings stand for what is looked at once for the whole fleet, besides what was built: what clusters inherit from audit
// configs of the management cluster, the namespace, and the .sops.yaml files above the path.
func (c *compiler) surroundings() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(c.opts.Existing)) {
		object := c.opts.Existing[name]
		fmt.Fprintf(h, "%q %q %v %v %q\n", name, textAt(object, "spec", "kubernetesResources", "schedule"), valueAt(object, "spec", "containers", "workloadIdentity"),
			scansItself(object), c.entriesElsewhere(name))
	}
	fmt.Fprintf(h, "%q\n", c.opts.PodSecurity)
	for dir := c.tree.Loaded.Path; c.opts.Source != nil; dir = path.Dir(dir) {
		data, err := readConfig(c.opts.Source, path.Join(dir, recipient.ConfigName))
		fmt.Fprintf(h, "%q %v\n", data, err)
		if dir == "." {
			break
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// again is the last fleet, when this one is made of the same. With .sops.yaml files of another branch, or the commit
// before, nothing is taken for granted.
func (m *Memory) again(c *compiler) *fleet.Sealed {
	context, usable := c.context()
	if !usable || context != m.context {
		m.context, m.done, m.built = context, nil, nil
	}
	before := m.surroundings
	m.surroundings = c.surroundings()
	if usable && m.built == c.built && m.surroundings == before && c.opts.SopsConfig == nil && c.opts.Before == nil {
		return m.fleet
	}
	return nil
}

// keep remembers a fleet.
func (m *Memory) keep(c *compiler) {
	if len(c.fleet.Generated) > 0 {
		*m = Memory{recipients: m.recipients}
		return
	}
	m.built, m.done, m.fleet = c.built, c.done, c.fleet
}

// compileOnce compiles an object, unless that is done. Only clusters are remembered: there are many of them, and what else there is
// looks at more than itself.
func (c *compiler) compileOnce(m *Memory, r *build.Resource) {
	if done, ok := m.done[r]; ok && c.holds(done) {
		c.take(r, done)
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
	c.take(r, done)
}

// take adds what an object became to the fleet.
func (c *compiler) take(r *build.Resource, done compiled) {
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

// compiled compiles an object by itself.
func (c *compiler) compiled(r *build.Resource) compiled {
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

// compileAhead compiles the objects that are new, as many at a time as there are processors. Clusters with a kubeconfigFile wait for
// their turn: the tree reads such files when they are asked for.
func (c *compiler) compileAhead(m *Memory) {
	if len(c.fleet.Generated) > 0 {
		return
	}
	var fresh []*build.Resource
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
	const some = 64
	for start := 0; start < len(fresh); start += some {
		group.Go(func() error {
			for i := start; i < min(start+some, len(fresh)); i++ {
				results[i] = c.compiled(fresh[i])
			}
			return nil
		})
	}
	group.Wait() //nolint:errcheck // none of them returns one
	c.ahead = make(map[*build.Resource]compiled, len(fresh))
	for i, r := range fresh {
		c.ahead[r] = results[i]
	}
}

// holds says whether the file that a cluster names is as it was, and makes sure that the tree has it.
func (c *compiler) holds(done compiled) bool {
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

// entryHandles are the handles in a cluster file, if the entry or the names of its Secrets depend on what is sealed.
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
