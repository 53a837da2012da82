package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Correction remembers that a field was put right: so that Muster gives in where the API server or the operator can't keep the field, and
// doesn't correct one without a pause that somebody changes again and again.
type Correction struct {
	// Path is the field's. It is empty for an object that was removed as a whole, and begins with "NAME:" for a field of a Secret.
	Path string `json:"path"`
	// Dropped is how often in a row, at Commit, the field was missing after Muster had put it right.
	Dropped int    `json:"dropped,omitempty"`
	Commit  string `json:"commit,omitempty"`
	// Times is how often the field was put right without a long pause in between, and At when it last was.
	Times int       `json:"times,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

// Equal reports whether two corrections are the same.
func (c Correction) Equal(other Correction) bool {
	return c.Path == other.Path && c.Dropped == other.Dropped && c.Commit == other.Commit && c.Times == other.Times && c.At.Equal(other.At)
}

const (
	// maxDropped is how often a field is put right that is dropped each time. It is more than one because the first reading after a
	// correction may come from before it.
	maxDropped = 2
	// maxAtOnce is how often a field is put right at once. After that pauses grow from firstPause to lastPause.
	maxAtOnce  = 3
	firstPause = 5 * time.Second
	lastPause  = 5 * time.Minute
	// quiet is how long a field has to keep its value until it counts as no longer contested.
	quiet = 3 * lastPause
)

// pause is how long a field stays as it is that was put right so many times.
func pause(times int) time.Duration {
	if times < maxAtOnce {
		return 0
	}
	return min(firstPause<<min(times-maxAtOnce, 16), lastPause)
}

// recent reports whether a field was put right not long ago. Nothing is where the time isn't known.
func (p *planner) recent(c Correction) bool {
	since := p.policy.now().Sub(c.At) // less than nothing where a clock was wrong
	return !p.policy.Now.IsZero() && since >= 0 && since < quiet
}

// mayDrop reports whether Muster may give in to the loss of a field. This is the whole list: a field that is there with another value is
// never given in to, nor is a field that every operator has, for then somebody has removed it. What decides where a credential is sent, what
// is scanned and what runs is among those.
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

// settlement says of fields that differ which to put right, and when.
type settlement struct {
	wrong     []Field
	notKept   []string // the paths of those that are given in to
	corrected []Correction
	until     time.Time // nothing is put right before; zero: at once
}

// settle decides about the fields of an object that differ although it was applied as it is in Git. Past corrections are forgotten when the
// object changes in Git (by the caller), and when their field has kept its value for long enough. ByHand says that somebody has written the
// object who is neither Muster nor the operator.
func (p *planner) settle(kind string, differ []Field, past []Correction, byHand bool) settlement {
	var s settlement
	var open []Correction // of the wrong fields, as they are now
	seen := map[string]bool{}
	for _, f := range differ {
		seen[f.Path] = true
		c := Correction{Path: f.Path}
		if at := slices.IndexFunc(past, func(c Correction) bool { return c.Path == f.Path }); at >= 0 {
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
	slices.SortFunc(s.corrected, func(a, b Correction) int { return strings.Compare(a.Path, b.Path) })
	return s
}

// reasonContested is that of steps which wait for Step.Until.
const reasonContested = "somebody changes it again and again"

// settled notes in a step and in the plan what a settlement came to, and reports whether the step waits.
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

// about is a step that says of an object which fields are meant.
func about(kind, auditConfig, name string, paths []string) Step {
	step := Step{Kind: kind, AuditConfig: auditConfig, Name: name}
	for _, path := range paths {
		step.Fields = append(step.Fields, Field{Path: path})
	}
	return step
}

// noteContested lists what the next inventories have that is changed again and again.
func (p *planner) noteContested() {
	note := func(kind, auditConfig, name string, corrected []Correction) {
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

// byHand reports whether somebody has written the list of an audit config who is neither Muster nor an operator. Who it is they say
// themselves: that is enough to tell a person from the operator, and protects nothing.
func (p *planner) byHand(auditConfig string) bool {
	for _, author := range authorsOf(managedFieldsOf(p.live.AuditConfigs[auditConfig]), []string{listPath}) {
		if !strings.Contains(author.Manager, "operator") {
			return true
		}
	}
	return false
}

// notKept reports fields that are given in to, at the place of the first.
func (p *planner) notKept(what string, place func(field []string) finding.Finding, fields []string) {
	if len(fields) == 0 {
		return
	}
	f := place(strings.Split(fields[0], "."))
	f.Code, f.Severity = CodeNotKept, finding.Warning
	f.Message = fmt.Sprintf("the API server or the operator doesn't keep %s of %s", some(fields), what)
	f.Fix = "take it out of the file, or upgrade the operator; it is tried again once a day"
	p.plan.Add(f)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// serverFields are the fields of an object's metadata that the API server or controllers write. They come into Git with the
// output of kubectl get -o yaml.
var serverFields = []string{"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName", "generation",
	"managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid"}

// lastApplied is the annotation that kubectl apply leaves.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// ownFields copies an audit config without what isn't Git's to say: status, the server's metadata, and fields that are null; and
// without the list of clusters, which is planned by itself.
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
