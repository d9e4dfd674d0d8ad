//go:build linux && race

package spawn

// memoryLimit is none: the race detector's own memory is without bounds.
const memoryLimit = 0
