package demo

import (
	"net"
	"sync"
)

// A door is a listener that knows who is inside, so that it can send them home.
type door struct {
	net.Listener

	mu     sync.Mutex
	inside map[net.Conn]bool
	guests sync.WaitGroup // one for each in inside
}

func openDoor() (*door, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &door{Listener: l, inside: make(map[net.Conn]bool)}, nil
}

// Accept lets somebody in. Whoever serves the connection calls leave at the end.
func (d *door) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside[c] = true
	d.guests.Add(1)
	return c, nil
}

func (d *door) leave(c net.Conn) {
	c.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.inside, c)
	d.guests.Done()
}

// empty ends every connection and waits until all have left.
func (d *door) empty() {
	d.mu.Lock()
	for c := range d.inside {
		c.Close()
	}
	d.mu.Unlock()
	d.guests.Wait()
}
