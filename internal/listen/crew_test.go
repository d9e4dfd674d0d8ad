package listen

import (
	"runtime"
	"testing"
	"testing/synctest"
)

func TestACrewDoesAllItIsGivenAndKeepsFewWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew()
		started, release := make(chan struct{}), make(chan struct{})
		for range 10 * resting {
			c.do(func() {
				started <- struct{}{}
				<-release
			})
		}
		for range 10 * resting { // all at once, also without anybody free
			<-started
		}
		before := runtime.NumGoroutine()
		close(release)
		synctest.Wait()
		if waiting := c.idle.Load(); waiting != resting {
			t.Errorf("%d wait for the next client, want %d", waiting, resting)
		}
		if left := before - runtime.NumGoroutine(); left < 8*resting { // Go's own come and go, too
			t.Errorf("only %d of %d have gone home", left, 10*resting)
		}
		again := make(chan struct{})
		c.do(func() { close(again) })
		<-again
		c.wait()
	})
}
