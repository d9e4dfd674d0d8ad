package steward

import "golang.org/x/sys/unix"

const (
	arch    = unix.AUDIT_ARCH_AARCH64
	foreign = 1<<32 - 1 // there are no others
)

// forbiddenHere are older names of what is forbidden.
var forbiddenHere = []uint32{unix.SYS_RENAMEAT}
