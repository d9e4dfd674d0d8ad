package spawn

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kept is what the helper keeps of root's power: to become a user, and to give a new
// home to its owner. It can neither read nor write what is not its own: in a home it
// acts as the owner. That also is why it needs no CAP_DAC_OVERRIDE beneath folders
// that root does not own (see acting_linux.go).
const kept = 1<<unix.CAP_CHOWN | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID

// startDeprived starts the keeper with no more power than kept. A thread gives the
// rest up, starts it, and ends: this process stays as it is, and the helper never
// had more, not for an instruction.
func startDeprived(cmd *exec.Cmd, setuid bool) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // the main thread is what ps shows, and cannot end
			done <- startDeprived(cmd, setuid) // by another, as this one waits
			runtime.UnlockOSThread()
			return
		}
		done <- deprive(cmd, setuid) // never unlocked: the thread ends with this function
	}()
	return <-done
}

func deprive(cmd *exec.Cmd, setuid bool) error {
	had, err := capabilities()
	if err != nil {
		return err
	}
	able := had&kept == kept
	if !setuid {
		// Also what the programs start cannot gain anything.
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no new privileges: %w", err)
		}
	}
	if err := bound(setuid && able); err != nil {
		return err
	}
	if !able {
		had = 0
	}
	if err := setCapabilities(had & kept); err != nil {
		return err
	}
	var none unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil); err != nil {
		return fmt.Errorf("signals: %w", err)
	}
	// Go's watchdog thread looks around 50 times in a millisecond while anything goes
	// on. Once will do: it would cost as much as all else that a start costs us.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(time.Millisecond), 0, 0, 0); err != nil {
		return fmt.Errorf("timers: %w", err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if able {
		cmd.SysProcAttr.Credential = &syscall.Credential{} // root, without groups
	}
	return cmd.Start()
}

// bound takes all but kept from the bounding set, without which a capability cannot
// be gained. Without CAP_SETPCAP that cannot be done; then no_new_privs has to do.
func bound(must bool) error {
	for c := uintptr(0); ; c++ {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil {
			return nil //nolint:nilerr // past the last that this kernel knows
		}
		if in == 0 || kept>>c&1 == 1 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && must {
			return fmt.Errorf("capability %d cannot be given up (%w): let usher have CAP_SETPCAP, or let no program be setuid", c, err)
		}
	}
}

// capabilities are those that this thread has and may use.
func capabilities() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("capabilities: %w", err)
	}
	return uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted), nil
}

// setCapabilities makes a set this thread's own, to use and to have, not to pass on.
func setCapabilities(set uint64) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(set), Permitted: uint32(set)},
		{Effective: uint32(set >> 32), Permitted: uint32(set >> 32)},
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return nil
}
