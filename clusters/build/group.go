package build

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
)

// group is a cluster file, or those that a patch may mean by one name. kustomize takes such a patch for the one of the right namespace, or
// fails; a part of the group alone would have it patched, whichever was meant.
type group []string

// join notes that files are to be built together, with those that any of them is to be built together with.
func (b *builder) join(files []string) {
	files = slices.Compact(slices.Sorted(slices.Values(files)))
	if len(files) < 2 {
		return
	}
	all, joined := group(files), map[string]bool{}
	for _, file := range files {
		if g := b.together[file]; g != nil && !joined[g[0]] {
			joined[g[0]], all = true, append(all, g...)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for _, file := range all {
		b.together[file] = all
	}
}

// groups are all cluster files, sorted by the first file of each group.
func (b *builder) groups() iter.Seq[group] {
	return func(yield func(group) bool) {
		for i, file := range b.files {
			g := b.together[file]
			switch {
			case g == nil:
				g = b.files[i : i+1 : i+1] // without a copy, for nearly all stand alone
			case g[0] != file:
				continue
			}
			if !yield(g) {
				return
			}
		}
	}
}

// groupFailure is the failure of a group, at one of its files.
func (b *builder) groupFailure(g group, file string, err error) finding.Finding {
	f := b.failure(file, err)
	if len(g) < 2 {
		return f
	}
	var others []string
	for _, other := range g {
		if other != file {
			others = append(others, other)
		}
	}
	more := ""
	if n := len(others) - maxNamed; n > 0 {
		others, more = others[:maxNamed], fmt.Sprintf(" and %d more", n)
	}
	f.Message += fmt.Sprintf("; a patch without a target has a name which this cluster shares with %s%s", strings.Join(others, ", "), more)
	f.Fix = "name each cluster differently, or give the patch a target that selects one of them"
	return f
}

// maxNamed is how many files a message names.
const maxNamed = 3
