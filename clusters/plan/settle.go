package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Correction remembers that a field was put right, so that Muster doesn't fight for ever with an API server that prunes the
// field or an operator that sets it.
type Correction struct {
	Path string `json:"path"`
	// Value is the digest of what the field had instead, and Times how often it was put right since Commit was checked out.
	Value  string `json:"value"`
	Times  int    `json:"times"`
	Commit string `json:"commit,omitempty"`
}

// maxCorrections is how often a field is put right that has one and the same other value each time, at one commit. People
// change a field now and then; a machine does it at once, and always in the same way. It is more than one because the first
// reading after a correction may come from before it.
const maxCorrections = 2

// settlement says of fields that differ which to put right.
type settlement struct {
	wrong     []Field
	notKept   []string // the paths of those that were put right in vain
	corrected []Correction
}

// settle decides about the fields of an object that differ although it was applied as it is in Git. Past corrections are
// forgotten when the object changes in Git (by who calls), and, at another commit, when their field has kept its value.
func (p *planner) settle(differ []Field, past []Correction) settlement {
	var s settlement
	seen := map[string]bool{}
	for _, f := range differ {
		seen[f.Path] = true
		c := Correction{Path: f.Path, Value: digest(f.From), Commit: p.policy.Revision}
		if at := slices.IndexFunc(past, func(c Correction) bool { return c.Path == f.Path }); at >= 0 && past[at].Value == c.Value {
			if past[at].Times >= maxCorrections {
				s.notKept, s.corrected = append(s.notKept, f.Path), append(s.corrected, past[at])
				continue
			}
			if past[at].Commit == c.Commit {
				c.Times = past[at].Times
			}
		}
		s.wrong = append(s.wrong, f)
		if p.policy.CorrectDrift {
			c.Times++
		}
		if c.Times > 0 {
			s.corrected = append(s.corrected, c)
		}
	}
	for _, c := range past {
		if !seen[c.Path] && c.Commit == p.policy.Revision {
			s.corrected = append(s.corrected, c)
		}
	}
	slices.SortFunc(s.corrected, func(a, b Correction) int { return strings.Compare(a.Path, b.Path) })
	return s
}

// notKept reports fields that are no longer put right, at the place of the first.
func (p *planner) notKept(what string, place func(field []string) finding.Finding, fields []string) {
	if len(fields) == 0 {
		return
	}
	f := place(strings.Split(fields[0], "."))
	f.Code, f.Severity = CodeNotKept, finding.Warning
	f.Message = fmt.Sprintf("the API server or the operator doesn't keep %s of %s", some(fields), what)
	f.Fix = "take it out of the file, or upgrade the operator"
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
