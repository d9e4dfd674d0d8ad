package systemd

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// A Notifier tells systemd how we are. A word that cannot be delivered is logged:
// the service goes on, but systemd may think that it does not.
type Notifier struct {
	Log *slog.Logger

	retired atomic.Bool  // another process is the service
	trouble atomic.Value // string: why the last word was lost, told once
}

// Supervised tells whether systemd wants to hear from us.
func (n *Notifier) Supervised() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// Ready says that we serve: after the start, and after a reload. With a process
// that replaced another it comes after the other's MainPID.
func (n *Notifier) Ready(status string) { n.tell(daemon.SdNotifyReady, line("STATUS", status)) }

// Status says in words how we are, for systemctl status.
func (n *Notifier) Status(text string) { n.tell(line("STATUS", text)) }

// Reloading says that a reload has begun; Ready ends it, also if it failed.
func (n *Notifier) Reloading() {
	// Type=notify-reload compares this with when it sent the signal.
	n.tell(daemon.SdNotifyReloading, strings.TrimSuffix(daemon.SdNotifyMonotonicUsec(), "\n"))
}

// Stopping says that we are about to end, and how long that takes at most.
// systemd starts to count TimeoutStopSec= with this word, also where it did not
// ask us to stop, and would kill a longer drain.
func (n *Notifier) Stopping(most time.Duration) {
	n.tell(daemon.SdNotifyStopping, line("EXTEND_TIMEOUT_USEC", fmt.Sprint(most.Microseconds())))
}

// MainPID says that a process is the service now: one that replaces us, or again
// we ourselves, if it failed. From then on until we take the name back all else
// that this Notifier says is silence: systemd would take an old process that says
// that it stops for the service, and kill the new one.
func (n *Notifier) MainPID(pid int) {
	n.retired.Store(false)
	n.tell(line("MAINPID", fmt.Sprint(pid)))
	n.retired.Store(pid != os.Getpid())
}

// line is one assignment; a line break in the value would begin another.
func line(name, value string) string {
	return name + "=" + strings.NewReplacer("\r", " ", "\n", " ").Replace(value)
}

// tell sends some assignments in one datagram.
func (n *Notifier) tell(lines ...string) {
	if n.retired.Load() {
		return
	}
	trouble := ""
	_, err := daemon.SdNotify(false, strings.Join(lines, "\n"))
	if err != nil {
		trouble = err.Error()
	}
	if before := n.trouble.Swap(trouble); err != nil && before != trouble {
		n.Log.Warn("cannot tell systemd how we are: check NotifyAccess= and that usher may reach the socket",
			"word", lines[0], "socket", os.Getenv("NOTIFY_SOCKET"), "err", err)
	}
}
