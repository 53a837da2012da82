package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/fleet"
)

// unknown plans a Secret whose values aren't known here: nothing is written, so that nothing is emptied.
func (p *secretsPlan) unknown(s *fleet.Secret, exists bool) {
	if !exists {
		p.step(Step{Action: Add, Kind: KindSecret, Name: s.Name, AuditConfig: s.AuditConfig, Origin: s.Origin.Path,
			Reason: Reason("its value comes from " + s.From.String() + ", and isn't known here")})
	}
}

// supplied moves the values that have changed elsewhere from a step about drift to a separate one, and reports whether there are
// any. If others than Muster have written a value, all of them stay drift: only Muster writes what comes from elsewhere. A value that
// is missing was removed by someone.
func (p *secretsPlan) supplied(s *fleet.Secret, live LiveSecret, step *Step) bool {
	var changed []Field
	rest := slices.DeleteFunc(slices.Clone(step.Fields), func(f Field) bool {
		key, isData := strings.CutPrefix(f.Path, "data.")
		_, exists := live.Data[key]
		own := isData && exists || f.Path == "metadata.annotations."+fleet.AnnotationRenewed // which comes with a renewed token
		if own {
			changed = append(changed, f)
		}
		return own
	})
	paths := make([]string, len(changed))
	for i := range changed {
		paths[i] = changed[i].Path
	}
	if len(changed) == 0 || len(authorsOf(live.ManagedFields, paths)) > 0 {
		return false
	}
	reason := Reason("its value has changed where it comes from")
	if s.From != nil {
		reason = Reason("its value has changed in " + s.From.String())
	}
	p.step(Step{Action: Change, Kind: KindSecret, Name: s.Name, AuditConfig: s.AuditConfig, Origin: s.Origin.Path, Fields: changed, Reason: reason, Supplied: true})
	step.Fields = rest
	return true
}

// keeping returns the write with the live labels and annotations, for drift that is not corrected now. The proof of a renewed token
// belongs to the value.
func (w SecretWrite) keeping(live LiveSecret) SecretWrite {
	keep := func(want, have map[string]string) map[string]string {
		kept := maps.Clone(want)
		for key := range want {
			if key == fleet.AnnotationRenewed {
				continue
			}
			if value, exists := have[key]; exists {
				kept[key] = value
			} else {
				delete(kept, key)
			}
		}
		return kept
	}
	w.Labels, w.Annotations = keep(w.Labels, live.Labels), keep(w.Annotations, live.Annotations)
	return w
}
