package kustomize

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
)

// group is a cluster file, or several that a patch may mean by the same name. kustomize patches the one in the right namespace,
// or fails. In a build of only a part of the group, it would patch whatever is there.
type group []string

// join records that files are built together, including the groups that they already belong to.
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

// groups returns all cluster files, sorted by the first file of each group.
func (b *builder) groups() iter.Seq[group] {
	return func(yield func(group) bool) {
		for i, file := range b.files {
			g := b.together[file]
			switch {
			case g == nil:
				g = b.files[i : i+1 : i+1] // no copy, because nearly all groups have one file
			case g[0] != file:
				continue
			}
			if !yield(g) {
				return
			}
		}
	}
}

// groupFailure returns the finding for one file of a group that fails.
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
	f.Message += fmt.Sprintf("; a patch without a target uses a name that this cluster shares with %s%s", strings.Join(others, ", "), more)
	f.Fix = "give each cluster a unique name, or give the patch a target that selects one of them"
	return f
}

// maxNamed is how many files a message lists.
const maxNamed = 3
