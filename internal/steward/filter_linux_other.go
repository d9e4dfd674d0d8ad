//go:build linux && !amd64 && !arm64

package steward

const (
	arch    = 0 // there is no filter
	foreign = 0
)

var forbiddenHere []uint32
