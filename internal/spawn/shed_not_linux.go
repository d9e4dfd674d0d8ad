//go:build linux && (cgo || (!amd64 && !arm64))

package spawn

// shed does nothing: where there is a C library the kernel writes to its memory in a child
// (rseq), and elsewhere a child is Go code that needs its stack.
func shed() error { return nil }

func mapped() uint64 { return 0 }
