//go:build linux && (386 || arm)

package spawn

import "golang.org/x/sys/unix"

// The system calls that know ids of 32 bits. By the older ones of the plain names uid
// 65536 would be root's.
const (
	sysSetgroups = unix.SYS_SETGROUPS32
	sysSetresgid = unix.SYS_SETRESGID32
	sysSetresuid = unix.SYS_SETRESUID32
)
