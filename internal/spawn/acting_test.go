//go:build linux

package spawn

import (
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// While a thread of the helper ends a user's program it is nobody whom the user could end.
func TestWhoIsEndedCannotEndTheHelper(t *testing.T) {
	needRoot(t)
	effectively(ann, func() {
		kill := exec.Command("/bin/sh", "-c", fmt.Sprintf("kill -0 %d", unix.Gettid()))
		kill.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ann, Gid: ann}}
		done := make(chan error)
		go func() { done <- kill.Run() }() // by a thread that is root
		if err := <-done; err == nil {
			t.Error("the user could send a signal to the thread")
		}
	})
	if got, err := capabilities(); err != nil || unix.Geteuid() != 0 || got == 0 {
		t.Errorf("afterwards it is uid %d with capabilities %#x, %v", unix.Geteuid(), got, err)
	}
}
