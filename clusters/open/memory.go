package open

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/unseal"
)

// Memory remembers the last opened fleet, so that a change only costs its own work. The zero value remembers nothing. It is not
// safe for concurrent use.
//
// It holds no more secrets than the fleet that it has returned. It forgets everything when the opener changes, because other
// keys may open other files, and once a day, because keys may have been revoked. In between, a Secret is opened again when the findings
// about it change by themselves, because a credential has expired or soon will.
type Memory struct {
	// name begins the owners of all values that this memory has opened. Values of others are left to them.
	name     string
	opener   Opener
	redactor *redact.Redactor
	day      time.Time
	sealed   *fleet.Sealed
	opened   *fleet.Opened
	files    map[string]*opening // by path
	secrets  map[string]*remembered
	clusters map[[2]string]*rememberedCluster
	// owners are those that the redactor has values for, other than the remembered Secrets and clusters.
	owners []string
	// runs counts the runs, to name the owners of each run.
	runs int
}

// content identifies a version of a file.
type content struct{ path, hash string }

// remembered is a Secret with its findings, and the files that it came from.
type remembered struct {
	sealed   fleet.SealedSecret
	secret   fleet.Secret
	owner    string
	findings []finding.Finding
	from     []content
	origin   string // hash of the file that findings point into
}

// rememberedCluster is an opened cluster with its findings, and the files that its values came from.
type rememberedCluster struct {
	sealed   fleet.Cluster
	cluster  fleet.Cluster // only the entry and the names of Secrets are used
	owner    string
	findings []finding.Finding
	from     []content
	origin   string // hash of the file that findings point into
}

// Open decrypts everything that the fleet refers to. Findings about expiry are relative to now. The redactor forgets values of
// Secrets that no longer exist. The only error is that of ctx.
func (m *Memory) Open(ctx context.Context, sealed *fleet.Sealed, opener Opener, redactor *redact.Redactor, now time.Time) (*fleet.Opened, error) {
	if day := now.UTC().Truncate(24 * time.Hour); m.opener != opener || m.redactor != redactor || !m.day.Equal(day) {
		known := m.allOwners(redactor)
		*m = Memory{name: m.name, opener: opener, redactor: redactor, day: day, runs: m.runs, owners: known}
	}
	if m.sealed == sealed && !m.opened.Due(now) {
		return m.opened, ctx.Err()
	}
	o := &run{sealed: sealed, opener: opener, redactor: redactor, now: now, memory: m, plain: make(map[string]*opening, len(m.files)), fresh: map[string]*opening{},
		owners: map[string]bool{}, unchangedSecrets: make([]*remembered, len(sealed.Secrets)),
		opened: &fleet.Opened{Report: sealed.Report.Clone(), Namespace: sealed.Namespace, Sync: sealed.Sync,
			AuditConfigs: sealed.AuditConfigs, Clusters: slices.Clone(sealed.Clusters), Whole: sealed.Whole, Source: sealed.Source}}
	m.runs++
	o.learned.Add(int64(redactor.AddFor(o.owner("generators"), sealed.Generated...)))
	if err := o.files(ctx); err != nil {
		redactor.Forget(slices.Collect(maps.Keys(o.owners))...)
		return nil, err
	}
	before, clusters := m.secrets, m.clusters
	m.secrets, m.clusters = make(map[string]*remembered, len(sealed.Secrets)), make(map[[2]string]*rememberedCluster, len(sealed.Clusters))
	o.openClusters(o.secrets())
	if !sealed.Stopped {
		o.shared()
	}
	tooMuch := o.tooMuch()
	if tooMuch != nil {
		o.opened.Stop(*tooMuch)
	}
	o.opened.Accept()
	o.opened.Findings = finding.Sorted(o.opened.Findings)
	if m.finish(o, before, clusters); tooMuch != nil {
		// Which Secrets were opened depends on timing, so none is remembered.
		*m = Memory{name: m.name, opener: opener, redactor: redactor, day: m.day, runs: m.runs, owners: m.allOwners(redactor)}
	}
	return o.opened, nil
}

// owner returns the owner under which the redactor keeps values that this run opens. The values are forgotten unless the owner
// is remembered.
func (o *run) owner(of string) string {
	name := fmt.Sprintf("%sfleet %d %s", o.memory.name, o.memory.runs, of)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owners[name] = true
	return name
}

// allOwners returns all owners that the redactor has values for.
func (m *Memory) allOwners(redactor *redact.Redactor) []string {
	if m.redactor != redactor {
		return nil
	}
	owners := slices.Clone(m.owners)
	for _, s := range m.secrets {
		if s != nil {
			owners = append(owners, s.owner)
		}
	}
	for _, c := range m.clusters {
		owners = append(owners, c.owner)
	}
	return m.own(owners)
}

// own returns the owners of values that this memory has opened.
func (m *Memory) own(owners []string) []string {
	return slices.DeleteFunc(owners, func(owner string) bool { return !strings.HasPrefix(owner, m.name) })
}

// Fork returns a Memory that starts with what m remembers, and opens the rest under the name. Both can be used afterwards,
// but not concurrently.
func (m *Memory) Fork(name string) Memory {
	fork := *m
	fork.name, fork.owners, fork.files = name+" ", nil, make(map[string]*opening, len(m.files))
	for path, op := range m.files {
		copied := *op
		fork.files[path] = &copied
	}
	return fork
}

// Close makes the redactor forget the values that this memory has opened.
func (m *Memory) Close() {
	if m.redactor != nil {
		m.redactor.Forget(m.allOwners(m.redactor)...)
	}
}

// opening returns the remembered result for a file, or a new one.
func (m *Memory) opening(f *load.File) *opening {
	if op := m.files[f.Path]; op != nil && op.file.Hash == f.Hash {
		op.file = f
		return op
	}
	return &opening{file: f}
}

// secret returns a remembered Secret if it and its files are unchanged, or nil.
func (m *Memory) secret(o *run, s *fleet.SealedSecret) *remembered {
	old := m.secrets[s.Name]
	if old == nil || old.sealed.Hash != s.Hash || old.sealed.Quarantined != s.Quarantined || old.sealed.Origin != s.Origin ||
		old.origin != o.hash(s.Origin) || old.sealed.Cluster != s.Cluster || old.sealed.AuditConfig != s.AuditConfig || !maps.Equal(old.sealed.Data, s.Data) || !sameUses(old.sealed.Uses, s.Uses) ||
		old.sealed.Renew != s.Renew {
		return nil
	}
	if old.secret.Due(o.now) || !o.unchanged(old.from) {
		return nil
	}
	return old
}

// unchanged reports whether files are the same as when they were opened.
func (o *run) unchanged(files []content) bool {
	return !slices.ContainsFunc(files, func(c content) bool {
		op := o.find(c.path)
		return !op.known || op.file.Hash != c.hash
	})
}

// unchangedClusters returns, by index in the fleet, the clusters that are unchanged, as are their Secrets and files.
func (m *Memory) unchangedClusters(o *run) []*rememberedCluster {
	fresh := map[[2]string]bool{}
	for i := range o.sealed.Secrets {
		if s := &o.sealed.Secrets[i]; o.unchangedSecrets[i] == nil && s.Cluster != "" {
			fresh[[2]string{s.AuditConfig, s.Cluster}] = true
		}
	}
	again := make([]*rememberedCluster, len(o.sealed.Clusters))
	for i := range o.sealed.Clusters {
		c := &o.sealed.Clusters[i]
		key := [2]string{c.AuditConfig, c.Name}
		old := m.clusters[key]
		if old != nil && !fresh[key] && !c.Quarantined && old.sealed.Hash == c.Hash && old.sealed.Origin == c.Origin && slices.Equal(old.sealed.Handles, c.Handles) &&
			old.origin == o.hash(c.Origin) && o.unchanged(old.from) {
			again[i] = old
		}
	}
	return again
}

// keepCluster remembers a cluster.
func (m *Memory) keepCluster(o *run, sealed *fleet.Cluster, c *rememberedCluster) {
	c.sealed, c.origin = *sealed, o.hash(sealed.Origin)
	for _, handle := range sealed.Handles {
		if ref, ok := o.sealed.Source.Ref(handle); ok {
			op := o.plain[ref.Path]
			if op.file == nil || temporary(op.problem) {
				return
			}
			c.from = append(c.from, content{ref.Path, op.file.Hash})
		}
	}
	m.clusters[[2]string{sealed.AuditConfig, sealed.Name}] = c
	delete(o.owners, c.owner)
}

// hash returns the hash of the file that an object comes from.
func (o *run) hash(origin fleet.Origin) string {
	if f := o.sealed.Source.Loaded.Files[origin.Path]; f != nil {
		return f.Hash
	}
	return ""
}

func sameUses(a, b []fleet.Use) bool {
	return slices.EqualFunc(a, b, func(a, b fleet.Use) bool {
		return a.Key == b.Key && a.WarnBefore == b.WarnBefore && slices.Equal(a.Field, b.Field)
	})
}

// keep remembers a Secret. If two have the same name, which is an error, neither is remembered.
func (m *Memory) keep(o *run, sealed *fleet.SealedSecret, s fleet.Secret, findings []finding.Finding) {
	if other, twice := m.secrets[s.Name]; twice {
		if other != nil {
			o.owners[other.owner] = true
		}
		m.secrets[s.Name] = nil
		return
	}
	kept := &remembered{sealed: *sealed, secret: s, findings: findings, origin: o.hash(sealed.Origin), owner: o.owner("secret " + s.Name)}
	for _, text := range sealed.Data {
		if ref, ok := o.sealed.Source.Ref(text.Value); ok {
			op := o.plain[ref.Path]
			if op.file == nil || temporary(op.problem) {
				m.secrets[s.Name] = nil
				return
			}
			kept.from = append(kept.from, content{ref.Path, op.file.Hash})
		}
	}
	m.secrets[s.Name] = kept
	delete(o.owners, kept.owner)
}

// temporary reports whether a file failed to open for a reason outside of the file and the keys, which may be gone next time.
func temporary(problem *finding.Finding) bool {
	return problem != nil && (unseal.Temporary(problem.Code) || problem.Code == unseal.CodeRefused)
}

// finish stores a run, and makes the redactor forget what is gone since the last run, whose Secrets and clusters are given.
func (m *Memory) finish(o *run, before map[string]*remembered, clusters map[[2]string]*rememberedCluster) {
	m.sealed, m.opened, m.files = o.sealed, o.opened, o.plain
	for path, op := range o.fresh {
		switch {
		case temporary(op.problem):
			m.sealed, m.opened = nil, nil
			o.opened.Provisional = true
			o.opened.Retry = o.opened.Retry || unseal.Temporary(op.problem.Code)
			delete(m.files, path)
		case op.file == nil:
			delete(m.files, path)
		default:
			op.known, op.plain = true, nil
		}
	}
	gone := m.owners
	if o.reused < len(before) {
		for name, old := range before {
			if old != nil && m.secrets[name] != old && !o.owners[old.owner] {
				gone = append(gone, old.owner)
			}
		}
	}
	for key, old := range clusters {
		if m.clusters[key] != old {
			gone = append(gone, old.owner)
		}
	}
	o.redactor.Forget(m.own(gone)...)
	m.owners = slices.Collect(maps.Keys(o.owners))
}
