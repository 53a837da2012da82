package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/inventory"
)

const (
	// maxDropped is after how many corrections Muster gives up on a field that is dropped each time. It is more than
	// one because the first read after a correction may return an older version.
	maxDropped = 2
	// maxAtOnce is how many corrections are made without a pause. After that, the pauses grow from firstPause to
	// lastPause.
	maxAtOnce  = 3
	firstPause = 5 * time.Second
	lastPause  = 5 * time.Minute
	// quiet is how long a field must keep its value until it no longer counts as contested.
	quiet = 3 * lastPause
)

// pause is how long Muster waits before the next correction of a field.
func pause(times int) time.Duration {
	if times < maxAtOnce {
		return 0
	}
	return min(firstPause<<min(times-maxAtOnce, 16), lastPause)
}

// recent reports whether a field was corrected within the quiet period. It is false if the time is unknown.
func (p *planner) recent(c inventory.Correction) bool {
	since := p.policy.now().Sub(c.At) // negative if a clock was wrong
	return !p.policy.Now.IsZero() && since >= 0 && since < quiet
}

// mayDrop reports whether Muster may stop correcting a lost field. This is the complete list. Muster never gives up on
// a field that has another value, nor on a field that every operator version has: a user or another tool must have
// removed it. Every field that decides where a credential is sent, what is scanned and what runs is among those.
func mayDrop(kind string, f Field, byHand bool) bool {
	switch {
	case kind == KindAuditConfig && f.Path == "spec.containers.enable":
		return f.From == "true" && f.To == "false" // the operator turns it on for the repositories of external clusters
	case f.From != "":
		return false
	case kind == KindAuditConfig:
		return optional(strings.Split(f.Path, "."))
	case kind == KindCluster:
		return f.Path == "schedule" && !byHand
	}
	return false
}

// settlement decides which differing fields to correct, and when.
type settlement struct {
	wrong     []Field
	notKept   []string // the paths of the fields that Muster no longer corrects
	corrected []inventory.Correction
	until     time.Time // no correction before that; zero: at once
}

// settle decides about the fields of an object that differ although Git has not changed since it was applied. The
// caller forgets past corrections when the object changes in Git. settle forgets them when the field has kept its value
// for long enough. With byHand, someone other than Muster and the operator has written the object.
func (p *planner) settle(kind string, differ []Field, past []inventory.Correction, byHand bool) settlement {
	var s settlement
	var open []inventory.Correction // the corrections of s.wrong, updated
	seen := map[string]bool{}
	for _, f := range differ {
		seen[f.Path] = true
		c := inventory.Correction{Path: f.Path}
		if at := slices.IndexFunc(past, func(c inventory.Correction) bool { return c.Path == f.Path }); at >= 0 {
			c = past[at]
		}
		drop := mayDrop(kind, f, byHand)
		if drop && c.Dropped >= maxDropped && !p.retries(c) {
			s.notKept, s.corrected = append(s.notKept, f.Path), append(s.corrected, c)
			continue
		}
		if !drop || c.Commit != p.policy.Revision {
			c.Dropped = 0
		}
		if !p.policy.Now.IsZero() && !p.recent(c) {
			c.Times, c.At = 0, time.Time{}
		}
		if due := c.At.Add(pause(c.Times)); len(s.wrong) == 0 || due.Before(s.until) {
			s.until = due
		}
		s.wrong, open = append(s.wrong, f), append(open, c)
	}
	if !s.until.After(p.policy.Now) || p.policy.Now.IsZero() {
		s.until = time.Time{}
	}
	for i, c := range open {
		if p.policy.CorrectDrift && s.until.IsZero() {
			if mayDrop(kind, s.wrong[i], byHand) {
				c.Dropped++
			}
			c.Commit, c.Times, c.At = p.policy.Revision, c.Times+1, p.policy.now()
		}
		if c.Dropped+c.Times > 0 {
			s.corrected = append(s.corrected, c)
		}
	}
	for _, c := range past {
		if !seen[c.Path] && (c.Commit == p.policy.Revision || p.recent(c)) {
			s.corrected = append(s.corrected, c)
		}
	}
	slices.SortFunc(s.corrected, func(a, b inventory.Correction) int { return strings.Compare(a.Path, b.Path) })
	return s
}

// reasonContested is the reason of steps that wait for Step.Until.
const reasonContested = "it keeps being changed"

// settled records a settlement in a step and in the plan, and reports whether the step waits.
func (p *planner) settled(step *Step, s settlement) (waits bool) {
	if len(s.notKept) > 0 {
		p.plan.NotKept = append(p.plan.NotKept, about(step.Kind, step.AuditConfig, step.Name, s.notKept))
	}
	if s.until.IsZero() || !p.policy.CorrectDrift {
		return false
	}
	step.Until, step.Reason = s.until, reasonContested
	if p.plan.Next.IsZero() || s.until.Before(p.plan.Next) {
		p.plan.Next = s.until
	}
	return true
}

// about returns a step with only an object's identity and some of its fields.
func about(kind, auditConfig, name string, paths []string) Step {
	step := Step{Kind: kind, AuditConfig: auditConfig, Name: name}
	for _, path := range paths {
		step.Fields = append(step.Fields, Field{Path: path})
	}
	return step
}

// noteContested lists the fields in the next inventories that keep being changed.
func (p *planner) noteContested() {
	note := func(kind, auditConfig, name string, corrected []inventory.Correction) {
		var paths []string
		for _, c := range corrected {
			if c.Times > maxAtOnce && c.Dropped < maxDropped && p.recent(c) {
				paths = append(paths, c.Path)
			}
		}
		if len(paths) > 0 {
			p.plan.Contested = append(p.plan.Contested, about(kind, auditConfig, name, paths))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.next)) {
		inv := p.next[name]
		note(KindAuditConfig, "", name, inv.Corrected)
		for i := range inv.Clusters {
			note(KindCluster, name, inv.Clusters[i].Name, inv.Clusters[i].Corrected)
		}
		for i := range inv.Secrets {
			note(KindSecret, "", inv.Secrets[i].Name, inv.Secrets[i].Corrected)
		}
	}
}

// byHand reports whether a field manager other than Muster and an operator has written the list of an audit config.
// Clients choose their manager's name: that is good enough to tell a user from the operator, and protects against
// nothing.
func (p *planner) byHand(auditConfig string) bool {
	for _, author := range authorsOf(managedFieldsOf(p.live.AuditConfigs[auditConfig]), []string{listPath}) {
		if !strings.Contains(author.Manager, "operator") {
			return true
		}
	}
	return false
}

// notKept reports fields that Muster no longer corrects, at the place of the first.
func (p *planner) notKept(what string, place func(field []string) finding.Finding, fields []string) {
	if len(fields) == 0 {
		return
	}
	f := place(strings.Split(fields[0], "."))
	f.Code, f.Severity = CodeNotKept, finding.Warning
	f.Message = fmt.Sprintf("the API server or the operator doesn't keep %s of %s", some(fields), what)
	f.Fix = "remove it from the file, or upgrade the operator; Muster retries once a day"
	p.plan.Add(f)
}

// serverFields are the metadata fields that the API server or controllers write. They get into Git with the
// output of kubectl get -o yaml.
var serverFields = []string{"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName", "generation",
	"managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid"}

// lastApplied is the annotation that kubectl apply leaves.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// ownFields copies an audit config without the fields that Git can't set (status, the server's metadata, null fields) and
// without the list of clusters, which is planned separately.
func ownFields(object map[string]any) map[string]any {
	out := deepCopy(object)
	delete(out, "status")
	dropNull(out)
	if spec, ok := out["spec"].(map[string]any); ok {
		if resources, ok := spec["kubernetesResources"].(map[string]any); ok {
			delete(resources, "externalClusters")
		}
	}
	if meta, ok := out["metadata"].(map[string]any); ok {
		for _, field := range serverFields {
			delete(meta, field)
		}
		if annotations, ok := meta["annotations"].(map[string]any); ok {
			delete(annotations, lastApplied)
		}
	}
	return out
}

func dropNull(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			if item == nil {
				delete(v, key)
				continue
			}
			dropNull(item)
		}
	case []any:
		for _, item := range v {
			dropNull(item)
		}
	}
}
