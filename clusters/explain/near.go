package explain

import (
	"cmp"
	"slices"
)

// Near are the names that somebody may have meant: up to three, the nearest first. Those are near that differ in a third of
// their characters at most, or in two; so are names that only a prefix or a suffix sets apart.
func Near(name string, known []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	const longest = 253 // a name of Kubernetes can have no more
	var list []candidate
	if name == "" || len(name) > longest {
		return nil
	}
	for _, k := range known {
		if len(k) > longest {
			continue
		}
		d := distance(name, k)
		for i := range len(k) {
			if k[i] == '-' { // what a namePrefix or a nameSuffix may have put around it
				d = min(d, 1+distance(name, k[i+1:]), 1+distance(name, k[:i]))
			}
		}
		if d <= max(2, len(name)/3) {
			list = append(list, candidate{k, d})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range list {
		if len(names) < 3 && !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

// distance is Levenshtein's, in bytes: names of clusters have no other characters.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			swap := left
			if a[i] != b[j] {
				swap++
			}
			left = row[j+1]
			row[j+1] = min(swap, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
