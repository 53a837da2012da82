package explain

import (
	"cmp"
	"slices"
)

// Near returns up to three names that the user may have meant, the nearest first. A name is near if it differs in at
// most a third of its characters, or in two, or only by a prefix or suffix.
func Near(name string, known []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	const longest = 253 // the limit of Kubernetes names
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
			if k[i] == '-' { // a namePrefix or nameSuffix may have been added
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

// distance is the Levenshtein distance in bytes: names of clusters are ASCII.
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
