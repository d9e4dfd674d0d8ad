package daemon

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// FreePort is a port of 127.0.0.1 on which nobody listens. It is below the kernel's
// own range: no outgoing connection takes it while the server is stopped. Nor does
// another test that runs beside: no port is given twice.
func FreePort(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(12000 + rand.IntN(20000))
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		l.Close()
		if _, taken := given.LoadOrStore(port, true); !taken {
			return port
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return ""
}

// given are the ports that tests of this process have got.
var given sync.Map
