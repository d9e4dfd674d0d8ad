package authhttp

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also the service that the tests ask, in a process of its own, so that
// it can be killed and stopped.
func TestMain(m *testing.M) {
	if addr := os.Getenv("USHER_TEST_SERVICE"); addr != "" {
		serveForever(addr)
	}
	goleak.VerifyTestMain(m)
}
