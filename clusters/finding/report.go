package finding

import (
	"maps"
	"slices"
)

// Report is what a stage of the pipeline has to say beside its value. Each stage starts from a copy of the report before it.
type Report struct {
	Findings []Finding
	// Broken are the files with an error, which were left out. What was applied from them before must stay.
	Broken map[string]bool
	// Stopped says that something which many clusters share can't be used: nothing may be applied, and nothing removed.
	Stopped bool
	// Present are the files below the path, whether they were taken or not, without those that are hidden or ignored. A cluster
	// whose file is still among them was not deleted. Load sets it, and nothing changes it afterwards.
	Present map[string]bool
	// Dropped are the files that were read, and of which kustomize was told to leave everything out.
	Dropped map[string]bool
}

// Clone returns a copy that can be added to without changing the original.
func (r Report) Clone() Report {
	return Report{Findings: slices.Clone(r.Findings), Broken: maps.Clone(r.Broken), Stopped: r.Stopped, Present: r.Present, Dropped: maps.Clone(r.Dropped)}
}

// Add adds a finding. One that has no way out of its own gets its rule's.
func (r *Report) Add(f Finding) { r.Findings = append(r.Findings, f.complete()) }

// Reject adds an error finding and marks its file as broken.
func (r *Report) Reject(f Finding) {
	r.Missing(f.Path, f)
}

// Missing adds an error finding about a reference to a file that can't be had: the finding stands at the reference, and the
// file is marked as broken.
func (r *Report) Missing(file string, f Finding) {
	f.Severity = Error
	r.Add(f)
	if r.Broken == nil {
		r.Broken = map[string]bool{}
	}
	r.Broken[file] = true
}

// Drop notes that nothing of a file is left, and that this is what Git says.
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
