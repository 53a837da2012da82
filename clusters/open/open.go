// Package open decrypts the secrets of a compiled fleet, and checks their content.
//
// It is the only stage with keys. Each encrypted file is decrypted once, however many values it has, and its MAC is verified
// even if it has none. A file that can't be opened, or whose content the scanner can't use, quarantines only the clusters that
// need it. The redactor learns every opened value before the value is used.
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
	"github.com/muster-gitops/muster/clusters/renew"
	"github.com/muster-gitops/muster/clusters/unseal"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// CodeBase64 is the code of a finding about data in a Secret manifest that is not valid base64 after decryption.
const CodeBase64 finding.Code = "secret-base64"

// Opener decrypts a file. *unseal.Opener is one.
type Opener interface {
	Open(context.Context, *load.File) (*unseal.Plain, *finding.Finding)
}

// opening is a file that is or was to be opened.
type opening struct {
	file    *load.File
	plain   *unseal.Plain
	problem *finding.Finding
	// known is true if an earlier run opened the file. Then problem is the result of that run, and plain is nil.
	known bool
}

type run struct {
	sealed   *fleet.Sealed
	opener   Opener
	redactor *redact.Redactor
	now      time.Time
	memory   *Memory
	plain    map[string]*opening // by path
	fresh    map[string]*opening // the ones that no earlier run opened
	mu       sync.Mutex
	owners   map[string]bool // owners for which the redactor has learned values
	learned  atomic.Int64    // number of texts that the redactor has learned
	// unchangedSecrets are the Secrets that are unchanged, by index in the fleet; nil for the others.
	unchangedSecrets []*remembered
	// reused is the number of unchanged Secrets.
	reused int
	// unchangedClusters are the clusters that are unchanged, by index in the fleet; nil for the others.
	unchangedClusters []*rememberedCluster
	opened            *fleet.Opened
}

// files opens every encrypted file of the tree and every other file that a handle refers to, in parallel, one per processor.
func (o *run) files(ctx context.Context) error {
	for path, f := range o.sealed.Source.Loaded.Files {
		if f.IsEncrypted() && !o.sealed.Broken[path] {
			o.addFile(path, o.memory.opening(f))
		}
	}
	for i := range o.sealed.Secrets {
		s := &o.sealed.Secrets[i]
		if o.unchangedSecrets[i] = o.memory.secret(o, s); o.unchangedSecrets[i] == nil {
			for _, text := range s.Data {
				o.need(text.Value)
			}
		}
	}
	o.unchangedClusters = o.memory.unchangedClusters(o)
	for i := range o.sealed.Clusters {
		if o.unchangedClusters[i] != nil {
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
			op.plain, op.problem = o.opener.Open(ctx, op.file)
			op.file.Release()
			return ctx.Err()
		})
	}
	return group.Wait()
}

// find returns a file, and adds it to those that are opened.
func (o *run) find(path string) *opening {
	op := o.plain[path]
	if op == nil {
		if file, problem := o.sealed.Source.Loaded.Read(path); problem != nil {
			op = &opening{problem: problem}
		} else {
			op = o.memory.opening(file)
		}
		o.addFile(path, op)
	}
	return op
}

func (o *run) addFile(path string, op *opening) {
	if o.plain[path] = op; !op.known {
		o.fresh[path] = op
	}
}

// need opens the file of a handle again if its plaintext is no longer in memory.
func (o *run) need(handle string) {
	ref, ok := o.sealed.Source.Ref(handle)
	if !ok {
		return
	}
	if op := o.find(ref.Path); op.known && op.problem == nil {
		o.addFile(ref.Path, &opening{file: op.file}) // the other one is remembered
	}
}

// value decrypts a text. On failure it returns a finding about the file that contains the value. The redactor knows the value
// until the owner is forgotten.
func (o *run) value(text, owner string) (string, *finding.Finding) {
	ref, ok := o.sealed.Source.Ref(text)
	if !ok {
		return text, nil
	}
	op := o.plain[ref.Path]
	if op.problem != nil {
		return "", op.problem
	}
	value, ok := op.plain.Value(ref)
	if !ok {
		line, column := op.file.Position(ref.Document, ref.Keys)
		return "", &finding.Finding{Code: unseal.CodeValue, Severity: finding.Error, Path: ref.Path, Line: line, Column: column,
			Message: "the decrypted value is not the text that was encrypted here", Fix: "quote the value, and encrypt the file again"}
	}
	return value, o.learn(owner, value)
}

// maxKnown limits the texts that the redactor learns for one fleet: 200 for each of 10,000 clusters, which take 400 MiB. Only
// tests change it.
var maxKnown int64 = 2_000_000

// learn adds a value to the redactor, up to the limit.
func (o *run) learn(owner, value string) *finding.Finding {
	if o.learned.Load() <= maxKnown {
		o.learned.Add(int64(o.redactor.AddFor(owner, value)))
	}
	return o.tooMuch()
}

// tooMuch returns a finding if the fleet has too many texts for the redactor, or nil.
func (o *run) tooMuch() *finding.Finding {
	if o.learned.Load() <= maxKnown {
		return nil
	}
	return &finding.Finding{Code: load.CodeSize, Severity: finding.Error, Path: o.sealed.Source.Loaded.Path, Fix: "split the path across several AuditSyncs",
		Message: fmt.Sprintf("the encrypted content of this path has more than %d lines and values", maxKnown)}
}

// secrets opens the Secrets, and returns the clusters whose Secrets failed.
func (o *run) secrets() map[[2]string]bool {
	failed := map[[2]string]bool{}
	secrets, results := o.openAll()
	o.opened.Secrets = secrets
	for i := range secrets {
		s, findings := &secrets[i], results[i]
		o.opened.Changes = earliest(o.opened.Changes, s.Changes)
		if problem := o.fileProblem(s.Origin); problem != nil && len(findings) == 0 {
			findings = []finding.Finding{*problem}
		}
		for _, f := range findings {
			f.Cluster = s.Cluster
			o.report(f)
			s.Quarantined = s.Quarantined || f.Severity == finding.Error
		}
		if s.Quarantined && s.Cluster != "" {
			failed[[2]string{s.AuditConfig, s.Cluster}] = true
		}
	}
	return failed
}

// openAll opens the Secrets in parallel, one per processor, and returns the findings of each.
func (o *run) openAll() ([]fleet.Secret, [][]finding.Finding) {
	secrets, results := make([]fleet.Secret, len(o.sealed.Secrets)), make([][]finding.Finding, len(o.sealed.Secrets))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range o.sealed.Secrets {
		if old := o.unchangedSecrets[i]; old != nil {
			secrets[i], results[i] = old.secret, slices.Clone(old.findings)
			continue
		}
		group.Go(func() error {
			sealed := &o.sealed.Secrets[i]
			secrets[i] = fleet.Secret{Name: sealed.Name, Type: sealed.Type, Labels: sealed.Labels, Annotations: sealed.Annotations, Immutable: sealed.Immutable,
				Cluster: sealed.Cluster, AuditConfig: sealed.AuditConfig, Origin: sealed.Origin, Quarantined: sealed.Quarantined,
				Hash: sealed.Hash, Renew: sealed.Renew, Data: make(map[string]string, len(sealed.Data)), From: sealed.From, Uses: sealed.Uses, Supplied: sealed.From != nil}
			results[i] = o.secret(sealed, &secrets[i])
			return nil
		})
	}
	group.Wait() //nolint:errcheck // none of them returns one
	for i := range secrets {
		if old := o.unchangedSecrets[i]; old != nil {
			o.memory.secrets[secrets[i].Name] = old
			o.reused++
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
			continue // not text; compile has reported it
		}
		value, problem := o.value(text.Value, o.owner("secret "+sealed.Name))
		if problem != nil {
			findings = append(findings, *problem)
			continue
		}
		if text.Base64 {
			decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
			if err != nil {
				f := o.at(sealed.Origin, []string{"data", key})
				f.Code, f.Severity, f.Message = CodeBase64, finding.Error, "data."+key+" is not base64 after decryption"
				f.Fix = "put plaintext in stringData, or encode it before encrypting"
				findings = append(findings, f)
				continue
			}
			if value = string(decoded); o.sealed.Source.Sealed(text.Value) {
				if problem := o.learn(o.owner("secret "+sealed.Name), value); problem != nil {
					findings = append(findings, *problem)
					continue
				}
			}
		}
		if !text.Base64 && sealed.Cluster == "" && !utf8.ValidString(value) {
			f := o.at(sealed.Origin, []string{"stringData", key})
			f.Code, f.Severity, f.Message = unseal.CodeValue, finding.Error, "stringData."+key+" is not UTF-8 text after decryption"
			f.Fix = "put it in data, as base64"
			findings = append(findings, f)
			continue
		}
		s.Data[key] = value
	}
	return append(findings, o.check(sealed, s)...)
}

// check checks the content of a Secret by its uses, and records when it expires.
func (o *run) check(sealed *fleet.SealedSecret, s *fleet.Secret) []finding.Finding {
	var findings []finding.Finding
	note := func(field []string, problems []credential.Problem) {
		for _, p := range problems {
			f := o.at(sealed.Origin, field)
			f.Code, f.Severity, f.Message, f.Fix = p.Code, p.Severity, p.Message, p.Fix
			findings = append(findings, f)
		}
	}
	checked := map[string]bool{} // keys; several clusters may use one
	for _, use := range sealed.Uses {
		text, ok := s.Data[use.Key]
		if !ok {
			continue
		}
		facts, problems := credential.Check(use.Key, []byte(text), o.now)
		if sealed.Renew > 0 && use.Key != mondoo.KeyCACert {
			facts, problems = renew.Check(s.Data, o.now)
		}
		s.Expires = earliest(s.Expires, facts.Expires)
		s.WarnBefore = max(s.WarnBefore, use.WarnBefore)
		s.Changes = earliest(s.Changes, facts.Changes(o.now, use.WarnBefore))
		if !checked[use.Key] {
			s.Terms = append(s.Terms, facts.Terms...)
		}
		checked[use.Key] = true
		s.Destination = facts.Destination
		note(use.Field, problems)
		note(use.Field, facts.Expiring(o.now, use.WarnBefore))
	}
	note(nil, credential.SecretSize(s.Data))
	return findings
}

// earliest returns the earlier of two times. A zero time counts as none.
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

func (o *run) report(f finding.Finding) {
	if f.Severity == finding.Error {
		o.opened.Reject(f)
		return
	}
	o.opened.Add(f)
}

// openClusters opens encrypted fields of the entries, names the Secrets that are generated for them, and quarantines clusters
// whose Secrets failed.
func (o *run) openClusters(failed map[[2]string]bool) {
	generated := map[[2]string][]*fleet.Secret{}
	for i := range o.opened.Secrets {
		if s := &o.opened.Secrets[i]; s.Cluster != "" {
			generated[[2]string{s.AuditConfig, s.Cluster}] = append(generated[[2]string{s.AuditConfig, s.Cluster}], s)
		}
	}
	for i := range o.opened.Clusters {
		c := &o.opened.Clusters[i]
		if c.Quarantined {
			continue
		}
		key := [2]string{c.AuditConfig, c.Name}
		findings := o.cluster(i, c, generated[key])
		if problem := o.fileProblem(c.Origin); problem != nil && len(findings) == 0 {
			findings = []finding.Finding{*problem}
		}
		for _, f := range findings {
			f.Cluster = c.Name
			o.report(f)
			c.Quarantined = c.Quarantined || f.Severity == finding.Error
		}
		c.Quarantined = c.Quarantined || failed[key]
	}
	o.quarantineTogether()
	slices.SortFunc(o.opened.Secrets, func(a, b fleet.Secret) int { return strings.Compare(a.Name, b.Name) })
}

// cluster opens the entry of a cluster and names its Secrets, unless an earlier run has done so.
func (o *run) cluster(i int, c *fleet.Cluster, generated []*fleet.Secret) []finding.Finding {
	old := o.unchangedClusters[i]
	if old == nil {
		old = &rememberedCluster{owner: o.owner("cluster " + c.AuditConfig + "/" + c.Name), cluster: *c}
		old.findings = o.entry(&old.cluster, old.owner, generated)
		o.memory.keepCluster(o, &o.sealed.Clusters[i], old)
	} else {
		o.memory.clusters[[2]string{c.AuditConfig, c.Name}] = old
	}
	c.Entry, c.Secrets = old.cluster.Entry, old.cluster.Secrets
	for _, s := range generated {
		for _, name := range c.Secrets {
			if mondoo.WithoutHash(name) == mondoo.WithoutHash(s.Name) {
				s.Name = name
			}
		}
	}
	return old.findings
}

// quarantineTogether quarantines clusters with the Secrets that they name, and Secrets with the clusters that they are generated for.
func (o *run) quarantineTogether() {
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
			c.Terms = slices.SortedFunc(slices.Values(append(c.Terms, s.Terms...)), credential.Term.Compare)
			if message, fix := compile.TokenServer(&c.Entry, ref, s.Data[mondoo.KeyServer]); message != "" {
				f := o.at(c.Origin, ref.Field)
				f.Code, f.Severity, f.Cluster, f.Message, f.Fix = compile.CodeTokenServer, finding.Error, c.Name, message, fix
				o.report(f)
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
		// An entry and its Secrets change together or not at all.
		s := &o.opened.Secrets[i]
		s.Quarantined = s.Quarantined || s.Cluster != "" && quarantined[[2]string{s.AuditConfig, s.Cluster}]
	}
}

// fileProblem returns why the file of an object can't be opened, or nil.
func (o *run) fileProblem(origin fleet.Origin) *finding.Finding {
	if op := o.plain[origin.Path]; op != nil {
		return op.problem
	}
	return nil
}

// shared stops the fleet if a file can't be opened that isn't the file of a cluster or a Secret: a patch, or an audit config.
func (o *run) shared() {
	var failed []*opening
	for _, op := range o.plain {
		if op.problem != nil && op.file != nil && len(op.file.Documents) > 0 {
			failed = append(failed, op)
		}
	}
	if len(failed) == 0 {
		return
	}
	ownFile := map[string]bool{}
	for _, c := range o.sealed.Clusters {
		ownFile[c.Origin.Path] = true
	}
	for _, s := range o.sealed.Secrets {
		ownFile[s.Origin.Path] = true
	}
	for _, c := range o.sealed.AuditConfigs {
		delete(ownFile, c.Origin.Path)
	}
	for _, op := range failed {
		if !ownFile[op.file.Path] {
			o.opened.Findings = slices.DeleteFunc(o.opened.Findings, func(f finding.Finding) bool { return f == *op.problem }) // the patched object has reported it
			o.opened.Stop(*op.problem)
		}
	}
}

// entry fills in encrypted fields of a cluster file other than credentials, and validates the file again. The names of the
// Secrets for the cluster then depend on the result.
func (o *run) entry(c *fleet.Cluster, owner string, generated []*fleet.Secret) []finding.Finding {
	file, findings := c.File, []finding.Finding(nil)
	if len(c.Handles) > 0 {
		if file, findings = o.file(c, owner); file == nil {
			return findings
		}
	}
	if len(c.Handles)+len(c.Secrets) == 0 || slices.ContainsFunc(generated, func(s *fleet.Secret) bool { return s.Quarantined }) {
		return findings
	}
	destination := ""
	for _, s := range generated {
		destination += s.Destination // at most one of them is a kubeconfig
	}
	*c = compile.Named(*c, file, compile.Bound(file, c.AuditConfig, destination))
	return findings
}

// file opens a cluster file and validates the result. It returns nil if the file can't be opened.
func (o *run) file(c *fleet.Cluster, owner string) (*v1alpha1.ExternalCluster, []finding.Finding) {
	for _, handle := range c.Handles { // in the order of the fields, so that the finding is always about the same one
		if _, problem := o.value(handle, owner); problem != nil {
			return nil, []finding.Finding{*problem}
		}
	}
	file, err := replaceStrings(c.File, func(text string) string {
		value, _ := o.value(text, owner) // no finding, because the loop above has opened it
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
