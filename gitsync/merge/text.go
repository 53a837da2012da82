package merge

import (
	"bytes"
	"io/fs"
	"slices"
	"strings"

	"github.com/epiclabs-io/diff3"
	"github.com/go-git/go-git/v5/plumbing"
)

// Limits of merging lines. The algorithm takes time in proportion to the lines times their differences, and anyone who may
// open a pull request chooses both.
const (
	maxText       = 1 << 20
	maxLines      = 5_000
	maxLinesTotal = 50_000 // of all files of a merge
)

// text returns the content of a file that all three trees have: that of one of them or, if it is nil, the merged lines. The
// reason is why they can't be merged.
func (m *merger) text(name string, from *entry) (merged []byte, _ Reason, _ error) {
	if from != nil {
		return read(from.from, name)
	}
	var sides [3][]string
	for i, tree := range []fs.FS{m.base, m.ours, m.theirs} {
		content, reason, err := read(tree, name)
		if err != nil || reason != "" {
			return nil, reason, err
		}
		if bytes.IndexByte(content, 0) >= 0 { // Git's own test
			return nil, Binary, nil
		}
		sides[i] = slices.Collect(strings.Lines(string(content)))
		if m.lines -= len(sides[i]); m.lines < 0 || len(sides[i]) > maxLines {
			return nil, TooLarge, nil
		}
	}
	lines, ok := mergeLines(sides[0], sides[1], sides[2])
	if !ok {
		return nil, Content, nil
	}
	return []byte(strings.Join(lines, "")), "", nil
}

func read(tree fs.FS, name string) ([]byte, Reason, error) {
	if info, err := fs.Stat(tree, name); err != nil || info.Size() > maxText {
		return nil, TooLarge, err
	}
	content, err := fs.ReadFile(tree, name)
	return content, "", err
}

// mergeLines merges forwards and backwards, and accepts only a result on which both agree: where lines repeat, there is more
// than one way to align two texts, and a change could end up at another place than the one that Git chooses.
func mergeLines(base, ours, theirs []string) ([]string, bool) {
	forwards, ok := mergeOnce(base, ours, theirs)
	if !ok {
		return nil, false
	}
	backwards, ok := mergeOnce(reversed(base), reversed(ours), reversed(theirs))
	return forwards, ok && slices.Equal(forwards, reversed(backwards))
}

func mergeOnce(base, ours, theirs []string) (merged []string, ok bool) {
	// The other algorithm of the library takes cubic time on texts that repeat a line.
	options := diff3.MergeOptions{Algorithm: diff3.DiffAlgorithmMyers, ExcludeFalseConflicts: true}
	for _, part := range diff3.Diff3MergeWithOptions(ours, base, theirs, options) {
		if part.Conflict != nil {
			return nil, false
		}
		merged = append(merged, part.Ok...)
	}
	return merged, true
}

func reversed(lines []string) []string {
	lines = slices.Clone(lines)
	slices.Reverse(lines)
	return lines
}

func blobHash(content []byte) string {
	return plumbing.ComputeHash(plumbing.BlobObject, content).String()
}
