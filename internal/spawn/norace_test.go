//go:build linux && !race

package spawn

const memoryLimit = MinMemory
