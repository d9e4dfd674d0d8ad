package interop

import (
	"fmt"
	"os"
	"testing"
)

// descriptors are how many files and sockets the process has open.
func (p *proxy) descriptors() int {
	p.t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.process.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(all)
}

func TestNothingIsLeftOfSessions(t *testing.T) {
	_, _, config := twoStores(t)
	p := start(t, setup{config: quick + config, accounts: usersOfTwo()})
	ends := []func(*client){
		func(c *client) { c.enter(bob, bobSecret); c.finds(bob, "west") },
		func(c *client) { c.login(bob, "wrong secret") },
		func(c *client) { c.login("nobody", "wrong secret") },
		func(c *client) { c.send("LOG") },
		func(*client) {},
		func(c *client) { c.enter(bob, bobSecret); c.send("LOG") },
	}
	visits := func() {
		for _, protocol := range protocols {
			for _, security := range securities {
				for _, end := range ends {
					c := p.client(t, protocol, security)
					end(c)
					_ = c.Close()
				}
			}
		}
	}
	visits() // what is opened once and kept, is opened now
	before := p.descriptors()
	for range 5 {
		visits()
	}
	p.eventually("all sockets are closed", func() bool { return p.descriptors() <= before })
}
