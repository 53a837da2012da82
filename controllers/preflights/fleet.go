package preflights

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
)

// Sync is an AuditSync and what is applied for it.
type Sync struct {
	*v1alpha1.AuditSync
	// Fleet is the fleet of the last sync, as rendered or as Gate returned it; nil if there is none. Inventories are what is applied
	// of it.
	Fleet       *fleet.Opened
	Inventories []*inventory.Inventory
	// Redactor knows the secrets of the fleet.
	Redactor *redact.Redactor
}

func (s Sync) key() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}

// policy is what spec.preflight says.
type policy struct {
	every    time.Duration
	required bool
	allow    []netip.Prefix
	proxies  []string
	// operator is the ServiceAccount that logs in to the Vault servers in vaults; empty to check no cluster through Vault.
	operator string
	vaults   []string
}

// operatorAccount is the operator's ServiceAccount as its chart and its manifests name it.
const operatorAccount = "mondoo-operator-controller-manager"

func policyOf(spec v1alpha1.Preflight, vaults []string) (p policy, err error) {
	p = policy{every: spec.Every(), required: spec.Required(), proxies: spec.AllowProxies, vaults: vaults}
	if spec.VaultAuth != nil {
		p.operator = cmp.Or(spec.VaultAuth.ServiceAccountName, operatorAccount)
	}
	p.allow, err = spec.Allowed()
	return p, err
}

// fleetState is what is kept of an AuditSync.
type fleetState struct {
	Sync
	policy
	gated
	// checks are those of the applied clusters and of those that are to be applied. index is where a cluster is in the fleet.
	checks map[cluster]*check
	index  map[cluster]int
	// seen are the clusters that were found behind the servers.
	seen map[cluster]inventory.Seen
	// pending counts the checks without a result. last is when a cluster was last checked.
	pending int
	last    time.Time
	// news is true if a result has changed since the last report. reports counts the times that there was something to report.
	news    bool
	reports uint64
}

// check is the state of checking one cluster.
type check struct {
	// fingerprint changes with the credential, the server and the policy.
	fingerprint string
	// candidate is true if it isn't applied yet.
	candidate bool
	due       time.Time
	// at is when the cluster was last checked; zero for never.
	at         time.Time
	notChecked bool
	failure    *report.PreflightFailure
	// blocks is the failure that keeps a candidate from being applied. waits is since when one that may be applied waits for a scan.
	blocks *preflight.Check
	waits  time.Time
	// failures counts the failed checks since the last one that passed.
	failures int
}

// dueCheck is a check to put into the queue.
type dueCheck struct {
	cluster
	wait time.Duration
}

// update takes over what is applied now. It returns the checks to schedule: those of clusters that are new or have changed, and
// those of all clusters if the interval has changed.
func (f *fleetState) update(sync Sync, p policy, now time.Time) []dueCheck {
	switch sync.Fleet {
	case nil:
		sync.Fleet, sync.Inventories = f.Fleet, f.Inventories
	case f.out:
		sync.Fleet = f.in
	}
	slices.SortFunc(sync.Inventories, func(a, b *inventory.Inventory) int { return strings.Compare(a.AuditConfig, b.AuditConfig) })
	paced := p.every != f.every
	same := sync.Fleet == f.Fleet && slices.Equal(sync.Inventories, f.Inventories) && slices.Equal(p.allow, f.allow) && slices.Equal(p.proxies, f.proxies) && p.required == f.required && p.operator == f.operator && slices.Equal(p.vaults, f.vaults)
	before := f.checks
	f.Sync, f.policy = sync, p
	if same && !paced {
		return nil
	}
	f.checks, f.index, f.pending = map[cluster]*check{}, map[cluster]int{}, 0
	fingerprint, applied := f.fingerprinter(), appliedHashes(sync.Inventories)
	var due []dueCheck
	for i := range sync.Fleet.Clusters {
		one := &sync.Fleet.Clusters[i]
		key := cluster{one.AuditConfig, one.Name}
		candidate := applied[key] != one.Hash
		if one.Quarantined || one.Hash == "" || candidate && !p.required {
			continue
		}
		known, current := before[key], fingerprint(one)
		later := known != nil && known.candidate && !candidate && known.notChecked // what CandidateOf has put off
		if known == nil || known.fingerprint != current || later {
			known = &check{fingerprint: current, due: now.Add(time.Duration(len(due)) * pace)}
			due = append(due, dueCheck{key, known.due.Sub(now)})
		} else if paced && !known.at.IsZero() {
			soonest := now.Add(time.Duration(len(due)) * pace)
			if known.due = known.next(key, p.every, candidate); known.due.Before(soonest) {
				known.due = soonest
			}
			due = append(due, dueCheck{key, known.due.Sub(now)})
		}
		f.checks[key], f.index[key], known.candidate = known, i, candidate
		if known.at.IsZero() {
			f.pending++
		}
	}
	return due
}

// appliedHashes are the hashes of the clusters that are applied.
func appliedHashes(inventories []*inventory.Inventory) map[cluster]string {
	hashes := map[cluster]string{}
	for _, applied := range inventories {
		for i := range applied.Clusters {
			hashes[cluster{applied.AuditConfig, applied.Clusters[i].Name}] = applied.Clusters[i].Hash
		}
	}
	return hashes
}

// fingerprinter returns a function that returns a text which changes with the credential and server of a cluster, and with the policy.
func (f *fleetState) fingerprinter() func(*fleet.Cluster) string {
	hashes := make(map[string]string, len(f.Fleet.Secrets))
	for i := range f.Fleet.Secrets {
		hashes[f.Fleet.Secrets[i].Name] = f.Fleet.Secrets[i].Hash + " " + f.Fleet.Secrets[i].Version
	}
	return func(c *fleet.Cluster) string {
		var own []string
		for _, name := range preflight.Secrets(c.Entry) {
			own = append(own, hashes[name])
		}
		text, err := json.Marshal([]any{login(c.Entry), own, f.allow, f.proxies, f.throughVault(c)})
		if err != nil {
			panic(err) // there is nothing in it that JSON doesn't have
		}
		sum := sha256.Sum256(text)
		return string(sum[:])
	}
}

// login returns the part of an entry with the server and the login.
func login(e mondoo.Entry) mondoo.Entry {
	return mondoo.Entry{KubeconfigSecretRef: e.KubeconfigSecretRef, ServiceAccountAuth: e.ServiceAccountAuth,
		WorkloadIdentity: e.WorkloadIdentity, SPIFFEAuth: e.SPIFFEAuth, VaultAuth: e.VaultAuth}
}

// next returns when to check a cluster again. The time within the interval is the cluster's own, so that clusters that were checked
// together don't stay together. One that waits for the result is checked again sooner.
func (c *check) next(key cluster, every time.Duration, waits bool) time.Time {
	wait, retry := every-time.Duration(float64(every)*spread(key)/10), failedRetry
	if waits {
		retry = heldRetry
	}
	if c.failures > 0 && c.failures < 16 {
		wait = min(wait, retry<<(c.failures-1))
	}
	return c.at.Add(wait)
}

// spread returns a number from 0 up to 1 that is always the same for a cluster.
func spread(key cluster) float64 {
	h := fnv.New32a()
	h.Write([]byte(key.auditConfig + "/" + key.name))
	return float64(h.Sum32()) / (1 << 32)
}

// job is a check that is to be made, with what it needs. It contains secrets.
type job struct {
	*check
	target   preflight.Target
	policy   policy
	redactor *redact.Redactor
}

func (f *fleetState) job(key cluster, now time.Time) *job {
	c, target := f.checks[key], preflight.TargetOf
	if c.candidate {
		target = preflight.CandidateOf
	}
	one := &f.Fleet.Clusters[f.index[key]]
	j := &job{check: c, policy: f.policy, redactor: f.Redactor}
	if f.throughVault(one) {
		j.target = preflight.ThroughVault(f.Fleet, one)
	} else {
		j.target = target(f.Fleet, one, now)
	}
	j.target.UID = f.uid(key, j.target.Place())
	return j
}

// throughVault reports whether a cluster is checked with a credential that Vault gives. The operator's token goes only to a server
// that the AuditSync lists, whatever the file says.
func (f *fleetState) throughVault(c *fleet.Cluster) bool {
	return f.operator != "" && c.Entry.VaultAuth != nil && !c.Quarantined &&
		slices.ContainsFunc(f.vaults, func(v string) bool {
			return strings.EqualFold(strings.TrimSuffix(v, "/"), strings.TrimSuffix(c.Entry.VaultAuth.VaultAddr, "/"))
		})
}

// record takes a result of what is at a place. It reports whether it is another one than before.
func (f *fleetState) record(key cluster, place string, r preflight.Result, now time.Time) (changed bool) {
	c := f.checks[key]
	before := *c
	if before.at.IsZero() {
		f.pending--
	}
	c.at, f.last, c.notChecked, c.failure, c.blocks = now, now, r.NotChecked != "", nil, r.Blocks()
	if failed := r.Failure(); failed == nil {
		c.failures = 0
	} else {
		c.failures++
		c.failure = &report.PreflightFailure{AuditConfig: f.Redactor.String(key.auditConfig), Cluster: f.Redactor.String(key.name), Check: *failed, Since: now}
		if before.failure != nil && before.failure.Check.Cause == failed.Cause {
			c.failure.Since = before.failure.Since
		}
	}
	f.found(key, place, r)
	c.due = c.next(key, f.every, f.unapplied(key))
	changed = before.at.IsZero() || !sameResult(&before, c)
	f.news = f.news || changed
	return changed
}

func sameResult(a, b *check) bool {
	if a.failure == nil || b.failure == nil {
		return a.failure == b.failure && a.notChecked == b.notChecked
	}
	return a.failure.Check == b.failure.Check
}

// complete reports whether there is something new to report, and every cluster has a result.
func (f *fleetState) complete() bool {
	if !f.news || f.pending > 0 {
		return false
	}
	f.news = false
	f.reports++
	return true
}

// results are the results so far.
func (f *fleetState) results() *report.Preflight {
	p := &report.Preflight{Last: f.last, Pending: f.pending}
	for _, c := range f.checks {
		if !c.waits.IsZero() {
			p.Waiting++
		}
		switch {
		case c.at.IsZero():
		case c.failure != nil:
			p.Failures = append(p.Failures, *c.failure)
		case c.notChecked:
			p.NotChecked++
		default:
			p.Passed++
		}
	}
	slices.SortFunc(p.Failures, func(a, b report.PreflightFailure) int {
		return cmp.Or(strings.Compare(a.Cluster, b.Cluster), strings.Compare(a.AuditConfig, b.AuditConfig))
	})
	return p
}
