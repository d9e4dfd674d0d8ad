package config

import "strings"

// nearest is the known word that the given one was probably meant to be, or
// "". A third of the letters may be wrong: more would be guessing.
func nearest(word string, known []string) string {
	best, at := "", (len(word)+2)/3+1
	for _, k := range known {
		if n := distance(strings.ToLower(word), k, at); n < at {
			best, at = k, n
		}
	}
	return best
}

// distance counts the letters to add, drop or change to make b out of a
// (Levenshtein), unless it is limit or more.
func distance(a, b string, limit int) int {
	if abs := max(len(a)-len(b), len(b)-len(a)); abs >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
