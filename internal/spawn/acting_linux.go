package spawn

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// An actor does things to files as somebody else: what is in a home is made by its
// owner, who can do no harm there that he could not do himself, by links or races.
// The helper's own name is root, but it has no power over files except to give them
// away (see kept): where root may not enter or write, the owner of the folder may.
type actor struct{ able bool } // whether this process can become others

// as runs do, which must not use other goroutines, as a user without groups.
func (a actor) as(uid, gid uint32, do func() error) error {
	if !a.able || uid == 0 {
		return do()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	setActor(uid, gid)
	defer setActor(0, 0)
	return do()
}

// setActor changes this thread's user towards the file system. When that is not root
// any more, CAP_CHOWN is not in effect, either: capabilities(7), "Effect of user ID
// changes on capabilities".
func setActor(uid, gid uint32) {
	_ = unix.Setfsgid(int(gid))
	_ = unix.Setfsuid(int(uid))
	isUID, _ := unix.SetfsuidRetUid(-1) // what cannot be, changes nothing, and tells what is
	isGID, _ := unix.SetfsgidRetGid(-1)
	if isUID != int(uid) || isGID != int(gid) {
		panic(fmt.Sprintf("spawn: cannot act as %d:%d", uid, gid))
	}
}

// kill sends a signal to a process group of a user. By its effective uid this thread is
// that user for a moment, so that there is no need of CAP_KILL, which means everybody.
// Its real and its saved uid stay root's: by those the user could end us, in that moment.
func (a actor) kill(group int, uid uint32, sig unix.Signal) (err error) {
	if !a.able {
		return unix.Kill(-group, sig)
	}
	effectively(uid, func() { err = unix.Kill(-group, sig) })
	return err
}

// effectively is for this thread only; package syscall would change all. What is done
// has no capability.
func effectively(uid uint32, do func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	setEffective(uid)
	defer setEffective(0)
	do()
}

func setEffective(uid uint32) {
	same := ^uintptr(0)
	if _, _, no := unix.RawSyscall(sysSetresuid, same, uintptr(uid), same); no != 0 {
		panic(fmt.Sprintf("spawn: cannot have the effective uid %d: %v", uid, no))
	}
}
