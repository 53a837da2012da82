// Package open gives a compiled fleet its secrets, and checks what they hold.
//
// It is the one stage with keys. Each encrypted file is decrypted once, whatever number of values it has, and its MAC is
// verified even when it has none; what can't be opened, or holds something the scanner can't use, quarantines the clusters
// that need it and nothing else. Every value it opens is made known to the redactor before anything can go wrong with it.
package open

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// CodeBase64 is the code of a finding about data of a Secret manifest that is not base64 once decrypted.
const CodeBase64 finding.Code = "secret-base64"

// Opener decrypts a file. *seal.Opener is one.
type Opener interface {
	Open(context.Context, *load.File) (*seal.Plain, *finding.Finding)
}

// Open decrypts what the fleet refers to. Findings about expiry are as of now. The error is ctx's.
func Open(ctx context.Context, sealed *fleet.Sealed, opener Opener, redactor *redact.Redactor, now time.Time) (*fleet.Opened, error) {
	return (&Memory{}).Open(ctx, sealed, opener, redactor, now)
}

// opening is one file, opened or not.
type opening struct {
	file  *load.File
	plain *seal.Plain
	bad   *finding.Finding
	// known says that the file was opened before, with the result that bad tells. It has no plain then.
	known bool
}

type run struct {
	sealed   *fleet.Sealed
	opener   Opener
	redactor *redact.Redactor
	now      time.Time
	memory   *Memory
	plain    map[string]*opening // by path
	fresh    map[string]*opening // those that aren't known from before
	mu       sync.Mutex
	owners   map[string]bool // for whom the redactor has learned something
	known    atomic.Int64    // how much it has
	// again are the Secrets, by their place among those of the fleet, that are as they were.
	again []*remembered
	// same counts them.
	same int
	// clusters are the clusters, by their place among those of the fleet, that are as they were.
	clusters []*rememberedCluster
	opened   *fleet.Opened
}

// files opens, as many at a time as there are processors, every file of the tree that is encrypted and every other that a
// handle of the fleet refers to.
func (o *run) files(ctx context.Context) error {
	for path, f := range o.sealed.Source.Loaded.Files {
		if f.IsEncrypted() && !o.sealed.Broken[path] {
			o.take(path, o.memory.opening(f))
		}
	}
	for i := range o.sealed.Secrets {
		s := &o.sealed.Secrets[i]
		if o.again[i] = o.memory.secret(o, s); o.again[i] == nil {
			for _, text := range s.Data {
				o.need(text.Value)
			}
		}
	}
	o.clusters = o.memory.clustersAgain(o)
	for i := range o.sealed.Clusters {
		if o.clusters[i] != nil {
			continue
		}
		for _, handle := range o.sealed.Clusters[i].Handles {
			o.need(handle)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, op := range o.fresh {
		if op.file == nil {
			continue
		}
		group.Go(func() error {
			op.plain, op.bad = o.opener.Open(ctx, op.file)
			op.file.Release()
			return ctx.Err()
		})
	}
	return group.Wait()
}

// find puts a file among those that are opened.
func (o *run) find(path string) *opening {
	op := o.plain[path]
	if op == nil {
		if file, bad := o.sealed.Source.Loaded.Read(path); bad != nil {
			op = &opening{bad: bad}
		} else {
			op = o.memory.opening(file)
		}
		o.take(path, op)
	}
	return op
}

func (o *run) take(path string, op *opening) {
	if o.plain[path] = op; !op.known {
		o.fresh[path] = op
	}
}

// need has the file of a handle opened again if its values aren't at hand.
func (o *run) need(handle string) {
	ref, ok := o.sealed.Source.Ref(handle)
	if !ok {
		return
	}
	if op := o.find(ref.Path); op.known && op.bad == nil {
		o.take(ref.Path, &opening{file: op.file}) // the other one is remembered
	}
}

// value opens a text. The finding says why it can't be; it is about the file that the value is in. The redactor knows the value
// for as long as the owner is there.
func (o *run) value(text, owner string) (string, *finding.Finding) {
	ref, ok := o.sealed.Source.Ref(text)
	if !ok {
		return text, nil
	}
	op := o.plain[ref.Path]
	if op.bad != nil {
		return "", op.bad
	}
	value, ok := op.plain.Value(ref)
	if !ok {
		line, column := op.file.Position(ref.Document, ref.Keys)
		return "", &finding.Finding{Code: seal.CodeValue, Severity: finding.Error, Path: ref.Path, Line: line, Column: column,
			Message: "the decrypted value is not the text that was sealed here", Fix: "put it in quotes, and encrypt the file again"}
	}
	return value, o.learn(owner, value)
}

// maxKnown bounds the texts that the redactor is to know for one fleet: 200 for each of 10,000 clusters, in 400 MiB. It changes in tests alone.
var maxKnown int64 = 2_000_000

// learn makes a value known to the redactor, unless it knows too much.
func (o *run) learn(owner, value string) *finding.Finding {
	if o.known.Load() <= maxKnown {
		o.known.Add(int64(o.redactor.AddFor(owner, value)))
	}
	return o.tooMuch()
}

// tooMuch is the finding about a fleet of which the redactor would have to know too much, else nil.
func (o *run) tooMuch() *finding.Finding {
	if o.known.Load() <= maxKnown {
		return nil
	}
	return &finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: o.sealed.Source.Loaded.Path, Fix: "split the path over several AuditSyncs",
		Message: fmt.Sprintf("what this path has encrypted holds more than %d lines and values together", maxKnown)}
}

// secrets opens the Secrets, and returns the clusters whose Secrets could not be.
func (o *run) secrets() map[[2]string]bool {
	failed := map[[2]string]bool{}
	secrets, results := o.openAll()
	o.opened.Secrets = secrets
	for i := range secrets {
		s, findings := &secrets[i], results[i]
		if bad := o.broken(s.Origin); bad != nil && len(findings) == 0 {
			findings = []finding.Finding{*bad}
		}
		for _, f := range findings {
			f.Cluster = s.Cluster
			o.add(f)
			s.Quarantined = s.Quarantined || f.Severity == finding.Error
		}
		if s.Quarantined && s.Cluster != "" {
			failed[[2]string{s.AuditConfig, s.Cluster}] = true
		}
	}
	return failed
}

// openAll opens the Secrets, as many at a time as there are processors, and returns what is wrong with each.
func (o *run) openAll() ([]fleet.Secret, [][]finding.Finding) {
	secrets, results := make([]fleet.Secret, len(o.sealed.Secrets)), make([][]finding.Finding, len(o.sealed.Secrets))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range o.sealed.Secrets {
		if old := o.again[i]; old != nil {
			secrets[i], results[i] = old.secret, slices.Clone(old.findings)
			continue
		}
		group.Go(func() error {
			sealed := &o.sealed.Secrets[i]
			secrets[i] = fleet.Secret{Name: sealed.Name, Type: sealed.Type, Labels: sealed.Labels, Annotations: sealed.Annotations, Immutable: sealed.Immutable,
				Cluster: sealed.Cluster, AuditConfig: sealed.AuditConfig, Origin: sealed.Origin, Quarantined: sealed.Quarantined,
				Hash: sealed.Hash, Data: make(map[string]string, len(sealed.Data))}
			results[i] = o.secret(sealed, &secrets[i])
			return nil
		})
	}
	group.Wait() //nolint:errcheck // none of them returns one
	for i := range secrets {
		if old := o.again[i]; old != nil {
			o.memory.secrets[secrets[i].Name] = old
			o.same++
			continue
		}
		o.memory.keep(o, &o.sealed.Secrets[i], secrets[i], results[i])
	}
	return secrets, results
}

func (o *run) secret(sealed *fleet.SealedSecret, s *fleet.Secret) []finding.Finding {
	var findings []finding.Finding
	for _, key := range slices.Sorted(maps.Keys(sealed.Data)) {
		text := sealed.Data[key]
		if ref, ok := o.sealed.Source.Ref(text.Value); ok && ref.Kind != "" {
			continue // no text, which compile has told of
		}
		value, bad := o.value(text.Value, o.owner("secret "+sealed.Name))
		if bad != nil {
			findings = append(findings, *bad)
			continue
		}
		if text.Base64 {
			decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
			if err != nil {
				f := o.at(sealed.Origin, []string{"data", key})
				f.Code, f.Severity, f.Message = CodeBase64, finding.Error, "data."+key+" is no base64 once decrypted"
				f.Fix = "put plain text under stringData, or encode it before encrypting"
				findings = append(findings, f)
				continue
			}
			if value = string(decoded); o.sealed.Source.Sealed(text.Value) {
				if bad := o.learn(o.owner("secret "+sealed.Name), value); bad != nil {
					findings = append(findings, *bad)
					continue
				}
			}
		}
		if !text.Base64 && sealed.Cluster == "" && !utf8.ValidString(value) {
			f := o.at(sealed.Origin, []string{"stringData", key})
			f.Code, f.Severity, f.Message = seal.CodeValue, finding.Error, "stringData."+key+" is not UTF-8 text once decrypted"
			f.Fix = "put it under data, in base64"
			findings = append(findings, f)
			continue
		}
		s.Data[key] = value
	}
	return append(findings, o.check(sealed, s)...)
}

// check looks at the content of a Secret, by what it is used for, and notes when it expires.
func (o *run) check(sealed *fleet.SealedSecret, s *fleet.Secret) []finding.Finding {
	var findings []finding.Finding
	note := func(field []string, problems []credential.Problem) {
		for _, p := range problems {
			f := o.at(sealed.Origin, field)
			f.Code, f.Severity, f.Message, f.Fix = p.Code, p.Severity, p.Message, p.Fix
			findings = append(findings, f)
		}
	}
	for _, use := range sealed.Uses {
		text, ok := s.Data[use.Key]
		if !ok {
			continue
		}
		data := []byte(text)
		var facts credential.Facts
		var problems []credential.Problem
		switch use.Key {
		case mondoo.KeyKubeconfig:
			facts, problems = credential.Kubeconfig(data, o.now)
		case mondoo.KeyToken:
			facts, problems = credential.Token(data, o.now)
		case mondoo.KeyCACert:
			facts, problems = credential.CACert(data, o.now)
		case mondoo.KeyDockerConfigJSON:
			problems = credential.DockerConfigJSON(data)
		}
		s.Expires = earliest(s.Expires, facts.Expires)
		s.Destination = facts.Destination
		note(use.Field, problems)
	}
	note(nil, credential.SecretSize(s.Data))
	return findings
}

// earliest is the earlier of two times, of which a zero one is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (o *run) at(origin fleet.Origin, field []string) finding.Finding {
	f := finding.Finding{Path: origin.Path}
	f.Line, f.Column = o.sealed.Position(origin, field)
	return f
}

func (o *run) add(f finding.Finding) {
	if f.Severity == finding.Error {
		o.opened.Reject(f)
		return
	}
	o.opened.Add(f)
}

// openClusters opens encrypted fields of the entries themselves, names the Secrets that are made for them, and quarantines clusters
// whose Secrets failed.
func (o *run) openClusters(failed map[[2]string]bool) {
	made := map[[2]string][]*fleet.Secret{}
	for i := range o.opened.Secrets {
		if s := &o.opened.Secrets[i]; s.Cluster != "" {
			made[[2]string{s.AuditConfig, s.Cluster}] = append(made[[2]string{s.AuditConfig, s.Cluster}], s)
		}
	}
	for i := range o.opened.Clusters {
		c := &o.opened.Clusters[i]
		if c.Quarantined {
			continue
		}
		key := [2]string{c.AuditConfig, c.Name}
		findings := o.cluster(i, c, made[key])
		if bad := o.broken(c.Origin); bad != nil && len(findings) == 0 {
			findings = []finding.Finding{*bad}
		}
		for _, f := range findings {
			f.Cluster = c.Name
			o.add(f)
			c.Quarantined = c.Quarantined || f.Severity == finding.Error
		}
		c.Quarantined = c.Quarantined || failed[key]
	}
	o.follow()
	slices.SortFunc(o.opened.Secrets, func(a, b fleet.Secret) int { return strings.Compare(a.Name, b.Name) })
}

// cluster opens the entry of a cluster and names its Secrets, unless that was done before.
func (o *run) cluster(i int, c *fleet.Cluster, made []*fleet.Secret) []finding.Finding {
	old := o.clusters[i]
	if old == nil {
		old = &rememberedCluster{owner: o.owner("cluster " + c.AuditConfig + "/" + c.Name), cluster: *c}
		old.findings = o.entry(&old.cluster, old.owner, made)
		o.memory.keepCluster(o, &o.sealed.Clusters[i], old)
	} else {
		o.memory.clusters[[2]string{c.AuditConfig, c.Name}] = old
	}
	c.Entry, c.Secrets = old.cluster.Entry, old.cluster.Secrets
	for _, s := range made {
		for _, name := range c.Secrets {
			if mondoo.WithoutHash(name) == mondoo.WithoutHash(s.Name) {
				s.Name = name
			}
		}
	}
	return old.findings
}

// follow quarantines clusters with the Secrets that they name, and Secrets with the clusters that they are made for.
func (o *run) follow() {
	secrets := make(map[string]*fleet.Secret, len(o.opened.Secrets))
	for i := range o.opened.Secrets {
		secrets[o.opened.Secrets[i].Name] = &o.opened.Secrets[i]
	}
	quarantined := map[[2]string]bool{}
	for i := range o.opened.Clusters {
		c := &o.opened.Clusters[i]
		for ref := range compile.References(&c.Entry) {
			s := secrets[ref.Name]
			if s == nil || o.sealed.Clusters[i].Quarantined {
				continue
			}
			c.Quarantined = c.Quarantined || s.Quarantined
			c.Expires = earliest(c.Expires, s.Expires)
			if message, fix := compile.TokenServer(&c.Entry, ref, s.Data[mondoo.KeyServer]); message != "" {
				f := o.at(c.Origin, ref.Field)
				f.Code, f.Severity, f.Cluster, f.Message, f.Fix = compile.CodeTokenServer, finding.Error, c.Name, message, fix
				o.add(f)
				c.Quarantined = true
			}
		}
		if c.Quarantined {
			quarantined[[2]string{c.AuditConfig, c.Name}] = true
		}
	}
	if len(quarantined) == 0 {
		return
	}
	for i := range o.opened.Secrets {
		// What belongs to a quarantined cluster stays with it: entry and Secrets change together or not at all.
		s := &o.opened.Secrets[i]
		s.Quarantined = s.Quarantined || s.Cluster != "" && quarantined[[2]string{s.AuditConfig, s.Cluster}]
	}
}

// broken says why the file that something comes from can't be opened.
func (o *run) broken(origin fleet.Origin) *finding.Finding {
	if op := o.plain[origin.Path]; op != nil {
		return op.bad
	}
	return nil
}

// shared stops the fleet at a file that can't be opened and isn't the file of a cluster or a Secret: a patch, or an audit
// config.
func (o *run) shared() {
	var bad []*opening
	for _, op := range o.plain {
		if op.bad != nil && op.file != nil && len(op.file.Documents) > 0 {
			bad = append(bad, op)
		}
	}
	if len(bad) == 0 {
		return
	}
	alone := map[string]bool{}
	for _, c := range o.sealed.Clusters {
		alone[c.Origin.Path] = true
	}
	for _, s := range o.sealed.Secrets {
		alone[s.Origin.Path] = true
	}
	for _, c := range o.sealed.AuditConfigs {
		delete(alone, c.Origin.Path)
	}
	for _, op := range bad {
		if !alone[op.file.Path] {
			o.opened.Findings = slices.DeleteFunc(o.opened.Findings, func(f finding.Finding) bool { return f == *op.bad }) // told of by what it patches
			o.opened.Stop(*op.bad)
		}
	}
}

// entry fills in what is encrypted in a cluster file besides credentials, and checks the file again with it. The Secrets made for the
// cluster are named after what it says then.
func (o *run) entry(c *fleet.Cluster, owner string, made []*fleet.Secret) []finding.Finding {
	file, findings := c.File, []finding.Finding(nil)
	if len(c.Handles) > 0 {
		if file, findings = o.file(c, owner); file == nil {
			return findings
		}
	}
	if len(c.Handles)+len(c.Secrets) == 0 || slices.ContainsFunc(made, func(s *fleet.Secret) bool { return s.Quarantined }) {
		return findings
	}
	destination := ""
	for _, s := range made {
		destination += s.Destination // one of them is a kubeconfig, if any
	}
	*c = compile.Named(*c, file, compile.Bound(file, c.AuditConfig, destination))
	return findings
}

// file opens a cluster file, and checks what it has then. Nil: it can't be opened.
func (o *run) file(c *fleet.Cluster, owner string) (*v1alpha1.ExternalCluster, []finding.Finding) {
	for _, handle := range c.Handles { // in the order of the fields, so that the same one is named each time
		if _, bad := o.value(handle, owner); bad != nil {
			return nil, []finding.Finding{*bad}
		}
	}
	file, err := replaceStrings(c.File, func(text string) string {
		value, _ := o.value(text, owner) // nothing is bad: it was asked for before
		return value
	})
	if err != nil {
		return nil, nil
	}
	var findings []finding.Finding
	opened := func(string) bool { return false }
	for _, f := range compile.Findings(file.Validate(opened), c.Name, func(field []string) finding.Finding { return o.at(c.Origin, field) }) {
		if f.Severity == finding.Error {
			findings = append(findings, f)
		}
	}
	return file, findings
}

// replaceStrings copies a cluster file with every string replaced.
func replaceStrings(file *v1alpha1.ExternalCluster, replace func(string) string) (*v1alpha1.ExternalCluster, error) {
	data, err := json.Marshal(file)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, err
	}
	if data, err = json.Marshal(compile.MapStrings(tree, replace)); err != nil {
		return nil, err
	}
	out := &v1alpha1.ExternalCluster{}
	return out, json.Unmarshal(data, out)
}
