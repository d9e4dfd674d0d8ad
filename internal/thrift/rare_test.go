//go:build linux && !cgo

package thrift

import (
	"os"
	"testing"
)

func TestTheWatchdogWakesRarely(t *testing.T) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	if err := WatchRarely(); err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns")
		if os.IsPermission(err) {
			t.Skip("only root may look at other threads' timers")
		}
		if err == nil && string(text) != "1000000\n" { // it may have ended
			t.Errorf("thread %s has a slack of %s", thread.Name(), text)
		}
	}
}
