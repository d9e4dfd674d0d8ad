package steward_test

import (
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"usher/internal/relay"
	"usher/internal/steward"
)

// What an administrator reads at three in the morning.

func TestTheLogSaysWhatHasEndedTheRelayProcess(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	e := p.usher(nil)
	e.Lead()
	if err := syscall.Kill(int(e.PID()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log says how it has ended", func() bool { return strings.Contains(p.log.String(), `how="signal: killed"`) })
}

func TestAProgramThatCannotBeARelayProcessIsSaidOnce(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	local, err := relay.NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	e, err := steward.Open(steward.Terms{Socket: p.socket, Program: "/bin/false", Local: local, Log: slog.New(slog.NewTextHandler(p.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log says what became of it", func() bool { return strings.Contains(p.log.String(), "exit status 1") })
	if n := strings.Count(p.log.String(), "there is no relay process"); n != 1 {
		t.Errorf("the log says %d times\n%s", n, p.log)
	}
	e.Close()
	_ = local.Close()
}

func TestTheLogSaysThatTheSocketWasRemoved(t *testing.T) {
	t.Parallel()
	p, all := newPlace(t), newBook()
	e := p.usher(all.adopt)
	e.Lead()
	if err := os.Remove(p.socket); err != nil {
		t.Fatal(err)
	}
	c, s := session(t, e, all, 1)
	eventually(t, "the log says so", func() bool { return strings.Contains(p.log.String(), "has removed the relay process's socket") })
	passes(t, c, s)
}

// Two ushers cannot share a state folder, and the one that loses its sessions says so.
func TestAnUsherHearsThatAnotherHasItsSessions(t *testing.T) {
	t.Parallel()
	p, taken := newPlace(t), make(chan struct{})
	local, err := relay.NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	second := p.usher(nil)
	first, err := steward.Open(steward.Terms{
		Socket: p.socket, Local: local, Log: slog.New(slog.NewTextHandler(p.log, nil)), Taken: func() { close(taken) },
	})
	if err != nil {
		t.Fatal(err)
	}
	first.Lead()
	if !first.Leads() {
		t.Error("it does not lead")
	}
	second.Lead()
	<-taken
	if first.Leads() || !second.Leads() {
		t.Error("the one before still leads")
	}
	first.Close()
	_ = local.Close()
}
