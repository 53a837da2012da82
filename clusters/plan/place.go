package plan

import (
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
)

// Fields that findings stand at.
var (
	fieldName = []string{"metadata", "name"}
	fieldType = []string{"type"}
	// fieldImmutable is where a Secret says that its data is not to be changed.
	fieldImmutable = []string{"immutable"}
	fieldList      = []string{"spec", "kubernetesResources", "externalClusters"}
)

// place is a finding that stands at a field of what an origin names, and says nothing yet. What is in no file has no place.
func (p *planner) place(origin fleet.Origin, field []string) finding.Finding {
	f := finding.Finding{Path: origin.Path}
	f.Line, f.Column = p.fleet.Position(origin, field)
	return f
}

// placeOf is place for a field of a cluster file. An entry that stands in an audit config is one of a list.
func (p *planner) placeOf(c *fleet.Cluster, field []string) finding.Finding {
	if c.File == nil {
		field = fieldList
	}
	f := p.place(c.Origin, field)
	f.Cluster = c.Name
	return f
}
