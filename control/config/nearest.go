package config

import "strings"

// nearest returns the index of the name that s most likely stands for, or -1:
// one slip of the pen for short names, one more for every four letters.
func nearest(s string, names []string) int {
	s = strings.ToLower(s)
	best, least := -1, 0
	for i, name := range names {
		most := 1 + len(name)/4
		if len(s) > len(name)+most {
			continue
		}
		if d := Distance(s, name); d <= most && d < len(s) && (best < 0 || d < least) {
			best, least = i, d
		}
	}
	return best
}

// Distance counts the bytes to insert, delete, replace or swap with their
// neighbour to turn a into b (optimal string alignment, the restricted form of
// F. J. Damerau's distance, CACM 7(3), 1964).
func Distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
