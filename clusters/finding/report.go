package finding

import (
	"maps"
	"slices"
)

// Report is what a stage of the pipeline reports next to its result. Each stage starts with a copy of the previous
// stage's.
type Report struct {
	Findings []Finding
	// Broken are the files with an error, which were left out. What was applied from them before must stay.
	Broken map[string]bool
	// Stopped is true if something that many clusters share can't be used. Then nothing may be applied or removed.
	Stopped bool
	// Present are the files below the path, used or not, except for hidden and ignored ones. A cluster whose file is
	// still present was not deleted. Load sets it, and nothing changes it afterwards.
	Present map[string]bool
	// Dropped are the files that were read and from which the kustomizations drop everything.
	Dropped map[string]bool
}

// Clone returns a copy that can be changed without affecting the original.
func (r Report) Clone() Report {
	return Report{Findings: slices.Clone(r.Findings), Broken: maps.Clone(r.Broken), Stopped: r.Stopped, Present: r.Present, Dropped: maps.Clone(r.Dropped)}
}

// Add adds a finding. If it has no fix, it gets its rule's.
func (r *Report) Add(f Finding) { r.Findings = append(r.Findings, f.complete()) }

// Reject adds an error finding and marks its file as broken.
func (r *Report) Reject(f Finding) {
	r.Missing(f.Path, f)
}

// Missing adds an error finding at a reference to a file that can't be used, and marks the file as broken.
func (r *Report) Missing(file string, f Finding) {
	f.Severity = Error
	r.Add(f)
	if r.Broken == nil {
		r.Broken = map[string]bool{}
	}
	r.Broken[file] = true
}

// Drop records that Git itself drops everything in a file.
func (r *Report) Drop(file string) {
	if r.Dropped == nil {
		r.Dropped = map[string]bool{}
	}
	r.Dropped[file] = true
}

// Stop adds an error finding about something that many clusters share.
func (r *Report) Stop(f Finding) {
	f.Stops = true
	r.Reject(f)
	r.Stopped = true
}
