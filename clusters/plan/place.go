package plan

import (
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
)

// Fields that findings point at.
var (
	fieldName = []string{"metadata", "name"}
	fieldType = []string{"type"}
	// fieldImmutable makes a Secret's data immutable.
	fieldImmutable = []string{"immutable"}
	fieldList      = []string{"spec", "kubernetesResources", "externalClusters"}
)

// place returns an otherwise empty finding at a field of an origin. Objects that are in no file have no place.
func (p *planner) place(origin fleet.Origin, field []string) finding.Finding {
	f := finding.Finding{Path: origin.Path}
	f.Line, f.Column = p.fleet.Position(origin, field)
	return f
}

// placeOf is place for a field of a cluster file. For an entry in an audit config's manifest, it is the place of the
// list.
func (p *planner) placeOf(c *fleet.Cluster, field []string) finding.Finding {
	if c.File == nil {
		field = fieldList
	}
	f := p.place(c.Origin, field)
	f.Cluster = c.Name
	return f
}
