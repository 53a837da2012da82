package review

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
)

// Change is what the pull request does to a cluster, an audit config, or a Secret that belongs to no cluster.
type Change struct {
	Action plan.Action `json:"action"`
	// Kind is one of the kinds of package plan.
	Kind        string `json:"kind"`
	Name        string `json:"name"`
	AuditConfig string `json:"auditConfig,omitempty"`
	// From is the audit config or the file that it moves from.
	From string `json:"from,omitempty"`
	// Path is the file after the merge, or the file before it if there is none after it.
	Path string `json:"path,omitempty"`
	// Fields are the fields that differ between base and merge result. Those of Secrets have no values.
	Fields []plan.Field `json:"fields,omitempty"`
	// Credentials are the cluster's Secrets that change.
	Credentials []Credential `json:"credentials,omitempty"`
	Schedule    *Schedule    `json:"schedule,omitempty"`
	CronJob     *CronJob     `json:"cronJob,omitempty"`
	Reason      string       `json:"reason,omitempty"`
	// NamedBy is what still names a held Secret.
	NamedBy string `json:"namedBy,omitempty"`
	// Standing is true for a held removal that waits already, without the pull request.
	Standing bool `json:"standing,omitempty"`
	// Approvable is true for a held removal that an approval releases.
	Approvable bool `json:"approvable,omitempty"`
}

// Reasons for changes that end something that the base is about to do.
const (
	reasonNeverApplied = "the base adds it, and that is not applied yet"
	reasonStays        = "the base removes it, and that is not applied yet"
	reasonHoldEnds     = "its removal is held, and that ends"
	reasonLive         = "the live object has these values already"
)

// key identifies the object of a step.
type key struct{ kind, auditConfig, name string }

func keyOf(s *plan.Step) key {
	if s.Kind == plan.KindCluster {
		return key{s.Kind, s.AuditConfig, s.Name}
	}
	return key{kind: s.Kind, name: s.Name}
}

// comparison has both plans and fleets, indexed.
type comparison struct {
	in                     Input
	stepsBefore, stepsNow  map[key]*plan.Step
	clusters, clustersNow  map[inventory.Cluster]*fleet.Cluster
	secrets, secretsNow    map[string]*fleet.Secret
	schedules, scheduleNow map[string]string // of audit configs
}

func newComparison(in Input) *comparison {
	c := &comparison{in: in, stepsBefore: stepsOf(in.Before), stepsNow: stepsOf(in.After)}
	c.clusters, c.secrets, c.schedules = indexed(in.BeforeFleet)
	c.clustersNow, c.secretsNow, c.scheduleNow = indexed(in.AfterFleet)
	return c
}

func stepsOf(p *plan.Plan) map[key]*plan.Step {
	steps := map[key]*plan.Step{}
	if p != nil {
		for i := range p.Steps {
			steps[keyOf(&p.Steps[i])] = &p.Steps[i]
		}
	}
	return steps
}

func indexed(f *fleet.Opened) (clusters map[inventory.Cluster]*fleet.Cluster, secrets map[string]*fleet.Secret, schedules map[string]string) {
	clusters, secrets, schedules = map[inventory.Cluster]*fleet.Cluster{}, map[string]*fleet.Secret{}, map[string]string{}
	if f == nil {
		return clusters, secrets, schedules
	}
	for i := range f.Clusters {
		clusters[inventory.Cluster{AuditConfig: f.Clusters[i].AuditConfig, Name: f.Clusters[i].Name}] = &f.Clusters[i]
	}
	for i := range f.Secrets {
		secrets[f.Secrets[i].Name] = &f.Secrets[i]
	}
	for _, config := range f.AuditConfigs {
		schedules[config.Name] = mondoo.TextAt(config.Object, "spec", "kubernetesResources", "schedule")
	}
	return clusters, secrets, schedules
}

// changes returns what the pull request changes, the removals that are held after the merge, and how many steps of the
// base it leaves as they are.
func (c *comparison) changes() (changes, held []Change, pending int) {
	keys := slices.SortedFunc(maps.Keys(union(c.stepsBefore, c.stepsNow)), func(a, b key) int {
		return compareTexts(a.kind, b.kind, a.auditConfig, b.auditConfig, a.name, b.name)
	})
	list := []Change{}
	for _, k := range keys {
		before, now := c.stepsBefore[k], c.stepsNow[k]
		switch {
		case now != nil && now.Action == plan.Hold:
			held = append(held, c.hold(before, now))
		case now == nil:
			if change, told := c.undone(before); told {
				list = append(list, change)
			}
		case before == nil:
			list = append(list, c.change(now))
		case c.leaves(before, now):
			pending++
		default:
			list = append(list, c.both(before, now))
		}
	}
	list = slices.DeleteFunc(list, func(change Change) bool {
		return change.Kind == plan.KindSecret && change.Action == plan.Change && len(change.Fields) == 0
	})
	changes = joinMoves(c.joinCredentials(list))
	slices.SortStableFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)), compareTexts(a.AuditConfig, b.AuditConfig, a.Name, b.Name))
	})
	return changes, held, pending
}

func kindRank(kind string) int {
	return slices.Index([]string{plan.KindCluster, plan.KindAuditConfig, plan.KindSecret}, kind)
}

func union(a, b map[key]*plan.Step) map[key]*plan.Step {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// leaves reports whether a step of the base is the same after the merge. The values of Secrets are unknown, and a
// cluster that is added has no fields, so what the fleets have must be the same too.
func (c *comparison) leaves(before, now *plan.Step) bool {
	return before.Action == now.Action && before.Origin == now.Origin && slices.Equal(before.Fields, now.Fields) && c.hashes(now, c.secrets, c.clusters) == c.hashes(now, c.secretsNow, c.clustersNow)
}

// hashes returns the hash of a step's object in a fleet.
func (c *comparison) hashes(s *plan.Step, secrets map[string]*fleet.Secret, clusters map[inventory.Cluster]*fleet.Cluster) string {
	switch s.Kind {
	case plan.KindSecret:
		if secret := secrets[s.Name]; secret != nil {
			return secret.Hash
		}
	case plan.KindCluster:
		if cluster := clusters[inventory.Cluster{AuditConfig: s.AuditConfig, Name: s.Name}]; cluster != nil {
			return cluster.Hash
		}
	}
	return ""
}

// hold returns a removal that is held after the merge.
func (c *comparison) hold(before, now *plan.Step) Change {
	change := c.change(now)
	change.Approvable = now.Approvable()
	change.Standing = before != nil && before.Action == plan.Hold
	change.NamedBy = now.NamedBy
	return change
}

// change returns the change of a step that only the merge result has.
func (c *comparison) change(s *plan.Step) Change {
	change := Change{Action: s.Action, Kind: s.Kind, Name: s.Name, AuditConfig: s.AuditConfig, Path: s.Origin, Reason: string(s.Reason), Fields: slices.Clone(s.Fields)}
	if s.Drift {
		change.Reason = "" // the live object differs from the merge result; who changed it doesn't matter here
	}
	switch s.Kind {
	case plan.KindSecret:
		change.Fields = withoutValues(s.Fields)
	case plan.KindCluster:
		c.cluster(&change)
	}
	return change
}

// both returns the change of an object for which base and merge result have different steps.
func (c *comparison) both(before, now *plan.Step) Change {
	change := c.change(now)
	if now.Kind == plan.KindAuditConfig && before.Action == plan.Change && now.Action == plan.Change {
		change.Fields = fieldsBetween(before.Fields, now.Fields)
	}
	if before.Action == plan.Remove || before.Action == plan.Hold {
		change.Reason = reasonStays
	}
	if before.Action == plan.Hold {
		change.Reason = reasonHoldEnds
	}
	return change
}

// undone returns the change of an object with a step at the base and none after the merge: what the base is about to do
// no longer happens. It isn't told for something that an error keeps as it is, or that is kept with its held cluster.
func (c *comparison) undone(before *plan.Step) (change Change, told bool) {
	removes := before.Action == plan.Remove || before.Action == plan.Hold
	if c.keptByError(before) || removes && !c.wanted(before) {
		return Change{}, false
	}
	s := *before
	s.Reason, s.Drift = "", false
	switch before.Action {
	case plan.Add:
		s.Action = plan.Remove
		change = c.change(&s)
		change.Reason = reasonNeverApplied
	case plan.Remove, plan.Hold:
		s.Action = plan.Add
		change = c.change(&s)
		change.Reason = map[plan.Action]string{plan.Remove: reasonStays, plan.Hold: reasonHoldEnds}[before.Action]
	case plan.Change:
		s.Fields = fieldsBetween(before.Fields, nil)
		change = c.change(&s)
		change.Reason = reasonLive
	default: // a file that was renamed at the base has its old name again
		return Change{}, false
	}
	return change, true
}

// wanted reports whether the object of a step is in the merge result.
func (c *comparison) wanted(s *plan.Step) bool {
	switch s.Kind {
	case plan.KindSecret:
		return c.secretsNow[s.Name] != nil
	case plan.KindAuditConfig:
		_, wanted := c.scheduleNow[s.Name]
		return wanted
	}
	return c.clustersNow[inventory.Cluster{AuditConfig: s.AuditConfig, Name: s.Name}] != nil
}

// keptByError reports whether an error after the merge keeps the object of a step as it is.
func (c *comparison) keptByError(s *plan.Step) bool {
	if s.AuditConfig != "" && slices.Contains(c.in.After.Refused, s.AuditConfig) || s.Kind == plan.KindAuditConfig && slices.Contains(c.in.After.Refused, s.Name) {
		return true
	}
	if s.Kind == plan.KindCluster {
		cluster := c.clustersNow[inventory.Cluster{AuditConfig: s.AuditConfig, Name: s.Name}]
		return cluster != nil && cluster.Quarantined
	}
	secret := c.secretsNow[s.Name]
	return s.Kind == plan.KindSecret && secret != nil && secret.Quarantined
}

// fieldsBetween returns the fields that differ between two states, each given by its differences from a third.
func fieldsBetween(before, now []plan.Field) []plan.Field {
	was := make(map[string]plan.Field, len(before))
	for _, f := range before {
		was[f.Path] = f
	}
	var list []plan.Field
	for _, f := range now {
		if b, both := was[f.Path]; both {
			delete(was, f.Path)
			f.From = b.To
		}
		if f.From != f.To {
			list = append(list, f)
		}
	}
	for _, f := range was {
		list = append(list, plan.Field{Path: f.Path, From: f.To, To: f.From})
	}
	slices.SortFunc(list, func(a, b plan.Field) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// joinMoves joins the removal of a cluster from one audit config and its addition to another.
func joinMoves(changes []Change) []Change {
	removed, joined := map[string]int{}, map[int]bool{}
	for i, change := range changes {
		if change.Kind == plan.KindCluster && change.Action == plan.Remove {
			removed[change.Name] = i
		}
	}
	for i := range changes {
		added := &changes[i]
		at, leaves := removed[added.Name]
		if added.Kind != plan.KindCluster || added.Action != plan.Add || !leaves || joined[at] {
			continue
		}
		joined[at] = true
		added.Action, added.From = plan.Move, changes[at].AuditConfig
		if added.CronJob != nil && changes[at].CronJob != nil {
			added.CronJob.Was = changes[at].CronJob.Name
		}
		added.Credentials = moved(added.Credentials, changes[at].Credentials)
	}
	list := []Change{}
	for i, change := range changes {
		if !joined[i] {
			list = append(list, change)
		}
	}
	return list
}
