package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// busy is a server whose upgrade takes its time.
type busy struct{ upgrading, goOn, reloaded chan struct{} }

func (b busy) Reload(context.Context) error {
	b.reloaded <- struct{}{}
	return nil
}

func (b busy) Upgrade(context.Context) (int, error) {
	b.upgrading <- struct{}{}
	<-b.goOn
	return 0, nil
}

// An impatient administrator asks for an upgrade twice, and logrotate for a reload.
func TestNoWishIsLostBehindAnotherOfAnotherKind(t *testing.T) {
	heard := make(chan os.Signal, 1) // by Go, and passed on to all
	signal.Notify(heard, syscall.SIGHUP, syscall.SIGUSR2)
	defer signal.Stop(heard)
	send := func(sig syscall.Signal) {
		_ = syscall.Kill(os.Getpid(), sig)
		<-heard
	}
	b := busy{make(chan struct{}, 2), make(chan struct{}), make(chan struct{}, 1)}
	defer obey(t.Context(), b)()
	send(syscall.SIGUSR2)
	<-b.upgrading
	send(syscall.SIGUSR2)
	send(syscall.SIGHUP)
	close(b.goOn)
	select {
	case <-b.reloaded:
	case <-time.After(10 * time.Second):
		t.Error("SIGHUP behind two SIGUSR2 is lost")
	}
}

// Where /usr/local/bin/usher is a link to the version in use, that file itself
// would be the old version for ever.
func TestAnUpgradeFollowsTheLinkByWhichUsherWasCalled(t *testing.T) {
	file, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link, another := filepath.Join(t.TempDir(), "usher"), filepath.Join(t.TempDir(), "usher")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(another, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for called, want := range map[string]string{link: link, file: file, another: file, "usher-is-nowhere": file, "": file} {
		if got, err := programAs(called); got != want || err != nil {
			t.Errorf("called %q it is %q %v, want %q", called, got, err, want)
		}
	}
}
